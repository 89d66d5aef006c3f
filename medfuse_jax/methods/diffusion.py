"""Noise levels, what the network predicts, and the velocity that any prediction implies.

tau runs from 0 (data) to 1 (noise): x(tau) = alpha(tau) data + sigma(tau) noise, dx/dtau = alpha' data + sigma' noise.

    flow     alpha = 1 - tau, sigma = tau                      predicts noise - data (rectified flow, Liu 2023)
    v        alpha = cos(pi tau / 2), sigma = sin(pi tau / 2)  predicts alpha noise - sigma data (Salimans 2022)
    eps      as v                                              predicts the noise (Ho 2020)
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from medfuse_jax.axes import Array, Latent, PerExample

Prediction = Literal["flow", "v", "eps"]
LARGEST_LEVEL = 0.999        # eps cannot tell the data at tau = 1: alpha is kept above 1.5e-3


def schedule(tau: Float[Array, "..."], prediction: Prediction) -> tuple[Array, Array]:
    """alpha and sigma at tau."""
    if prediction == "flow":
        return 1.0 - tau, tau
    return jnp.cos(0.5 * math.pi * tau), jnp.sin(0.5 * math.pi * tau)


def shifted(tau: Float[Array, "..."], shift: float) -> Float[Array, "..."]:
    """Noise levels moved towards the noise by a shift above 1 (Esser 2024), where many voxels decide together."""
    return shift * tau / (1 + (shift - 1) * tau)


def levels(key: Key[Array, ""], count: int, kind: str = "logit_normal", shift: float = 1.0) -> PerExample:
    """Noise levels of a batch, one in each of `count` equal parts, so that a small batch sees all levels."""
    uniform = (jnp.arange(count) + jax.random.uniform(key, (count,))) / count
    uniform = jax.random.permutation(jax.random.fold_in(key, 1), uniform)
    if kind == "logit_normal":                      # Esser 2024
        uniform = jax.nn.sigmoid(jax.scipy.stats.norm.ppf(jnp.clip(uniform, 1e-4, 1 - 1e-4)))
    return jnp.clip(shifted(uniform, shift), 1e-3, LARGEST_LEVEL)


def noised(data: Latent, noise: Latent, tau: PerExample, prediction: Prediction) -> Latent:
    """Data at noise level tau."""
    alpha, sigma = schedule(expand(tau), prediction)
    return alpha * data + sigma * noise


def target(data: Latent, noise: Latent, tau: PerExample, prediction: Prediction) -> Latent:
    """What the network should say."""
    if prediction == "flow":
        return noise - data
    if prediction == "eps":
        return noise
    alpha, sigma = schedule(expand(tau), prediction)
    return alpha * noise - sigma * data


def velocity(said: Latent, x: Latent, tau: PerExample, prediction: Prediction) -> Latent:
    """dx/dtau of the probability flow, from what the network said at x."""
    if prediction == "flow":
        return said
    if prediction == "v":
        return 0.5 * math.pi * said
    alpha, sigma = schedule(expand(jnp.minimum(tau, LARGEST_LEVEL)), prediction)
    data = (x - sigma * said) / alpha
    return 0.5 * math.pi * (alpha * said - sigma * data)


def expand(tau: PerExample) -> Float[Array, "b 1 1 1 1"]:
    """A number per example against a latent."""
    return tau[:, None, None, None, None]
