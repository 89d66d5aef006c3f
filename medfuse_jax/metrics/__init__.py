"""Numbers that judge: each says its paper, its range and which way is better (all of them: `catalogue`).

Numpy and scipy only.
"""
