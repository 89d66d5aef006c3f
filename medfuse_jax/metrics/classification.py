"""Is a finding told from its absence? Scores of studies beside whether they have it; zero-shot or trained."""

from collections.abc import Hashable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from medfuse_jax.metrics import interval
from medfuse_jax.metrics.paired import numbers


class Area(NamedTuple):
    """An AUROC with its 95 % interval over people, and how many studies have the finding and have it not."""

    value: float
    low: float
    high: float
    with_finding: int
    without: int


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties half (Hanley & McNeil 1982).

    Range 0 to 1, 0.5 is chance, higher is better; nan when one of the classes is missing. A score that is nan, or a
    finding that is nan (not assessed), is left out.
    """
    scores, positive = numbers(scores, positive)
    return _auroc(scores, positive > 0.5)


def auroc_over_people(scores: ArrayLike, positive: ArrayLike, people: Iterable[Hashable] | None = None, n: int = 2000,
                      seed: int = 0) -> Area:
    """`auroc` (Hanley & McNeil 1982) with a bootstrap interval over people, whose studies stay together (Efron 1979).

    0 to 1, higher is better. people: the person of each study; none: each study is another's. A draw that lacks one of
    the classes says nothing and is left out. The interval is nan where the value is, and for fewer than two people.
    """
    scores, positive = (np.asarray(each, np.float64).ravel() for each in (scores, positive))
    known_scores, known = numbers(scores, positive)
    value = _auroc(known_scores, known > 0.5)
    low, high = float("nan"), float("nan")
    if not np.isnan(value):
        rows = np.stack([scores, positive], axis=1)
        low, high = interval.bootstrap(rows, lambda drawn: _auroc(drawn[:, 0], drawn[:, 1] > 0.5), n, seed,
                                       people=people)
    return Area(value, low, high, int((known > 0.5).sum()), int((known <= 0.5).sum()))


def _auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((stats.rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * m))
