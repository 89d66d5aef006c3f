"""How well two masks agree, voxel by voxel and lesion by lesion. Nothing against nothing is full agreement."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medfuse_jax.data import definitions, labels

# Bins of lesion size in mm3: a grid that cannot show a lesion is not blamed for the others.
SIZE_BINS_MM3 = ((3.0, 10.0), (10.0, 30.0), (30.0, 100.0), (100.0, 300.0), (300.0, 1000.0), (1000.0, np.inf))


def dice(truth: ArrayLike, guess: ArrayLike) -> float:
    """2 |A and B| / (|A| + |B|) of two masks (Dice 1945), 0 to 1, higher is better; 1 when both are empty."""
    truth, guess = np.asarray(truth, bool), np.asarray(guess, bool)
    total = int(truth.sum()) + int(guess.sum())
    return 2.0 * int((truth & guess).sum()) / total if total else 1.0


def dice_per_class(truth: ArrayLike, guess: ArrayLike, classes: int = len(labels.STRUCTURES)) -> np.ndarray:
    """Dice of each class of two class maps, (classes,), 0 to 1, higher is better; nan where neither has the class."""
    pairs = np.bincount(np.asarray(truth).ravel().astype(np.int64) * classes + np.asarray(guess).ravel(),
                        minlength=classes * classes).reshape(classes, classes)
    total = (pairs.sum(axis=0) + pairs.sum(axis=1)).astype(np.float64)
    return np.divide(2.0 * np.diag(pairs), total, out=np.full(classes, np.nan), where=total > 0)


class LesionScores(NamedTuple):
    """Lesion-wise agreement, 0 to 1, higher is better."""

    precision: float          # guessed lesions that touch a true one
    recall: float             # true lesions that a guess touches
    f1: float
    true_count: int
    guessed_count: int


def lesion_scores(truth: ArrayLike, guess: ArrayLike, spacing: definitions.Spacing,
                  smallest_mm3: float = 0.0) -> LesionScores:
    """Lesion-wise precision, recall, F1: 26-connected lesions, found by any voxel of overlap (Commowick 2018, MSSEG).

    A person without true and without guessed lesions scores 1. `smallest_mm3` leaves smaller true lesions unasked and
    smaller guesses unscored, though either may still be what the other side overlaps.
    """
    true, guessed = (definitions.components(mask, spacing) for mask in (truth, guess))
    found, recall_n = _touched(true, guessed[0] > 0, spacing, smallest_mm3)
    right, precision_n = _touched(guessed, true[0] > 0, spacing, smallest_mm3)
    if not recall_n and not precision_n:
        return LesionScores(1.0, 1.0, 1.0, 0, 0)
    recall = found / recall_n if recall_n else 0.0
    precision = right / precision_n if precision_n else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return LesionScores(precision, recall, f1, recall_n, precision_n)


def lesion_f1(truth: ArrayLike, guess: ArrayLike, spacing: definitions.Spacing,
              smallest_mm3: float = 0.0) -> float:
    """The F1 of `lesion_scores`."""
    return lesion_scores(truth, guess, spacing, smallest_mm3).f1


def recall_by_size(truth: ArrayLike, guess: ArrayLike,
                   spacing: definitions.Spacing) -> dict[tuple[float, float], tuple[int, int]]:
    """Of the true lesions of each size bin (low <= mm3 < high): how many were found, and how many there are."""
    guessed, _ = definitions.components(guess, spacing)
    sizes, found = _sizes_and_found(*definitions.components(truth, spacing), guessed > 0, spacing)
    bins = {}
    for low, high in SIZE_BINS_MM3:
        inside = (sizes >= low) & (sizes < high)
        bins[low, high] = int(found[inside].sum()), int(inside.sum())
    return bins


def _touched(lesions: tuple[np.ndarray, int], other: np.ndarray, spacing: definitions.Spacing,
             smallest_mm3: float) -> tuple[int, int]:
    sizes, found = _sizes_and_found(*lesions, other, spacing)
    large = sizes >= smallest_mm3 - 1e-6
    return int(found[large].sum()), int(large.sum())


def _sizes_and_found(labelled: np.ndarray, count: int, other: np.ndarray,
                     spacing: definitions.Spacing) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.bincount(labelled.ravel(), minlength=count + 1)[1:] * definitions.voxel_ml(spacing) * 1000.0
    found = np.bincount(labelled[other], minlength=count + 1)[1:] > 0
    return sizes, found
