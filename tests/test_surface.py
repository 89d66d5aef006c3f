"""Surfaces of masks: against all pairs of points, shapes whose answer is known, and the program of Nikolov 2018."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist

from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics import surface

LAWS = settings(max_examples=25, deadline=None)
SPACING = np.array([1.0, 0.7, 3.0])


def blobs(seed, shape=(9, 10, 8), share=0.15):
    generator = np.random.default_rng(seed)
    one, other = (ndimage.gaussian_filter(generator.standard_normal(shape), 1.0) for _ in range(2))
    return one > np.quantile(one, 1 - share), one + other > np.quantile(one + other, 1 - share)


def corners(mask, spacing):
    """Points between eight voxels that are neither all inside nor all outside, found one at a time."""
    padded = np.pad(mask, 1)
    points = [at for at in itertools.product(*(range(n + 1) for n in mask.shape))
              if 0 < padded[tuple(slice(k, k + 2) for k in at)].sum() < 8]
    return np.array(points, float).reshape(-1, 3) * spacing


@given(st.integers(0, 2**31))
@LAWS
def test_distances_against_all_pairs(seed):
    truth, guess = blobs(seed)
    pairs = cdist(corners(truth, SPACING), corners(guess, SPACING))
    found = surface.surfaces(truth, guess, SPACING)
    np.testing.assert_allclose(np.sort(found.truth_mm), np.sort(pairs.min(axis=1)), atol=1e-9)
    np.testing.assert_allclose(np.sort(found.guess_mm), np.sort(pairs.min(axis=0)), atol=1e-9)
    directed = pairs.min(axis=1).max(), pairs.min(axis=0).max()
    assert surface.hd95(truth, guess, SPACING, 100) == pytest.approx(max(directed))


def test_area_of_a_box_with_its_edges_and_corners_cut():
    mask = np.zeros((9, 9, 9), bool)
    mask[2:6, 2:7, 2:5] = True                                           # 4 x 5 x 3 voxels
    (a, b, c), n = SPACING, np.array([4, 5, 3]) - 1
    faces = 2 * (n[0] * n[1] * a * b + n[1] * n[2] * b * c + n[0] * n[2] * a * c)
    edges = 4 * (n[0] * a * np.hypot(b, c) + n[1] * b * np.hypot(a, c) + n[2] * c * np.hypot(a, b)) / 2
    points = 8 * np.sqrt((a * b) ** 2 + (b * c) ** 2 + (a * c) ** 2) / 8
    assert surface.surfaces(mask, mask, SPACING).truth_mm2.sum() == pytest.approx(faces + edges + points)


@pytest.mark.parametrize("axis, steps", [(0, 2), (1, 3), (2, 1)])
def test_a_shifted_box_is_as_far_as_it_was_shifted(axis, steps):
    truth = np.zeros((16, 16, 16), bool)
    truth[4:10, 4:10, 4:10] = True
    guess, moved = np.roll(truth, steps, axis), steps * SPACING[axis]
    assert surface.hd95(truth, guess, SPACING, 100) == pytest.approx(moved)
    assert surface.surface_dice(truth, guess, SPACING, moved) == 1.0
    assert 0.0 < surface.surface_dice(truth, guess, SPACING, moved * 0.99) < 1.0


def test_balls_in_one_another():
    far = np.sqrt(((np.indices((41, 41, 41)) - 20.0) ** 2).sum(axis=0))
    small, large = far <= 10, far <= 15
    assert surface.hd95(small, large, 1.0) == pytest.approx(5.0, abs=0.6)
    assert surface.mean_distance(small, large, 1.0) == pytest.approx(5.0, abs=0.6)
    assert surface.surface_dice(small, large, 1.0, 3.0) == 0.0 and surface.surface_dice(small, large, 1.0, 6.0) == 1.0


def test_one_far_voxel_in_a_hundred_is_no_outlier():
    truth = np.zeros((40, 20, 20), bool)
    truth[4:16, 4:16, 4:16] = True
    guess = truth.copy()
    guess[36, 10, 10] = True
    assert surface.hd95(truth, guess, 1.0) == 0.0
    assert surface.hd95(truth, guess, 1.0, 100) == pytest.approx(21.0)    # from 16 to the far corners of voxel 36


def test_nothing_to_measure():
    some, nothing = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    assert surface.hd95(nothing, nothing, 1.0) == surface.mean_distance(nothing, nothing, 1.0) == 0.0
    assert surface.surface_dice(nothing, nothing, 1.0, 1.0) == 1.0
    for pair in ((some, nothing), (nothing, some)):
        assert surface.hd95(*pair, 1.0) == surface.mean_distance(*pair, 1.0) == np.inf
        assert surface.surface_dice(*pair, 1.0, 1.0) == 0.0
    with pytest.raises(MedFuseError, match="axes"):
        surface.hd95(some[0], some[0], 1.0)


@given(st.integers(0, 2**31), st.permutations(range(3)), st.integers(0, 2), st.floats(0.3, 4.0))
@LAWS
def test_laws_of_surfaces(seed, order, flipped, tolerance):
    truth, guess = blobs(seed)
    value = np.array(measured(truth, guess, SPACING, tolerance))
    assert measured(guess, truth, SPACING, tolerance) == pytest.approx(value)
    moved = [np.pad(mask, 2).transpose(order) for mask in (truth, guess)]
    assert measured(*moved, SPACING[list(order)], tolerance) == pytest.approx(value)
    assert measured(*(np.flip(mask, flipped) for mask in (truth, guess)), SPACING, tolerance) == pytest.approx(value)
    assert measured(2 * truth, guess, 2 * SPACING, 2 * tolerance) == pytest.approx(value * [2, 2, 2, 1])
    assert value[0] >= value[1] >= 0 and value[0] >= value[2] >= 0 and 0 <= value[3] <= 1
    assert measured(truth, truth, SPACING, tolerance) == [0, 0, 0, 1]
    assert value[3] <= surface.surface_dice(truth, guess, SPACING, tolerance + 0.5)
    assert surface.surface_dice(truth, guess, SPACING, value[0]) == 1.0


def measured(truth, guess, spacing, tolerance):
    return [surface.hd95(truth, guess, spacing, 100), surface.hd95(truth, guess, spacing),
            surface.mean_distance(truth, guess, spacing), surface.surface_dice(truth, guess, spacing, tolerance)]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")     # of theirs
@given(st.integers(0, 2**31), st.tuples(*[st.floats(0.5, 4.0)] * 3), st.floats(0.3, 4.0))
@LAWS
def test_as_the_program_of_nikolov(seed, spacing, tolerance):
    theirs = pytest.importorskip("surface_distance")
    truth, guess = blobs(seed)
    said = theirs.compute_surface_distances(truth, guess, spacing)
    areas = [said["surfel_areas_gt"].sum(), said["surfel_areas_pred"].sum()]
    expected = [theirs.compute_robust_hausdorff(said, 100), theirs.compute_robust_hausdorff(said, 95),
                np.average(theirs.compute_average_surface_distance(said), weights=areas),
                theirs.compute_surface_dice_at_tolerance(said, tolerance)]
    assert measured(truth, guess, spacing, tolerance) == pytest.approx(expected)
