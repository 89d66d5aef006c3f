"""Scores of likeness against scikit-image, against windows taken one by one, and by their laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy.spatial.distance import cdist
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics import image

SCORES = {"psnr": image.psnr, "ssim": image.ssim, "ms_ssim": image.ms_ssim}
LAWS = settings(max_examples=15, deadline=None)


def drawn(seed, shape=(24, 26, 24), noise=0.1):
    generator = np.random.default_rng(seed)
    truth = generator.random(shape)
    return truth, truth + noise * generator.standard_normal(shape)


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    truth = generator.random((20, 22, 24))
    return truth, truth + 0.1 * generator.standard_normal(truth.shape)


def test_psnr_against_scikit_image(pair):
    assert image.psnr(*pair, data_range=1.0) == pytest.approx(peak_signal_noise_ratio(*pair, data_range=1.0))


def test_psnr_by_hand():
    truth, mask = np.zeros((4, 4, 4)), np.zeros((4, 4, 4), bool)
    mask[0] = True
    off = truth + np.where(mask, 0.1, 5.0)                     # the rest is wrong, and not asked
    assert image.psnr(truth, off, mask, data_range=1.0) == pytest.approx(20.0)
    assert image.psnr(truth, truth, data_range=1.0) == np.inf
    assert np.isnan(image.psnr(truth, off, np.zeros_like(mask), data_range=1.0))


def test_ssim_against_scikit_image(pair):
    expected, full = structural_similarity(*pair, data_range=1.0, gaussian_weights=True, sigma=1.5,
                                           use_sample_covariance=False, full=True)
    assert image.ssim(*pair, data_range=1.0) == pytest.approx(expected, abs=1e-10)
    mask = pair[0] > 0.5
    assert image.ssim(*pair, mask, data_range=1.0) == pytest.approx(full[mask].mean(), abs=1e-10)


def test_ssim_of_a_volume_with_itself_is_one(pair):
    assert image.ssim(pair[0], pair[0]) == pytest.approx(1.0)
    assert image.ssim(np.zeros((5, 5, 5)), np.zeros((5, 5, 5))) == 1.0


def windows(reference, other, extent):
    """Structure, and whole SSIM, of each window of 11 x 11 x 11 that lies inside, from sums over the window itself."""
    line = np.exp(-np.arange(-5, 6) ** 2 / (2 * 1.5**2))
    weight = np.einsum("i,j,k->ijk", line, line, line) / line.sum() ** 3
    x, y = (sliding_window_view(each, weight.shape) for each in (reference, other))

    def mean(each):
        return np.einsum("abcijk,ijk->abc", each, weight)

    mx, my = (mean(each)[..., None, None, None] for each in (x, y))
    vx, vy, cov = mean((x - mx) ** 2), mean((y - my) ** 2), mean((x - mx) * (y - my))
    mx, my, c1, c2 = mx[..., 0, 0, 0], my[..., 0, 0, 0], (0.01 * extent) ** 2, (0.03 * extent) ** 2
    structure = (2 * cov + c2) / (vx + vy + c2)
    return structure, structure * (2 * mx * my + c1) / (mx**2 + my**2 + c1)


@pytest.mark.parametrize("masked", [False, True])
def test_ms_ssim_against_windows_one_by_one(masked):
    truth, guess = drawn(1, noise=0.3)
    small = [each.reshape(12, 2, 13, 2, 12, 2).mean(axis=(1, 3, 5)) for each in (truth, guess)]
    fine, coarse = windows(truth, guess, 1.0)[0], windows(*small, 1.0)[1]         # indices begin 5 voxels inside
    mask = None
    if masked:                                                 # voxels 10..13 are coarse voxels 5..6, wholly inside
        mask = np.zeros(truth.shape, bool)
        mask[10:14, 10:14, 10:14] = True
        fine, coarse = fine[5:9, 5:9, 5:9], coarse[:2, :2, :2]
    first, second = np.array([0.0448, 0.2856]) / (0.0448 + 0.2856)
    expected = fine.mean() ** first * coarse.mean() ** second
    assert image.ms_ssim(truth, guess, mask, data_range=1.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("side, expected", [(8, 1), (21, 1), (22, 2), (96, 4), (175, 4), (176, 5), (400, 5)])
def test_scales_as_the_window_fits(side, expected):
    assert image.scales((side, 400, 400)) == expected


def test_one_scale_is_ssim():
    truth, guess = drawn(0, (14, 15, 16))
    assert image.ms_ssim(truth, guess) == pytest.approx(image.ssim(truth, guess))


def test_a_mask_asks_nowhere_else():
    truth, guess = drawn(3, (60, 24, 24), noise=0.0)
    guess[40:] += 0.5                                          # farther than two coarse windows from the mask
    mask = np.zeros(truth.shape, bool)
    mask[2:6, 5:9, 5:9] = True
    for name, score in SCORES.items():
        assert score(truth, guess, mask) == score(truth, truth), name
        assert score(truth, guess) < score(truth, truth), name
        assert np.isnan(score(truth, guess, mask & False)), name
        assert np.isnan(score(np.zeros((0, 3, 3)), np.zeros((0, 3, 3)))), name


def test_opposite_structure_is_worth_nothing_at_several_scales():
    truth, _ = drawn(0)
    assert image.ms_ssim(truth, 1.0 - truth, data_range=1.0) == 0.0
    assert -1.0 <= image.ssim(truth, 1.0 - truth, data_range=1.0) < 0.0


@given(st.integers(0, 2**31), st.sampled_from(sorted(SCORES)), st.permutations(range(3)),
       st.tuples(*[st.booleans()] * 3))
@LAWS
def test_laws_of_likeness(seed, name, order, flips):
    score, (truth, guess) = SCORES[name], drawn(seed, (24, 22, 26))
    value = score(truth, guess, data_range=1.0)
    assert score(guess, truth, data_range=1.0) == pytest.approx(value), "symmetric with one range"
    turn = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    moved = (each.transpose(order)[turn] for each in (truth, guess))
    assert score(*moved, data_range=1.0) == pytest.approx(value), "axes may be swapped and flipped"
    assert score(3 * truth, 3 * guess, data_range=3.0) == pytest.approx(value), "units do not matter"
    assert score(truth, truth, data_range=1.0) == (np.inf if name == "psnr" else pytest.approx(1.0))
    assert value < score(truth, truth + (guess - truth) / 2, data_range=1.0), "half the error is better"
    assert name == "psnr" or 0.0 <= value <= 1.0


@given(st.integers(0, 2**31), st.floats(0.0, 4.0), st.tuples(*[st.floats(0.5, 3.0)] * 3))
@LAWS
def test_around_against_all_distances(seed, reach, spacing):
    mask = np.random.default_rng(seed).random((7, 8, 6)) > 0.97
    grid, inside = np.argwhere(np.ones_like(mask)) * spacing, np.argwhere(mask) * spacing
    expected = (cdist(grid, inside) <= reach + 1e-6).any(axis=1) if len(inside) else np.zeros(len(grid), bool)
    np.testing.assert_array_equal(image.around(mask, spacing, reach).ravel(), expected)


def test_other_shapes_are_refused():
    truth, _ = drawn(0)
    for name, score in SCORES.items():
        with pytest.raises(MedFuseError, match="one grid"):
            score(truth, truth[1:])
        with pytest.raises(MedFuseError, match="one grid"):
            score(truth, truth, np.ones(3, bool)), name
