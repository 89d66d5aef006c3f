"""Can simulated scans be told from real ones? A classifier two-sample test on radiomic features of patches.

Patches (cubes of 24 mm inside the brain) of real and of simulated scans are told apart by a logistic regression;
patients are judged by models that saw none of their patches (Lopez-Paz & Oquab 2017).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage, optimize, special, stats

from medfuse_jax.data import bids, labels
from medfuse_jax.data.brain import estimate
from medfuse_jax.data.nifti import read_mask, read_volume
from medfuse_jax.data.resampling import coarser, resample
from medfuse_jax.data.simulate import cohort
from medfuse_jax.data.simulate.person import CohortSettings
from medfuse_jax.errors import MedFuseError
from medfuse_jax.progress import Progress

PATCH_MM, STRIDE_MM, INSIDE = 24.0, 6.0, 0.95     # a patch is a cube with at least this share inside the brain
PATCHES = 60                                      # of one volume, at most
FOLDS, PENALTY, DRAWS = 5, 1.0, 2000
LAGS = 8                                          # voxels: how far the autocorrelation is followed
TINY = 1e-6
_AXES = ("x", "y", "z")
FEATURES = (
    *(f"intensity_q{q}" for q in (5, 25, 50, 75, 95)), *(f"gradient_q{q}" for q in (10, 50, 90)),
    *(f"local_sd_{size}_{which}" for size in (3, 7) for which in ("median", "q90")),
    *(f"correlation_length_{axis}" for axis in _AXES), *(f"neighbour_correlation_{axis}" for axis in _AXES),
    *(f"slice_energy_{axis}" for axis in _AXES), *(f"slice_unevenness_{axis}" for axis in _AXES),
)


class Told(NamedTuple):
    """How well real and simulated are told apart: 0.5 not at all, 1 always; lower is better."""

    auc: float                                    # mean over pairs of a real and a simulated patient, 0 to 1
    interval: tuple[float, float]                 # 95 %, bootstrap over both sides' patients
    weights: dict[str, float]                     # feature -> mean weight, positive where the simulated have more of it


def features(patch: np.ndarray) -> np.ndarray:
    """What a patch (x, y, z; in medians of its brain) looks like: FEATURES, in that order."""
    gradient = np.sqrt(sum(np.square(part) for part in np.gradient(patch)))
    found = [*np.quantile(patch, (0.05, 0.25, 0.5, 0.75, 0.95)), *np.log(np.quantile(gradient, (0.1, 0.5, 0.9)) + TINY)]
    for size in (3, 7):
        mean = ndimage.uniform_filter(patch, size)
        spread = np.sqrt(np.maximum(ndimage.uniform_filter(patch**2, size) - mean**2, 0))
        found += list(np.log(np.quantile(spread, (0.5, 0.9)) + TINY))
    fine = patch - mean                           # without what is wider than 7 voxels
    energy = np.mean(fine**2) + TINY
    correlations = [_correlations(fine, axis) for axis in range(3)]
    found += [_length(along) for along in correlations] + [along[1] for along in correlations]
    for axis in range(3):
        steps = np.diff(patch, axis=axis)
        found.append(np.log(np.mean(steps**2) / energy + TINY))
    for axis in range(3):
        slices = np.mean(np.diff(patch, axis=axis) ** 2, axis=tuple({0, 1, 2} - {axis}))
        found.append(np.log(slices.std() / (slices.mean() + TINY) + TINY))
    return np.array(found)


def _correlations(fine: np.ndarray, axis: int) -> np.ndarray:
    """Autocorrelation at lags 0 to LAGS along an axis."""
    along = np.moveaxis(fine, axis, 0)
    power = np.mean(along**2) + TINY
    return np.array([1.0, *(np.mean(along[lag:] * along[:-lag]) / power for lag in range(1, LAGS + 1))])


def _length(correlations: np.ndarray) -> float:
    """The lag, between voxels, at which an autocorrelation falls below a half."""
    below = int(np.argmax(correlations < 0.5)) or LAGS
    high, low = correlations[below - 1], correlations[below]
    return below - 1 + float(np.clip((high - 0.5) / max(high - low, TINY), 0, 1))


def patches(volume: np.ndarray, spacing: float, random: np.random.Generator) -> list[np.ndarray]:
    """Cubes inside the brain of a skull-stripped volume (x, y, z; background 0), in medians of the brain."""
    size, stride = int(round(PATCH_MM / spacing)), max(1, int(round(STRIDE_MM / spacing)))
    brain = ndimage.binary_fill_holes(volume > 0)
    sums = np.pad(brain.astype(np.int64), ((1, 0),) * 3)
    for axis in range(3):                         # an integral image: the share of a cube in eight look-ups
        sums = np.cumsum(sums, axis=axis)
    for axis in range(3):
        sums = np.take(sums, range(size, sums.shape[axis]), axis) - np.take(sums, range(sums.shape[axis] - size), axis)
    corners = np.argwhere(sums[::stride, ::stride, ::stride] >= INSIDE * size**3) * stride
    corners = random.permutation(corners)[:PATCHES]
    relative = volume.astype(np.float64) / np.median(volume[brain])
    return [relative[tuple(slice(a, a + size) for a in corner)] for corner in corners]


def two_sample(real: Sequence[Sequence[np.ndarray]], simulated: Sequence[Sequence[np.ndarray]], spacing: float = 1.0,
               seed: int = 0) -> Told:
    """How well patches of real and simulated scans are told apart, by patients that the judge has not seen.

    real, simulated: for each patient (at least two) the volumes (x, y, z) of one contrast, background 0; spacing: mm.
    """
    random = np.random.default_rng(seed)
    sides = [[np.array([features(patch) for volume in patient for patch in patches(volume, spacing, random)])
              for patient in side] for side in (real, simulated)]
    folds = [np.arange(len(side)) % min(FOLDS, len(side)) for side in sides]
    pairs = np.zeros([len(side) for side in sides])
    weights = []
    for fold_real in np.unique(folds[0]):
        for fold_simulated in np.unique(folds[1]):
            held = [folds[0] == fold_real, folds[1] == fold_simulated]
            seen = [np.concatenate([rows for rows, out in zip(side, mine, strict=True) if not out])
                    for side, mine in zip(sides, held, strict=True)]
            judge = Judge.fitted(*seen)
            weights.append(judge.weights)
            for r in np.flatnonzero(held[0]):
                for s in np.flatnonzero(held[1]):
                    pairs[r, s] = area(judge(sides[0][r]), judge(sides[1][s]))
    draws = [random.integers(0, n, (DRAWS, n)) for n in pairs.shape]
    drawn = [pairs[np.ix_(rows, columns)].mean() for rows, columns in zip(*draws, strict=True)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Told(float(pairs.mean()), (float(low), float(high)),
                dict(zip(FEATURES, np.mean(weights, axis=0).tolist(), strict=True)))


def area(real: np.ndarray, simulated: np.ndarray) -> float:
    """Area under the ROC curve: how often a simulated patch scores above a real one; ties count a half."""
    ranks = stats.rankdata(np.concatenate([real, simulated]))[len(real):]
    return float((ranks.sum() - len(simulated) * (len(simulated) + 1) / 2) / (len(real) * len(simulated)))


class Judge(NamedTuple):
    """A logistic regression on standardised features."""

    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray

    @classmethod
    def fitted(cls, real: np.ndarray, simulated: np.ndarray) -> "Judge":
        """Fit to rows of features (n, features) of both sides, which weigh the same; L2 penalty on the weights."""
        rows = np.concatenate([real, simulated])
        centre, scale = rows.mean(axis=0), rows.std(axis=0) + TINY
        rows = np.column_stack([(rows - centre) / scale, np.ones(len(rows))])
        sign = np.repeat((-1.0, 1.0), (len(real), len(simulated)))
        share = np.repeat((0.5 / len(real), 0.5 / len(simulated)), (len(real), len(simulated))) * len(rows)
        penalty = PENALTY * np.append(np.ones(rows.shape[1] - 1), 0)

        def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
            margin = sign * (rows @ weights)
            slope = -share * sign * special.expit(-margin)
            return (share @ np.logaddexp(0, -margin) + penalty @ weights**2 / 2, rows.T @ slope + penalty * weights)

        best = optimize.minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B").x
        return cls(centre, scale, best[:-1])

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Scores (n,) of rows of features, higher for simulated; without offset, which ranks do not need."""
        return (rows - self.centre) / self.scale @ self.weights


# Whole trees


def beside(tree: str | Path, settings: CohortSettings, jobs: int = 1) -> dict[str, Told]:
    """How well each contrast of a BIDS tree of real scans is told from simulated people of `settings`.

    Scans are resampled to the people's spacing and stripped by the tree's brain masks, or estimated ones. One visit a
    simulated person.
    MedFuseError without two real people of any contrast.
    """
    studies = [study for study in bids.index(tree) if study.contrasts and not study.problem]
    real: dict[str, dict[str, list[np.ndarray]]] = {}
    with Progress("reading real scans", len(studies), "study") as told:
        for number, study in enumerate(studies, start=1):
            for contrast, volume in _stripped(study, settings.spacing).items():
                real.setdefault(contrast, {}).setdefault(study.person, []).append(volume)
            told.tell(number)
    simulated: dict[str, list[list[np.ndarray]]] = {}
    for visits in cohort.people(settings, jobs):
        for contrast in visits[0].present:
            channel = labels.CONTRASTS.index(contrast)
            simulated.setdefault(contrast, []).append([visit.images[..., channel] for visit in visits])
    both = [name for name in labels.CONTRASTS if len(real.get(name, ())) > 1 and len(simulated.get(name, ())) > 1]
    if not both:
        raise MedFuseError(f"{tree}: fewer than two people of any contrast: a classifier needs more to be judged")
    return {name: two_sample(list(real[name].values()), simulated[name], settings.spacing, settings.seed)
            for name in both}


def _stripped(study: bids.Study, spacing: float) -> dict[str, np.ndarray]:
    """The contrasts of a study in its own pose, voxels of `spacing`, without skull."""
    found = {}
    for contrast, path in study.contrasts.items():
        scan = read_volume(path)
        mask = read_mask(study.brain_mask, like=scan) if study.brain_mask else estimate(scan)[0]
        found[contrast] = resample(scan.array * mask, scan.affine, coarser(scan.grid, spacing))
    return found


def table(told: Mapping[str, Told]) -> str:
    """The contrasts as Markdown; nothing for none."""
    lines = ["", "| real and simulated told apart | AUC (0.5 not at all, 1 always) | 95 % interval | by most |",
             "|---|---|---|---|"]
    for name, one in told.items():
        by = sorted(one.weights, key=lambda feature: -abs(one.weights[feature]))[:3]
        lines.append(f"| {name} | {one.auc:.2f} | {one.interval[0]:.2f} to {one.interval[1]:.2f} | {', '.join(by)} |")
    return "\n".join(lines) + "\n" if told else ""
