"""What is fitted in closed form: planted truths are found again, and the formulas agree with dense algebra."""

import numpy as np
import pytest
from scipy import stats

from medfuse_jax.methods import atlas, linear, prior

RANDOM = np.random.default_rng


def cubes(count=4000, bands=4, contrasts=2, rank=3, seed=0):
    """Coefficients that lie in a plane of few dimensions, the contrast the faster index."""
    random = RANDOM(seed)
    mix = random.standard_normal((rank, bands * contrasts))
    return random.standard_normal((count, rank)) @ mix + 1.0


def fitted(features=3, **more):
    seen = linear.Moments(4, 2)
    seen.add(cubes(**more), np.ones(2))
    return linear.autoencoder(*seen.told(), 2, features)


def through(maps, x, subset):
    return (x @ maps["encoder"][subset] + maps["encoder_bias"][subset]) @ maps["decoder"] + maps["decoder_bias"]


def test_moments_are_those_of_numpy_and_pairs_are_judged_where_both_are():
    x = cubes()
    seen = linear.Moments(4, 2)
    seen.add(x[:1000], np.ones(2))
    seen.add(x[1000:], np.ones(2))
    mean, covariance = seen.told()
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(covariance, np.cov(x.T, bias=True), atol=1e-8)
    half = linear.Moments(4, 2)
    half.add(x[:2000], np.array([1.0, 0.0]))
    half.add(x[2000:], np.array([0.0, 1.0]))
    mean, covariance = half.told()
    first, second = np.arange(8) % 2 == 0, np.arange(8) % 2 == 1
    np.testing.assert_allclose(mean[first], x[:2000, first].mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(covariance[np.ix_(first, second)], 0.0, atol=1e-9)
    assert covariance[np.ix_(first, first)].any()


def test_the_linear_autoencoder_is_exact_on_a_plane():
    maps, x = fitted(), cubes()
    np.testing.assert_allclose(through(maps, x, 0b11), x, atol=5e-3)
    latent = x @ maps["encoder"][0b11] + maps["encoder_bias"][0b11]
    assert latent.var(axis=0).mean() == pytest.approx(1.0, abs=0.02)


def test_a_missing_contrast_is_guessed_from_the_other():
    """Four bands of one contrast determine a plane of three dimensions, and with it the other contrast."""
    maps, x = fitted(), cubes()
    for subset, seen in ((0b01, [1, 0]), (0b10, [0, 1])):
        np.testing.assert_allclose(through(maps, x * np.tile(seen, 4), subset), x, atol=0.15)


def test_no_other_linear_autoencoder_of_its_width_is_better():
    x = RANDOM(1).standard_normal((500, 8)) @ RANDOM(2).standard_normal((8, 8))
    seen = linear.Moments(4, 2)
    seen.add(x, np.ones(2))
    maps = linear.autoencoder(*seen.told(), 2, 3)
    values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    assert np.sum((through(maps, x, 0b11) - x) ** 2) == pytest.approx(np.sum(values[3:] ** 2), rel=1e-2)


def test_reduced_rank_regression_finds_a_planted_map_and_pads_what_is_not_there():
    random = RANDOM(3)
    inputs = random.standard_normal((40, 100))
    plant = random.standard_normal((100, 2)) @ random.standard_normal((2, 60))
    inputs -= inputs.mean(axis=0)
    into, out = linear.reduced(inputs, inputs @ plant, 2, 1e-9)
    np.testing.assert_allclose(inputs @ into @ out, inputs @ plant, atol=1e-2)
    into, out = linear.reduced(inputs[:3], (inputs @ plant)[:3], 8, 0.1)
    assert into.shape == (100, 8) and out.shape == (8, 60) and np.isfinite(into).all() and np.isfinite(out).all()
    into, out = linear.reduced(np.zeros((1, 10)), np.zeros((1, 5)), 2, 0.1)         # one person: nothing differs
    assert not into.any() and not out.any()


def test_shares_are_of_each_cell_and_of_lesions():
    random = RANDOM(4)
    structures, lesion = random.integers(0, 5, (4, 6, 4)), random.random((4, 6, 4))
    told = atlas.shares(structures, lesion, (2, 3, 2), 5)
    np.testing.assert_allclose(told[..., :5].sum(axis=-1), 1.0, rtol=1e-6)
    assert told[1, 2, 0, 3] == pytest.approx((structures[2:, 4:, :2] == 3).mean())
    assert told[1, 2, 0, 5] == pytest.approx(lesion[2:, 4:, :2].mean(), rel=1e-5)


def test_densities_are_those_of_scipy():
    random = RANDOM(5)
    seen = {0: random.standard_normal((500, 3)) + 1, 2: random.standard_normal((300, 3)) @ np.diag([0.3, 2.0, 1.0])}
    sums = np.zeros((3, 4, 4))
    for place, values in seen.items():
        told = np.concatenate([np.ones((len(values), 1)), values], axis=1)
        sums[place] = told.T @ told
    dense, x = atlas.densities(sums), random.standard_normal((20, 3))
    upper = np.triu_indices(3)
    said = np.concatenate([x, x[:, upper[0]] * x[:, upper[1]]], axis=1) @ dense["kernel"] + dense["bias"]
    for place, values in seen.items():
        truth = stats.multivariate_normal(values.mean(axis=0), np.cov(values.T, bias=True) + atlas.SMEAR * np.eye(3))
        np.testing.assert_allclose(said[:, place], truth.logpdf(x) + 1.5 * np.log(2 * np.pi), rtol=1e-6)
    assert not said[:, 1].any(), "a class without voxels says nothing"


def test_a_bent_atlas_follows_the_latent():
    random = RANDOM(6)
    score = random.standard_normal(60)
    latents = np.outer(score, random.standard_normal(50)) + 0.01 * random.standard_normal((60, 50))
    parts = 0.3 + 0.02 * score[:, None, None, None, None] * random.standard_normal((2, 2, 2, 3))
    told = atlas.bent(latents, parts, 2, ridge=1e-6)
    said = told["mean"] + np.einsum("nr,rzyxk->nzyxk", latents @ told["axes"].T - told["centre"], told["effects"])
    np.testing.assert_allclose(said, parts, atol=2e-3)


SHAPE, FACTS = (2, 2, 2, 3), 6


@pytest.fixture(scope="module")
def planted():
    """Latents whose mean follows two facts and that differ along one axis besides: the prior, and the true effects."""
    random, people = RANDOM(7), 3000
    facts = random.standard_normal((people, 1, FACTS)).repeat(3, axis=1)
    effect = random.standard_normal((FACTS, 24)) * np.array([[1.0], [0.0], [1.0], [0.0], [0.0], [0.0]])
    x = facts[:, 0] @ effect + 2.0 * random.standard_normal((people, 1)) * random.standard_normal(24)
    x = (x + 0.5 * random.standard_normal((people, 24))).reshape(people, *SHAPE)
    return prior.fitted(x, facts, prior.empty(SHAPE, FACTS, 2, 1), ridge=1e-3), effect


def mean(known, facts):
    return np.einsum("bs,sr,rzyxf->bzyxf", facts, known.stated, known.effects).reshape(-1, 24)


def test_the_prior_finds_planted_effects_and_its_axes_are_orthonormal(planted):
    known, effect = planted
    np.testing.assert_allclose(mean(known, np.eye(FACTS)), effect, atol=0.3)
    np.testing.assert_allclose(np.sum(known.axes**2, axis=(1, 2, 3, 4)), 1.0, rtol=1e-3)


def test_a_prior_of_few_people_is_as_large_and_finite():
    like = prior.empty(SHAPE, FACTS, 8, 16)
    few = prior.fitted(RANDOM(1).standard_normal((3, *SHAPE)), np.zeros((3, 2, FACTS)), like, ridge=1.0)
    assert [array.shape for array in few] == [array.shape for array in like]
    assert all(np.isfinite(array).all() for array in few)


@pytest.mark.parametrize("prediction", ["flow", "v", "eps"])
def test_the_guess_is_the_best_one_for_its_gaussian(planted, prediction):
    """Against dense algebra: E[target | noised latent], where beside the axis all variances are equal."""
    known = planted[0]._replace(rest=np.full(SHAPE, 0.3, np.float32))
    noisy, tau = RANDOM(8).standard_normal((1, *SHAPE)).astype(np.float32), np.array([0.4], np.float32)
    facts = RANDOM(9).standard_normal((1, 2, 3)).astype(np.float32)
    axis, middle = known.axes.reshape(1, 24).astype(float), mean(known, facts.reshape(1, -1))[0]
    covariance = 0.3 * np.eye(24) + (known.variances[0] - 0.3) * axis.T @ axis
    alpha, sigma = (0.6, 0.4) if prediction == "flow" else (np.cos(0.2 * np.pi), np.sin(0.2 * np.pi))
    away = np.linalg.solve(alpha**2 * covariance + sigma**2 * np.eye(24), noisy.reshape(24) - alpha * middle)
    data, noise = middle + alpha * covariance @ away, sigma * away
    expected = {"flow": noise - data, "eps": noise, "v": alpha * noise - sigma * data}[prediction]
    said = prior.guess(known, noisy, tau, facts, np.ones(1, np.float32), prediction)
    np.testing.assert_allclose(np.asarray(said).reshape(24), expected, atol=2e-3)


def test_tempered_noise_keeps_its_temperature_on_each_side(planted):
    known, noise = planted[0], RANDOM(3).standard_normal((64, *SHAPE)).astype(np.float32)
    made = np.asarray(prior.tempered(known, noise, 1.0, 0.5))
    axis = np.asarray(known.axes[0])
    scores = [np.einsum("bzyxf, zyxf -> b", some, axis) for some in (noise, made)]
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)
    rest = [some - score[:, None, None, None, None] * axis for some, score in zip((noise, made), scores, strict=True)]
    np.testing.assert_allclose(rest[1], 0.5 * rest[0], atol=1e-4)
    np.testing.assert_allclose(prior.tempered(known, noise, 1.0, 1.0), noise, atol=1e-6)


def test_an_untold_prior_does_not_hear(planted):
    noisy, tau = RANDOM(9).standard_normal((1, *SHAPE)).astype(np.float32), np.array([0.7], np.float32)
    untold = np.zeros(1, np.float32)
    one, other = (prior.guess(planted[0], noisy, tau, np.full((1, 2, 3), fact, np.float32), untold, "flow")
                  for fact in (1.0, 0.0))
    np.testing.assert_array_equal(one, other)
