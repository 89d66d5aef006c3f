"""How well measured amounts follow the true ones, over people; pairs of which one is nan are left out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from medfuse_jax.data import definitions
from medfuse_jax.metrics.paired import masks, numbers


class Limits(NamedTuple):
    """Bland and Altman's bias (measured minus reference) and 95 % limits, in the unit of what is measured."""

    bias: float               # nearer to 0 is better
    low: float
    high: float               # high - low: lower is better
    n: int


def pearson(reference: ArrayLike, measured: ArrayLike) -> float:
    """Linear correlation (Pearson 1895), -1 to 1, higher is better; blind to bias and to scale.

    nan for fewer than two pairs and where either side never varies.
    """
    reference, measured = numbers(reference, measured)
    if _silent(reference) or _silent(measured):
        return float("nan")
    return float(np.clip(np.corrcoef(reference, measured)[0, 1], -1.0, 1.0))


def spearman(reference: ArrayLike, measured: ArrayLike) -> float:
    """Rank correlation (Spearman 1904), -1 to 1, higher is better; nan when either side never varies."""
    reference, measured = numbers(reference, measured)
    if _silent(reference) or _silent(measured):
        return float("nan")
    return float(stats.spearmanr(reference, measured).statistic)


def concordance(reference: ArrayLike, measured: ArrayLike) -> float:
    """Concordance with the line of identity (Lin 1989, Biometrics 45:255), -1 to 1, higher is better, 1 for equal ones.

    2 cov / (var + var + (difference of means)^2) with moments over n, so that bias and scale cost.
    nan for fewer than two pairs and where nothing varies and nothing differs.
    """
    reference, measured = numbers(reference, measured)
    if len(reference) < 2:
        return float("nan")
    spread = reference.var() + measured.var() + (reference.mean() - measured.mean()) ** 2
    covariance = np.mean((reference - reference.mean()) * (measured - measured.mean()))
    return float(2 * covariance / spread) if spread > 0 else float("nan")


def bland_altman(reference: ArrayLike, measured: ArrayLike) -> Limits:
    """Bias and limits of agreement, mean +- 1.96 standard deviations of measured - reference (Bland & Altman 1986).

    In the unit of what is measured; a bias near 0 and narrow limits are better. No pairs: all nan; one: nan limits.
    """
    reference, measured = numbers(reference, measured)
    difference = measured - reference
    if not len(difference):
        return Limits(float("nan"), float("nan"), float("nan"), 0)
    bias = float(difference.mean())
    reach = 1.96 * float(difference.std(ddof=1)) if len(difference) > 1 else float("nan")
    return Limits(bias, bias - reach, bias + reach, len(difference))


def absolute_error(reference: ArrayLike, measured: ArrayLike) -> float:
    """Mean absolute error in the unit of what is measured, 0 to infinity, lower is better; nan without pairs.

    Willmott & Matsuura 2005 (Clim. Res. 30:79).
    """
    reference, measured = numbers(reference, measured)
    return float(np.abs(measured - reference).mean()) if len(reference) else float("nan")


def volume_difference_ml(truth: ArrayLike, guess: ArrayLike, spacing: definitions.Spacing) -> float:
    """Absolute difference of two masks' volumes, ml, 0 to infinity, lower is better; 0 when both are empty.

    Kuijf 2019 (TMI 38:2556); blind to where the voxels lie.
    """
    truth, guess = masks(truth, guess)
    return abs(int(guess.sum()) - int(truth.sum())) * definitions.voxel_ml(spacing)


def volume_difference_percent(truth: ArrayLike, guess: ArrayLike) -> float:
    """The same in percent of the true volume (Kuijf 2019), 0 to infinity, lower is better.

    Both empty: 0; only the truth empty: infinity.
    """
    truth, guess = masks(truth, guess)
    true, guessed = int(truth.sum()), int(guess.sum())
    if not true:
        return 0.0 if not guessed else float("inf")
    return 100.0 * abs(guessed - true) / true


def _silent(values: np.ndarray) -> bool:
    return len(values) < 2 or float(np.ptp(values)) == 0
