"""Does the right image come back for a text, and the right text for an image?"""

from collections.abc import Hashable, Iterable, Sequence
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics.interval import numbered


def hits_at(similarity: ArrayLike, identities: Iterable[Hashable], k: int) -> np.ndarray:
    """For each row: the chance that its k most similar columns hold an item of its identity, (rows,), 0 to 1.

    similarity: rows ask, columns answer, both in the order of `identities`; its transpose asks the other way round.
    Items of equal identity (two people with one caption) are all right answers, for none can be told from another.
    Equal similarities count as a random order would, so a model that says the same of all scores chance.
    """
    similarity, number = np.asarray(similarity, np.float64), numbered(identities)
    items = len(number)
    if similarity.shape != (items, items) or np.isnan(similarity).any():
        raise MedFuseError(f"similarities of shape {similarity.shape} for {items} items, of them "
                           f"{np.isnan(similarity).sum()} nan: give a number for each pair")
    hits = np.zeros(items)
    for row, (near, own) in enumerate(zip(similarity, number, strict=True)):
        best_right = near[number == own].max()
        above = int((near > best_right).sum())
        level = near == best_right
        tied, right = int(level.sum()), int((level & (number == own)).sum())
        hits[row] = 1.0 - _missed(tied, right, min(k, items) - above)
    return hits


def recall_at(similarity: ArrayLike, identities: Iterable[Hashable], k: int) -> float:
    """Share of rows whose k most similar columns hold an item of the row's identity (Hodosh 2013, JAIR 47:853).

    0 to 1, higher is better; the mean of `hits_at`, whose arguments it takes. nan without items.
    """
    hits = hits_at(similarity, identities, k)
    return float(hits.mean()) if len(hits) else float("nan")


def recall_both_ways(similarity: ArrayLike, identities: Iterable[Hashable],
                     ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """`recall_at` (Hodosh 2013) both ways beside chance; rows are images, columns texts (as in Radford 2021).

    0 to 1, higher is better; nan without items.
    """
    scores = {}
    for k in ks:
        scores[f"image_to_text_r@{k}"] = recall_at(similarity, identities, k)
        scores[f"text_to_image_r@{k}"] = recall_at(np.asarray(similarity).T, identities, k)
        scores[f"chance_r@{k}"] = chance_at(identities, k)
    return scores


def chance_at(identities: Iterable[Hashable], k: int) -> float:
    """The exact expectation of `recall_at` under a random order: the baseline of its table, 0 to 1.

    1 - C(n - m, k) / C(n, k) for an item that m of n share (hypergeometric), and the mean over items; nan without any.
    """
    number = numbered(identities)
    if not len(number):
        return float("nan")
    sizes = np.bincount(number)[number]
    return float(np.mean([1.0 - _missed(len(number), int(size), k) for size in sizes]))


def _missed(items: int, right: int, drawn: int) -> float:
    """Chance that `drawn` of `items`, drawn at random, hold none of the `right` ones."""
    if drawn <= 0:
        return 1.0
    drawn = min(drawn, items)
    return comb(items - right, drawn) / comb(items, drawn)
