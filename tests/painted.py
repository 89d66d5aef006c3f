"""Heads painted from the atlas, for tests of registration: of any contrast, smaller than the template, and noisy."""

from functools import cache

import numpy as np
from scipy import ndimage

from medfuse_jax.data import grid, poses, registration
from medfuse_jax.data.grid import Grid
from medfuse_jax.data.nifti import Scan
from medfuse_jax.data.resampling import resample
from medfuse_jax.data.simulate import atlas

FINE = grid.standard(2.0)
# Brightness of background, CSF, cortex, white matter, deep grey, cerebellum, brainstem (TISSUES of `registration`).
PAINTS = {"T1w": (0, 120, 300, 480, 390, 320, 450), "T2w": (0, 900, 420, 300, 350, 430, 320),
          "FLAIR": (0, 60, 330, 260, 310, 320, 270)}


@cache
def tissues() -> np.ndarray:
    """The tissue of each voxel on FINE, from the atlas itself and not from what registration keeps of it."""
    table = np.array([next(place for place, groups in enumerate(registration.TISSUES) if structure.group in groups)
                      for structure in registration.labels.STRUCTURES])
    return table[resample(atlas.atlas().structures, grid.standard(1.0).affine, FINE, order=0)]


def head(contrast: str, move: np.ndarray, size: float = 0.9, thick: float = 4.0) -> tuple[Scan, np.ndarray]:
    """A smaller person, painted, uneven and noisy, moved, and scanned in thick slices; with the brain mask."""
    rng = np.random.default_rng(5)
    field = np.exp(0.2 * ndimage.zoom(rng.normal(size=(3, 3, 3)), np.array(FINE.shape) / 3, order=1))
    painted = np.array(PAINTS[contrast], np.float32)[tissues()] * field
    about = registration.template(4.0).centre
    smaller = poses.shift(about) @ np.diag([size, size, size, 1]) @ poses.shift(-about)
    source, low = move @ smaller @ FINE.affine, (move @ smaller @ np.append(about, 1))[:3] - [96, 112, 90]
    scanner = Grid((128, 149, int(180 / thick)), poses.shift(low) @ np.diag([1.5, 1.5, thick, 1]))
    mask = resample(tissues() > 0, source, scanner) > 0.5
    image = np.maximum(resample(painted, source, scanner) + rng.normal(0, 12, scanner.shape), 0) * mask
    return Scan(image.astype(np.float32), scanner.affine, [], f"{contrast}.nii"), mask


def move(seed: int, degrees: float = 20.0, mm: float = 40.0) -> np.ndarray:
    """A turn of up to so many degrees about any axis through the brain, and a shift of up to so many mm."""
    rng = np.random.default_rng(seed)
    axis, shift = rng.normal(size=(2, 3))
    turn = poses.turn(*np.radians(rng.uniform(0, degrees)) * axis / np.linalg.norm(axis))
    about = registration.template(4.0).centre
    shift *= rng.uniform(0, mm) / np.linalg.norm(shift)
    return poses.shift(about + shift) @ poses.linear(turn) @ poses.shift(-about)


def error(found: np.ndarray, truth: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> float:
    """How far apart two moves take a brain, mean mm."""
    return poses.displacement(found, truth, np.argwhere(mask)[::31] @ affine[:3, :3].T + affine[:3, 3])
