"""Equations: pure functions."""
