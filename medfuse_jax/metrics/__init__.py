"""Numbers that judge: each says its paper, its range and which way is better. Numpy and scipy only."""
