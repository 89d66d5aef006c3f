"""Between grids: constants stay, ramps stay, volumes stay, and only world position counts."""

import numpy as np
import pytest

from medfuse_jax.data import grid
from medfuse_jax.data.resampling import fraction, resample

AFFINE = np.array([[3.0, 0, 0, -20], [0, 4.0, 0, -30], [0, 0, 5.0, -25], [0, 0, 0, 1]])
ARRAY = np.random.default_rng(0).normal(100, 10, (14, 13, 12)).astype(np.float32)


def _oblique(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0, -40], [s, c, 0, -58], [0, 0, 1, -30], [0, 0, 0, 1]])


def _ramp(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    x, y, z = np.tensordot(affine[:3, :3], np.indices(shape), axes=1) + affine[:3, 3, None, None, None]
    return 200 + 2 * x + y - 0.5 * z


@pytest.mark.parametrize("spacing", [1.0, 4.0, 2.5])
@pytest.mark.parametrize("degrees", [0.0, 10.0])
def test_resampling_keeps_constants_and_ramps(spacing, degrees):
    affine = _oblique(degrees)
    target = grid.Grid((6, 6, 6), np.diag([spacing, spacing, spacing, 1.0]))
    target.affine[:3, 3] = -8, -20, -5
    source = _ramp((80, 80, 60), affine)
    np.testing.assert_allclose(resample(source, affine, target), _ramp((6, 6, 6), target.affine), rtol=1e-4)
    np.testing.assert_allclose(resample(np.full((80, 80, 60), 7.0), affine, target), 7, rtol=1e-5)


def test_the_same_grid_changes_nothing_and_outside_is_zero():
    here = grid.Grid(ARRAY.shape, AFFINE)
    np.testing.assert_array_equal(resample(ARRAY, AFFINE, here), ARRAY)
    np.testing.assert_array_equal(resample(ARRAY > 100, AFFINE, here, order=0), ARRAY > 100)
    far = grid.Grid((3, 3, 3), np.array([[1.0, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    assert not resample(ARRAY, AFFINE, far).any() and not resample(ARRAY, AFFINE, far, order=0).any()


@pytest.mark.parametrize("spacing", [8.0, 4.0, 2.0, 1.0])
@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_fractions_keep_the_volume(spacing, degrees):
    mask = np.zeros((60, 60, 60), bool)
    mask[20:31, 22:25, 30:47] = True
    share = fraction(mask, _oblique(degrees), grid.standard(spacing))
    assert share.max() <= 1 and np.isclose(share.sum() * spacing**3, mask.sum(), rtol=0.02 if degrees else 1e-5)
