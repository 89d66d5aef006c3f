"""How much of a brain a scan shows: where the field of view cut it, as flat faces of the brain's convex hull."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

from medfuse_jax.data.grid import Grid
from medfuse_jax.data.poses import apply
from medfuse_jax.data.resampling import coarser, resample

FLAT = 0.12                                # of the hull's surface that faces one way: whole brains 0.06 to 0.08
ALIKE = np.cos(np.radians(10.0))           # of the angle between faces that count as one
COARSE_MM = 4.0
MOST_CUTS = 2
MARGIN_MM = 2.0                            # before a cut, where voxels are half brain
SIDES = (("left", "right"), ("back", "front"), ("bottom", "top"))


class Cut(NamedTuple):
    """A plane at which the brain ends because the scan does."""

    normal: np.ndarray                     # 3: unit, away from the brain
    offset: float                          # mm: places with normal . place below it lie inside

    def inside(self, places: np.ndarray) -> np.ndarray:
        """Which places (n 3, mm) lie before the cut, by a margin."""
        return places @ self.normal < self.offset - MARGIN_MM


def cuts(mask: np.ndarray, affine: np.ndarray) -> list[Cut]:
    """The planes at which a brain mask (x y z) was cut, the largest first; none for a whole brain.

    A head that is cut by a plane, however tilted and whether or not the volume ends there, has a flat face as large
    as its cross-section: 16 to 38 % of the hull with three quarters of the brain or less, 7 to 17 % with 95 %.
    """
    small = coarser(Grid(mask.shape, affine), COARSE_MM)
    inside = np.pad(resample(mask, affine, small) > 0.5, 1)
    rim = inside & ~ndimage.binary_erosion(inside)
    places = apply(small.affine, np.argwhere(rim) - 1.0)
    if len(places) < 4 or (np.ptp(np.argwhere(rim), axis=0) == 0).any():
        return []
    hull = ConvexHull(places)
    first, second, third = np.moveaxis(places[hull.simplices], 1, 0)
    areas = np.linalg.norm(np.cross(second - first, third - first), axis=1) / 2
    normals, offsets = hull.equations[:, :3], -hull.equations[:, 3]
    alike = normals @ normals.T > ALIKE
    found: list[Cut] = []
    for facet in np.argsort(-(alike @ areas)):
        same = alike[facet]
        if len(found) == MOST_CUTS or areas[same].sum() < FLAT * areas.sum():
            break
        if all(normals[facet] @ cut.normal < 0.5 for cut in found):
            found.append(Cut(normals[facet], float(np.average(offsets[same], weights=areas[same]))))
    return found


def shown(brain: np.ndarray, faces: Sequence[Cut]) -> float:
    """Which share of a whole brain's places (n 3, scanner mm) lies before all cuts, 0 .. 1."""
    seen = np.ones(len(brain), bool)
    for cut in faces:
        seen &= brain @ cut.normal < cut.offset
    return float(seen.mean())


def sides(faces: Sequence[Cut], upright: np.ndarray) -> str:
    """Which sides of a head the cuts take off, in words; upright: the move (4 x 4) that lays it onto MNI152."""
    names = []
    for cut in faces:
        turned = upright[:3, :3] @ cut.normal
        axis = int(np.abs(turned).argmax())
        names.append(SIDES[axis][int(turned[axis] > 0)])
    return " and ".join(names)
