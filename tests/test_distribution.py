"""Distances between sets: Gaussians whose distance is known, sums taken one by one, and their laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics import distribution, image

LAWS = settings(max_examples=20, deadline=None)


def sample(seed, n, mean, covariance):
    """Samples whose own mean and covariance are exactly these."""
    drawn = np.random.default_rng(seed).standard_normal((n, len(mean)))
    drawn -= drawn.mean(axis=0)
    white = drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn.T))).T
    return mean + white @ np.linalg.cholesky(covariance).T


def test_frechet_of_gaussians_with_known_axes():
    one = sample(0, 40, np.array([1.0, 2.0, 3.0]), np.diag([1.0, 4.0, 9.0]))
    other = sample(1, 70, np.array([1.0, 0.0, 3.0]), np.diag([4.0, 4.0, 1.0]))
    found = distribution.frechet(one, other)
    assert found == (pytest.approx(2.0**2 + (1 - 2) ** 2 + (3 - 1) ** 2), 40, 3, True) and found.caution == ""


@given(st.integers(0, 2**31))
@LAWS
def test_frechet_against_the_root_of_the_product(seed):
    generator = np.random.default_rng(seed)
    one, other = (generator.standard_normal((30, 5)) @ generator.standard_normal((5, 5)) for _ in range(2))
    s1, s2 = np.cov(one.T), np.cov(other.T)
    expected = np.sum((one.mean(0) - other.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * np.real(sqrtm(s1 @ s2)))
    assert distribution.frechet(one, other).value == pytest.approx(expected, rel=1e-6)


@given(st.integers(0, 2**31), st.integers(2, 9), st.integers(2, 9))
@LAWS
def test_kid_one_by_one(seed, n, m):
    generator = np.random.default_rng(seed)
    one, other = generator.standard_normal((n, 4)), generator.standard_normal((m, 4)) + 0.5

    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / 4 + 1) ** 3

    within = [np.mean([kernel(each[i], each[j]) for i in range(len(each)) for j in range(len(each)) if i != j])
              for each in (one, other)]
    across = np.mean([kernel(x, y) for x in one for y in other])
    assert distribution.kid(one, other).value == pytest.approx(sum(within) - 2 * across)


def test_kid_is_right_on_average_and_frechet_is_not():
    generator = np.random.default_rng(0)
    pairs = [generator.standard_normal((2, 12, 6)) for _ in range(600)]
    kids = np.array([distribution.kid(*pair).value for pair in pairs])
    assert abs(kids.mean()) < 3 * kids.std() / np.sqrt(len(kids)) and kids.min() < 0 < kids.max()
    assert np.mean([distribution.frechet(*pair).value for pair in pairs]) > 1.0, "equal ones, but few samples"


@given(st.integers(0, 2**31))
@LAWS
def test_laws_of_distances(seed):
    generator = np.random.default_rng(seed)
    one, other = generator.standard_normal((20, 6)), 2 * generator.standard_normal((25, 6)) + 1
    turn = np.linalg.qr(generator.standard_normal((6, 6)))[0]
    for distance in (distribution.frechet, distribution.kid):
        value = distance(one, other).value
        assert distance(other, one).value == pytest.approx(value)
        assert distance(generator.permutation(one), other).value == pytest.approx(value)
        assert distance(one @ turn, other @ turn).value == pytest.approx(value), "a turn of both changes nothing"
        assert distance(one, one + 5).value > distance(one, one + 1).value > distance(one, one).value
    assert distribution.frechet(one, one).value == pytest.approx(0.0, abs=1e-9)
    assert distribution.frechet(3 * one, 3 * other).value == pytest.approx(9 * distribution.frechet(one, other).value)
    assert distribution.frechet(one, one + 2).value == pytest.approx(6 * 2.0**2)


@pytest.mark.parametrize("samples, enough", [(5, False), (6, False), (7, True)])
def test_too_few_samples_say_so(samples, enough):
    generator = np.random.default_rng(0)
    few, many = generator.standard_normal((samples, 6)), generator.standard_normal((50, 6))
    for distance in (distribution.frechet, distribution.kid):
        for found in (distance(few, many), distance(many, few)):
            assert np.isfinite(found.value) and found[1:] == (samples, 6, enough)
            assert bool(found.caution) != enough and (enough or f"{samples} samples of 6" in found.caution)


def test_one_sample_is_no_set():
    for distance in (distribution.frechet, distribution.kid):
        for one in (np.zeros((1, 3)), np.zeros((0, 3))):
            assert np.isnan(distance(one, np.ones((9, 3))).value) and not distance(one, np.ones((9, 3))).enough


@pytest.mark.parametrize("made", [np.zeros(3), np.zeros((4, 2)), np.full((4, 3), np.nan)])
def test_features_that_cannot_be_compared_are_refused(made):
    for distance in (distribution.frechet, distribution.kid):
        with pytest.raises(MedFuseError, match="features"):
            distance(np.zeros((4, 3)), made)


def test_diversity():
    generator = np.random.default_rng(0)
    noise = generator.random((5, 24, 24, 24))
    alike = noise[:1] + 0.05 * generator.standard_normal((5, 24, 24, 24))
    by_hand = np.mean([image.ms_ssim(noise[i], noise[j], data_range=1.0) for i in range(5) for j in range(i)])
    assert distribution.ms_ssim_diversity(noise, 1.0) == pytest.approx(by_hand)
    assert by_hand < distribution.ms_ssim_diversity(alike, 1.0) < 1.0
    assert distribution.ms_ssim_diversity([noise[0]] * 3, 1.0) == pytest.approx(1.0)
    assert distribution.ms_ssim_diversity(noise[::-1], 1.0) == pytest.approx(by_hand)
    assert np.isnan(distribution.ms_ssim_diversity(noise[:1], 1.0))
    some = [distribution.ms_ssim_diversity(noise, 1.0, most=4, seed=seed) for seed in (0, 0, 1)]
    assert some[0] == some[1] != some[2] and some[0] == pytest.approx(by_hand, abs=0.05)
