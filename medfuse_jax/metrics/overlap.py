"""How well two masks agree, voxel by voxel and lesion by lesion. Nothing against nothing is full agreement."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medfuse_jax.data import definitions, labels
from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics.paired import masks

# Bins of lesion size in mm3: a grid that cannot show a lesion is not blamed for the others.
SIZE_BINS_MM3 = ((3.0, 10.0), (10.0, 30.0), (30.0, 100.0), (100.0, 300.0), (300.0, 1000.0), (1000.0, np.inf))
ROUNDING_MM3 = 1e-6


def dice(truth: ArrayLike, guess: ArrayLike) -> float:
    """2 |A and B| / (|A| + |B|) of two masks (Dice 1945), 0 to 1, higher is better; 1 when both are empty."""
    truth, guess = masks(truth, guess)
    total = int(truth.sum()) + int(guess.sum())
    return 2.0 * int((truth & guess).sum()) / total if total else 1.0


def dice_per_class(truth: ArrayLike, guess: ArrayLike, classes: int = len(labels.STRUCTURES)) -> np.ndarray:
    """Dice (1945) of each class of two class maps, (classes,), 0 to 1, higher is better; nan where neither has it."""
    truth, guess = np.asarray(truth), np.asarray(guess)
    if truth.shape != guess.shape or max(truth.max(initial=0), guess.max(initial=0)) >= classes:
        raise MedFuseError(f"class maps of {truth.shape} and {guess.shape} with classes up to "
                           f"{max(truth.max(initial=0), guess.max(initial=0))} are not two of {classes} classes on one "
                           "grid: bring both to one grid and to classes of labels.STRUCTURES")
    pairs = np.bincount(truth.ravel().astype(np.int64) * classes + guess.ravel(),
                        minlength=classes * classes).reshape(classes, classes)
    total = (pairs.sum(axis=0) + pairs.sum(axis=1)).astype(np.float64)
    return np.divide(2.0 * np.diag(pairs), total, out=np.full(classes, np.nan), where=total > 0)


class Detected(NamedTuple):
    """Lesions that were found, of those that are there, and guesses that are right, of those that were made."""

    found: int                # true lesions that a guess touches
    true: int
    right: int                # guessed lesions that touch a true one
    guessed: int

    @property
    def recall(self) -> float:
        """found / true; nan where there is none to find."""
        return self.found / self.true if self.true else float("nan")

    @property
    def precision(self) -> float:
        """right / guessed; nan where nothing was guessed."""
        return self.right / self.guessed if self.guessed else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where one has no lesions, nan where neither has."""
        if not self.true and not self.guessed:
            return float("nan")
        return 2 * self.precision * self.recall / (self.precision + self.recall) if self.found and self.right else 0.0


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

    Lesions as `definitions.components` has them: at least 3 mm3. 0 to 1, higher is better. A person without true and
    without guessed lesions scores 1; where only one side has lesions all three are 0. `smallest_mm3` leaves smaller
    true lesions unasked and smaller guesses unscored, though either may still be what the other side overlaps.
    """
    true, guess = _lesions(truth, guess, spacing)
    asked, scored = (side.sizes >= smallest_mm3 - ROUNDING_MM3 for side in (true, guess))
    counts = Detected(int(true.met[asked].sum()), int(asked.sum()), int(guess.met[scored].sum()), int(scored.sum()))
    if not counts.true and not counts.guessed:
        return LesionScores(1.0, 1.0, 1.0, 0, 0)
    return LesionScores(counts.precision if counts.guessed else 0.0, counts.recall if counts.true else 0.0, counts.f1,
                        counts.true, counts.guessed)


def lesion_f1(truth: ArrayLike, guess: ArrayLike, spacing: definitions.Spacing,
              smallest_mm3: float = 0.0) -> float:
    """The F1 of `lesion_scores` (Commowick 2018), 0 to 1, higher is better; 1 when neither has lesions."""
    return lesion_scores(truth, guess, spacing, smallest_mm3).f1


def lesions_by_size(truth: ArrayLike, guess: ArrayLike,
                    spacing: definitions.Spacing) -> dict[tuple[float, float], Detected]:
    """Detection as in `lesion_scores` (Commowick 2018), by the true lesion's size: low <= mm3 < high of SIZE_BINS_MM3.

    Shares 0 to 1, higher is better. A guess that is right belongs to the bin of the true lesion that it covers most of,
    and of equal ones to the first; one that touches none belongs to the bin of its own size. Add the counts of people
    up (`pooled`) before a share is taken: one person has few lesions of a size. A bin without lesions has zeros, and
    nan as its shares.
    """
    true, guess = _lesions(truth, guess, spacing)
    place = _bins(true.sizes)
    own = np.where(guess.met, place[guess.partner] if len(place) else -1, _bins(guess.sizes))
    return {bin_: Detected(int(true.met[place == k].sum()), int((place == k).sum()),
                           int(guess.met[own == k].sum()), int((own == k).sum()))
            for k, bin_ in enumerate(SIZE_BINS_MM3)}


def pooled(people: Iterable[Mapping[tuple[float, float], Detected]]) -> dict[tuple[float, float], Detected]:
    """The lesions of several people as one set, bin by bin."""
    people = list(people)
    return {bin_: Detected(*(sum(counts) for counts in zip(*(one[bin_] for one in people), strict=True)))
            for bin_ in (people[0] if people else ())}


class _Side(NamedTuple):
    sizes: np.ndarray         # mm3 of each lesion
    met: np.ndarray           # whether it overlaps a lesion of the other side
    partner: np.ndarray       # the other's lesion that it shares most voxels with (a place, counted from 0)


def _lesions(truth: ArrayLike, guess: ArrayLike, spacing: definitions.Spacing) -> tuple[_Side, _Side]:
    (true, m), (guessed, n) = (definitions.components(mask, spacing) for mask in masks(truth, guess))
    both = np.flatnonzero((true > 0) & (guessed > 0))
    pairs, shared = np.unique(np.stack([true.ravel()[both], guessed.ravel()[both]]) - 1, axis=1, return_counts=True)
    mm3 = definitions.voxel_ml(spacing) * 1000.0
    return tuple(_side(np.bincount(labelled.ravel(), minlength=count + 1)[1:] * mm3, own, other, shared)
                 for labelled, count, own, other in ((true, m, *pairs), (guessed, n, *pairs[::-1])))


def _side(sizes: np.ndarray, own: np.ndarray, other: np.ndarray, shared: np.ndarray) -> _Side:
    met, partner = np.zeros(len(sizes), bool), np.zeros(len(sizes), np.int64)
    met[own] = True
    order = np.lexsort((-other, shared))                 # the largest share, and of equal ones the first, comes last
    partner[own[order]] = other[order]
    return _Side(sizes, met, partner)


def _bins(sizes: np.ndarray) -> np.ndarray:
    """The bin of each size; a size at a bin's lower end, but for rounding, belongs to it."""
    return np.searchsorted([low for low, _ in SIZE_BINS_MM3], sizes + ROUNDING_MM3, side="right") - 1
