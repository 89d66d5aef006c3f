"""How sure a number is: intervals over people and tests of differences, all from an explicit seed."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def bootstrap(values: ArrayLike, statistic: Callable = np.mean, n: int = 2000, seed: int = 0,
              level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over people, rows of `values` (Efron 1979).

    values: (people,) or (people, m); a person whose value is nan was not measured and is left out. A statistic that
    takes `axis` runs on all draws at once. Fewer than two people: (nan, nan), for nothing can be said.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values).reshape(len(values), -1).any(axis=1)]
    if len(values) < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(0, len(values), (n, len(values)))
    if statistic in (np.mean, np.median) and values.ndim == 1:
        found = statistic(values[draws], axis=1)
    else:
        found = np.array([statistic(values[draw]) for draw in draws])
    low, high = np.nanpercentile(found, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def permutation_p(a: ArrayLike, b: ArrayLike, n: int = 10_000, seed: int = 0, paired: bool = False) -> float:
    """Two-sided p of a difference of means by permutation (Fisher 1935; Phipson & Smyth 2010), 1/(n+1) to 1.

    paired: a[i] and b[i] belong together (one seed, one person) and the signs of their differences are flipped.
    The observed arrangement counts as one of the draws, so p is never 0.
    """
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
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


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Rank correlation (Spearman 1904), -1 to 1; nan when either side never varies."""
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)
