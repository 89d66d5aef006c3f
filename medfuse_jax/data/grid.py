"""The box that all models see, at any spacing: 192 x 224 x 192 mm around the brain in MNI space, never scaled.

The grids of the presets (8, 4, 2, 1 mm) are nested: a coarse voxel is exactly eight voxels of the next finer grid.
"""

from typing import NamedTuple

import numpy as np

BOX_MM = (192.0, 224.0, 192.0)            # x y z
CENTRE_MM = (0.0, -18.0, 8.0)             # MNI coordinate of the box's centre


class Grid(NamedTuple):
    """A regular grid in RAS+ millimetres."""

    shape: tuple[int, int, int]           # x y z
    affine: np.ndarray                    # 4 x 4: voxel index -> mm

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size in mm along x, y, z."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))


def standard(spacing: float) -> Grid:
    """The standard box sampled every `spacing` mm (at least 0.5)."""
    shape = tuple(int(round(side / spacing)) for side in BOX_MM)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [c - spacing * (n - 1) / 2 for c, n in zip(CENTRE_MM, shape, strict=True)]
    return Grid(shape, affine)
