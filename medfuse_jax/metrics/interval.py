"""How sure a number is: intervals over people and tests of differences, all from an explicit seed."""

from collections.abc import Callable, Hashable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from medfuse_jax.errors import MedFuseError


def bootstrap(values: ArrayLike, statistic: Callable = np.mean, n: int = 2000, seed: int = 0, level: float = 0.95,
              people: Iterable[Hashable] | None = None) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over people, rows of `values` (Efron 1979).

    values: (people,) or (people, m); a row that holds nan was not measured and is left out. people: the person of each
    row where one has several (visits): people are drawn, and all rows of one come together (Davison & Hinkley 1997,
    section 3.8). Draws of which the statistic is nan are left out. Fewer than two people: (nan, nan), for nothing can
    be said.
    """
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values).reshape(len(values), -1).any(axis=1) if len(values) else np.zeros(0, bool)
    owner = np.arange(len(values)) if people is None else numbered(people)
    if len(owner) != len(values):
        raise MedFuseError(f"{len(owner)} people for {len(values)} rows: name the person of each row")
    values, owner = values[known], np.unique(owner[known], return_inverse=True)[1]
    count = int(owner.max(initial=-1)) + 1
    if count < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(0, count, (n, count))
    if people is None and statistic in (np.mean, np.median) and values.ndim == 1:
        found = statistic(values[draws], axis=1)
    else:
        rows = [np.flatnonzero(owner == person) for person in range(count)]
        drawn = draws if people is None else (np.concatenate([rows[person] for person in draw]) for draw in draws)
        found = np.array([statistic(values[own]) for own in drawn])
    if np.isnan(found).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(found, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def numbered(names: Iterable[Hashable]) -> np.ndarray:
    """0, 1, ... for each name, in the order in which they first appear."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(name, len(seen)) for name in names], np.int64)


def permutation_p(a: ArrayLike, b: ArrayLike, n: int = 10_000, seed: int = 0, paired: bool = False) -> float:
    """Two-sided p of a difference of means by permutation (Fisher 1935; Phipson & Smyth 2010), 1/(n+1) to 1.

    paired: a[i] and b[i] belong together (one seed, one person) and the signs of their differences are flipped.
    The observed arrangement counts as one of the draws, so p is never 0. nan when either side is empty.
    """
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    if paired and len(a) != len(b):
        raise MedFuseError(f"{len(a)} and {len(b)} values are not pairs: give as many of each")
    if not len(a) or not len(b):
        return float("nan")
    generator = np.random.default_rng(seed)
    if paired:
        difference = a - b
        observed = abs(difference.mean())
        drawn = np.abs((generator.choice((-1.0, 1.0), (n, len(difference))) * difference).mean(axis=1))
    else:
        pooled = np.concatenate([a, b])
        observed = abs(a.mean() - b.mean())
        mixed = generator.permuted(np.broadcast_to(pooled, (n, len(pooled))), axis=1)
        drawn = np.abs(mixed[:, :len(a)].mean(axis=1) - mixed[:, len(a):].mean(axis=1))
    return float((1 + np.count_nonzero(drawn >= observed - 1e-12)) / (n + 1))
