"""Checkpoints of others, as files: what they are, what lies in them, and under which names. Nothing in them is run."""
