"""Two things that are compared element by element: of one shape, or refused in one line."""

import numpy as np
from numpy.typing import ArrayLike

from medfuse_jax.errors import MedFuseError

Pair = tuple[np.ndarray, np.ndarray]


def volumes(reference: ArrayLike, image: ArrayLike) -> Pair:
    """Both as float64 of one shape."""
    return _alike(np.asarray(reference, np.float64), np.asarray(image, np.float64))


def masks(truth: ArrayLike, guess: ArrayLike) -> Pair:
    """Both as bool of one shape; whatever is not 0 belongs to the mask."""
    return _alike(np.asarray(truth) != 0, np.asarray(guess) != 0)


def numbers(reference: ArrayLike, measured: ArrayLike) -> Pair:
    """Both as flat float64, without the pairs of which one is nan (not measured)."""
    reference, measured = volumes(reference, measured)
    known = ~(np.isnan(reference) | np.isnan(measured))
    return reference[known], measured[known]


def _alike(one: np.ndarray, other: np.ndarray) -> Pair:
    if one.shape != other.shape:
        raise MedFuseError(f"shapes {one.shape} and {other.shape} cannot be compared: bring both to one grid")
    return one, other
