"""How like two sets are: distances between clouds of features, and how alike the members of one set are.

Values of other extractors, and Frechet distances of other numbers of samples, cannot be compared: put the distance
between two halves of the real set beside each.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics.image import ms_ssim


class Distance(NamedTuple):
    """A distance between two sets, and whether there were samples enough for it to mean something."""

    value: float
    samples: int              # of the smaller set
    features: int
    enough: bool              # more samples than features, as a covariance of full rank needs

    @property
    def caution(self) -> str:
        """What to say beside the value; empty when there were samples enough."""
        return "" if self.enough else (f"{self.samples} samples of {self.features} features: fewer than there are "
                                       "directions, so the value says little")


def frechet(real: ArrayLike, made: ArrayLike) -> Distance:
    """Frechet distance of two Gaussians fitted to features (Dowson & Landau 1982; FID of Heusel 2017).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), in squared units of the features, 0 to infinity, lower is better, 0 for
    equal sets. Its bias grows as samples become few (Chong & Forsyth 2020). real, made: (samples, features); fewer
    than two samples on either side: nan. `enough` is false, and `caution` says so, without more samples than features.
    """
    real, made = _features(real, made)
    samples, features = min(len(real), len(made)), real.shape[1]
    if samples < 2:
        return Distance(float("nan"), samples, features, False)
    apart = float(np.sum((real.mean(axis=0) - made.mean(axis=0)) ** 2))
    # With S = R'R the trace of (S1 S2)^(1/2) is the sum of the singular values of R1 R2': no root of a matrix.
    roots = [np.linalg.qr((each - each.mean(axis=0)) / np.sqrt(len(each) - 1), mode="r") for each in (real, made)]
    spread = float(sum(np.sum(root**2) for root in roots))
    common = float(np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum())
    return Distance(max(apart + spread - 2 * common, 0.0), samples, features, samples > features)


def kid(real: ArrayLike, made: ArrayLike) -> Distance:
    """Kernel distance: unbiased squared MMD with the kernel (x.y / features + 1)^3 (Binkowski 2018, ICLR).

    Lower is better, 0 in expectation for equal distributions whatever the number of samples, hence at times below 0;
    no unit. real, made: (samples, features); fewer than two samples on either side: nan. `enough` is as in `frechet`,
    though few samples cost this one precision and not truth.
    """
    real, made = _features(real, made)
    samples, features = min(len(real), len(made)), real.shape[1]
    if samples < 2:
        return Distance(float("nan"), samples, features, False)
    within = sum((_kernel(each, each).sum() - _kernel_diagonal(each).sum()) / (len(each) * (len(each) - 1))
                 for each in (real, made))
    return Distance(float(within - 2 * _kernel(real, made).mean()), samples, features, samples > features)


def ms_ssim_diversity(volumes: Sequence[ArrayLike] | np.ndarray, data_range: float, most: int = 200,
                      seed: int = 0) -> float:
    """Mean MS-SSIM between members of a set (Odena 2017, ICML), 0 to 1, lower is more diverse.

    Noise is diverse too: the aim is the value of the real set, which belongs beside it. data_range: one for all.
    At most so many pairs, drawn by the seed from all pairs when there are more. Fewer than two volumes: nan.
    """
    pairs = list(combinations(range(len(volumes)), 2))
    if not pairs:
        return float("nan")
    if len(pairs) > most:
        drawn = np.random.default_rng(seed).choice(len(pairs), most, replace=False)
        pairs = [pairs[place] for place in sorted(drawn)]
    return float(np.mean([ms_ssim(volumes[one], volumes[other], data_range=data_range) for one, other in pairs]))


def _kernel(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one @ other.T / one.shape[1] + 1.0) ** 3


def _kernel_diagonal(one: np.ndarray) -> np.ndarray:
    return (np.sum(one * one, axis=1) / one.shape[1] + 1.0) ** 3


def _features(real: ArrayLike, made: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    real, made = np.asarray(real, np.float64), np.asarray(made, np.float64)
    if real.ndim != 2 or made.ndim != 2 or real.shape[1] != made.shape[1] or not real.shape[1]:
        raise MedFuseError(f"features of shapes {real.shape} and {made.shape} cannot be compared: give (samples, "
                           "features) of one extractor")
    if not (np.isfinite(real).all() and np.isfinite(made).all()):
        raise MedFuseError("features hold nan or infinity: leave those samples out")
    return real, made
