"""Does the right image come back for a text, and the right text for an image?"""

from collections.abc import Hashable, Iterable, Sequence
from math import comb

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def _numbered(identities: Iterable[Hashable]) -> np.ndarray:
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(identity, len(seen)) for identity in identities])


def recall_at(similarity: ArrayLike, identities: Iterable[Hashable], k: int) -> float:
    """Share of rows whose k most similar columns hold an item of the row's identity, 0 to 1, higher is better.

    similarity: rows ask, columns answer, both in the order of `identities`; its transpose asks the other way round.
    Items of equal identity (two people with one caption) are all right answers, for none can be told from another.
    Equal similarities count as a random order would, so a model that says the same of all scores chance.
    """
    similarity, number = np.asarray(similarity, np.float64), _numbered(identities)
    items = len(number)
    hits = []
    for row, own in zip(similarity, number, strict=True):
        best_right = row[number == own].max()
        above = int((row > best_right).sum())
        level = row == best_right
        tied, right = int(level.sum()), int((level & (number == own)).sum())
        hits.append(1.0 - _missed(tied, right, min(k, items) - above))
    return float(np.mean(hits))


def recall_both_ways(similarity: ArrayLike, identities: Iterable[Hashable],
                     ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Recall both ways and chance; similarity rows are images, columns texts (Radford 2021 for the protocol)."""
    scores = {}
    for k in ks:
        scores[f"image_to_text_r@{k}"] = recall_at(similarity, identities, k)
        scores[f"text_to_image_r@{k}"] = recall_at(np.asarray(similarity).T, identities, k)
        scores[f"chance_r@{k}"] = chance_at(identities, k)
    return scores


def chance_at(identities: Iterable[Hashable], k: int) -> float:
    """The exact expectation of `recall_at` under a random order: the baseline of its table, 0 to 1."""
    number = _numbered(identities)
    sizes = np.bincount(number)[number]
    return float(np.mean([1.0 - _missed(len(number), int(size), k) for size in sizes]))


def _missed(items: int, right: int, drawn: int) -> float:
    """Chance that `drawn` of `items`, drawn at random, hold none of the `right` ones."""
    if drawn <= 0:
        return 1.0
    drawn = min(drawn, items)
    return comb(items - right, drawn) / comb(items, drawn)


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties half (Hanley & McNeil 1982).

    Range 0 to 1, 0.5 is chance, higher is better; nan when one of the classes is missing.
    """
    scores, positive = np.asarray(scores, np.float64).ravel(), np.asarray(positive, bool).ravel()
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float((stats.rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * m))
