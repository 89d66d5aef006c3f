"""Noise levels, predictions and samplers, against cases worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medfuse_jax.methods import diffusion, sampler

SHAPE = (3, 2, 2, 2, 4)
DATA = jax.random.normal(jax.random.key(0), SHAPE)
NOISE = jax.random.normal(jax.random.key(1), SHAPE)
TAU = jnp.array([0.1, 0.5, 0.9])


@pytest.mark.parametrize("prediction", ["flow", "v", "eps"])
def test_a_perfect_prediction_implies_the_true_velocity_and_the_true_data(prediction):
    x = diffusion.noised(DATA, NOISE, TAU, prediction)
    flow = diffusion.velocity(diffusion.target(DATA, NOISE, TAU, prediction), x, TAU, prediction)
    small = 1e-3
    after, before = (diffusion.noised(DATA, NOISE, TAU + step, prediction) for step in (small, -small))
    slope = (after - before) / (2 * small)
    np.testing.assert_allclose(flow, slope, atol=2e-3)
    tau, angle = diffusion.expand(TAU), 0.5 * np.pi
    alpha, sigma = np.cos(angle * tau), np.sin(angle * tau)
    data = x - tau * flow if prediction == "flow" else alpha * x - sigma * flow / angle       # where the flow points
    np.testing.assert_allclose(data, DATA, atol=1e-4)


@pytest.mark.parametrize("prediction", ["flow", "v", "eps"])
def test_the_ends_are_data_and_noise(prediction):
    np.testing.assert_allclose(diffusion.noised(DATA, NOISE, jnp.zeros(3), prediction), DATA, atol=1e-6)
    np.testing.assert_allclose(diffusion.noised(DATA, NOISE, jnp.ones(3), prediction), NOISE, atol=1e-6)


@pytest.mark.parametrize("kind", ["uniform", "logit_normal"])
def test_levels_are_stratified(kind):
    tau = np.sort(diffusion.levels(jax.random.key(2), 64, kind))
    uniform = tau if kind == "uniform" else jax.scipy.stats.norm.cdf(jnp.log(tau / (1 - tau)))
    np.testing.assert_allclose(uniform, (np.arange(64) + 0.5) / 64, atol=1 / 64)


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_a_constant_velocity_is_followed_exactly(name):
    x, _ = sampler.integrate(lambda x, tau: (jnp.full_like(x, 3.0), None), DATA, jnp.linspace(1.0, 0.0, 5), name)
    np.testing.assert_allclose(x, DATA - 3.0, atol=1e-5)


def test_heun_converges_one_order_faster_than_euler():
    """dx/dtau = x from 1 to 0: the answer is x / e."""
    truth = DATA * np.exp(-1.0)

    def error(name, steps):
        x, _ = sampler.integrate(lambda x, tau: (x, None), DATA, jnp.linspace(1.0, 0.0, steps + 1), name)
        return float(jnp.abs(x - truth).max())

    assert 1.7 < error("euler", 16) / error("euler", 32) < 2.3
    assert error("heun", 32) < error("euler", 32) / 5


@pytest.mark.parametrize("prediction", ["flow", "v", "eps"])
def test_the_flow_of_a_gaussian_lands_on_it(prediction):
    """Data N(2, 0.5^2): the best prediction is known in closed form, and the flow must carry N(0, 1) onto the data."""
    mean, deviation = 2.0, 0.5

    def field(x, tau):
        alpha, sigma = diffusion.schedule(tau, prediction)
        variance = alpha**2 * deviation**2 + sigma**2
        data = mean + alpha * deviation**2 / variance * (x - alpha * mean)          # E[data | x]
        noise = sigma / variance * (x - alpha * mean)                               # E[noise | x]
        said = {"flow": noise - data, "v": alpha * noise - sigma * data, "eps": noise}[prediction]
        return diffusion.velocity(said, x, jnp.full(len(x), tau), prediction), None

    start = jax.random.normal(jax.random.key(3), (4, 10, 10, 10, 4))
    x, _ = sampler.integrate(field, start, sampler.times(64), "heun")
    assert abs(float(x.mean()) - mean) < 0.02
    assert abs(float(x.std()) - deviation) < 0.02


def test_what_the_field_keeps_is_stacked_over_the_steps():
    for name in ("euler", "heun"):
        _, kept = sampler.integrate(lambda x, tau: (x, {"tau": tau}), DATA, sampler.times(4), name)
        np.testing.assert_allclose(kept["tau"], sampler.times(4)[:-1])
