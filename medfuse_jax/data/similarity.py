"""How well a scan is explained by maps that move over it, and the climb to the pose that explains it best.

Points lie on the scan, the maps move over them. What the maps stand for (tissues of an atlas, brightness of another
scan) has a brightness in this scan that is not known and falls out of a linear regression, so that no contrast is
assumed. What the regression explains of the variance (R2, the correlation ratio of soft classes: Roche et al., MICCAI
1998) is the similarity, and its gradient steers Gauss-Newton steps.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg, ndimage

from medfuse_jax.data.coverage import Cut
from medfuse_jax.data.grid import Grid
from medfuse_jax.data.poses import apply, displacement, shift
from medfuse_jax.data.resampling import coarser, resample
from medfuse_jax.errors import MedFuseError

RIM = 2                                    # voxels of background around the brain that count: they hold its outline
BRIGHTEST = 99.0                           # percentile of the brain above which intensities count alike: fat, vessels
MOST_STEPS = 25
STILL_MM = 0.03                            # a step that moves the brain less than this is the last


class Maps(NamedTuple):
    """What is laid onto a scan, at one level: tissues of MNI152, or the brightness of another scan in classes."""

    grid: Grid                             # parallel to the axes of the world
    shares: np.ndarray                     # class x y z: share of the voxel, float32; the first is what lies outside
    centre: np.ndarray                     # mm, of the brain
    radius: float                          # mm, of the brain: see `radius`

    @property
    def inner(self) -> np.ndarray:
        """Places (n 3, mm) of the brain."""
        return apply(self.grid.affine, np.argwhere(self.shares[0] < 0.5))


class Points(NamedTuple):
    """What is looked at of a scan."""

    places: np.ndarray                     # n 3: scanner mm
    values: np.ndarray                     # n: intensity, 0 outside the brain
    nuisance: np.ndarray                   # n 3: a slope of intensity across the brain along each axis

    def thinned(self, every: int) -> "Points":
        """Every so many points one."""
        return Points(*(part[::every] for part in self))


def maps(box: Grid, shares: np.ndarray) -> Maps:
    """Classes (class x y z) on a grid that is parallel to the axes of the world; without a brain the box is its own."""
    made = Maps(box, shares, np.zeros(3), 0.0)
    places = made.inner if (shares[0] < 0.5).any() else apply(box.affine, np.argwhere(np.ones(box.shape, bool)))
    return made._replace(centre=places.mean(axis=0), radius=radius(places))


def radius(places: np.ndarray) -> float:
    """Root mean square distance of places (n 3) from their centre."""
    return float(np.sqrt(((places - places.mean(axis=0)) ** 2).sum(axis=1).mean()))


def points(array: np.ndarray, mask: np.ndarray, affine: np.ndarray, spacing: float, cuts: Sequence[Cut] = (),
           bare: bool = True) -> Points:
    """Intensities of a scan (x y z) inside its brain mask and just around it, on a grid of about `spacing` mm.

    cuts: planes beyond which nothing is known. bare: what lies around the brain counts as 0, beyond the volume too;
    otherwise as what it is, and not beyond the volume.
    """
    coarse, rim = coarser(Grid(array.shape, affine), spacing), RIM if bare else 0
    coarse = Grid(tuple(count + 2 * rim for count in coarse.shape), coarse.affine @ shift(np.full(3, -float(rim))))
    inside = resample(mask, affine, coarse)
    shown = np.maximum(array, 0)
    values = resample(np.where(mask, shown, 0) if bare else shown, affine, coarse)
    brain = inside > 0.5
    if not brain.any():
        raise MedFuseError(f"the brain mask is smaller than one voxel of {spacing:g} mm")
    values = np.minimum(values, np.percentile(values[brain], BRIGHTEST))
    chosen = np.argwhere(ndimage.binary_dilation(brain, iterations=RIM))
    places = apply(coarse.affine, chosen)
    for cut in cuts:
        kept = cut.inside(places)
        chosen, places = chosen[kept], places[kept]
    slopes = (places - places.mean(axis=0)) / places.std(axis=0) * inside[tuple(chosen.T)][:, None]
    return Points(places, values[tuple(chosen.T)].astype(np.float64), slopes)


def explained(seen: Points, known: Maps, pose: np.ndarray) -> float:
    """R2: what the classes explain of the intensities under a pose, 0 .. 1."""
    shares = _sampled(known.shares, known.grid, apply(pose, seen.places))
    return _regressed(np.column_stack([shares, seen.nuisance]), seen.values)[1]


def climbed(seen: Points, known: Maps, pose: np.ndarray, freedom: int) -> np.ndarray:
    """Gauss-Newton steps in `freedom` directions (6 rigid, 7 with size, 12 affine) until the brain lies still."""
    best = explained(seen, known, pose)
    for _ in range(MOST_STEPS):
        move = _step(seen, known, pose, freedom)
        for _ in range(4):
            tried = linalg.expm(move) @ pose
            reached = explained(seen, known, tried)
            if reached > best:
                break
            move = move / 2
        else:
            return pose
        moved = displacement(tried, pose, seen.places)
        pose, best = tried, reached
        if moved < STILL_MM:
            break
    return pose


def _step(seen: Points, known: Maps, pose: np.ndarray, freedom: int) -> np.ndarray:
    """The generator (4 x 4) of the move that a linear model of the maps' slopes wants."""
    places = apply(pose, seen.places)
    shares = _sampled(known.shares, known.grid, places)
    regressors = np.column_stack([shares, seen.nuisance])
    brightness = _regressed(regressors, seen.values)[0][:len(known.shares)]
    painted = np.tensordot(brightness, known.shares, axes=1)
    slopes = np.stack(np.gradient(painted, *known.grid.spacing))                      # per mm: the box is not turned
    slopes = _sampled(slopes, known.grid, places, outside=0.0)
    directions = _generators(known)[:freedom]
    jacobian = np.stack([(slopes * (places @ each[:3, :3].T + each[:3, 3])).sum(axis=1) for each in directions], axis=1)
    weights = _regressed(np.column_stack([regressors, jacobian]), seen.values)[0][-freedom:]
    return np.tensordot(weights, directions, axes=1)


def _generators(known: Maps) -> np.ndarray:
    """12 infinitesimal moves about the brain's centre: 3 shifts (mm), 3 turns, size, 5 others; turns in radii."""
    about = np.zeros((12, 4, 4))
    about[[0, 1, 2], [0, 1, 2], 3] = 1.0
    for place, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        about[3 + place, i, j], about[3 + place, j, i] = -1.0, 1.0
        about[9 + place, i, j] = about[9 + place, j, i] = 1.0
    about[6, [0, 1, 2], [0, 1, 2]] = 1.0
    about[7, [0, 1], [0, 1]] = 1.0, -1.0
    about[8, [1, 2], [1, 2]] = 1.0, -1.0
    about[3:, :3, 3] = -about[3:, :3, :3] @ known.centre
    about[3:] /= known.radius
    return about


def _regressed(regressors: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Least squares by normal equations with a little ridge, and R2."""
    square = regressors.T @ regressors
    square[np.diag_indices_from(square)] += 1e-6 * np.trace(square) / len(square)
    weights = np.linalg.solve(square, regressors.T @ values)
    residual = values - regressors @ weights
    return weights, float(1 - residual @ residual / ((values - values.mean()) ** 2).sum())


def _sampled(maps: np.ndarray, box: Grid, places: np.ndarray, outside: float = 1.0) -> np.ndarray:
    """Maps (m x y z) at places (n 3, mm), linear: n m. Beyond the box the first map is `outside`, the others 0."""
    index = ((places - box.affine[:3, 3]) / box.spacing).T
    return np.stack([ndimage.map_coordinates(each, index, order=1, mode="constant", cval=outside * (number == 0),
                                             prefilter=False) for number, each in enumerate(maps)], axis=1)
