"""The linear part of a denoiser: the latents of a cohort taken for one Gaussian whose mean follows what is stated.

At high noise the best denoiser of any data is that of their Gaussian (Wang & Vastola 2024); it has a closed form, so it
need not be learned by descent. The network adds what is not linear.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from medfuse_jax.axes import Array, Facts, Latent, PerExample
from medfuse_jax.methods.diffusion import Prediction, expand, schedule
from medfuse_jax.methods.linear import principal

Z = "z y x f"


class Prior(NamedTuple):
    """Mean: facts @ stated @ effects. Covariance: along each of `axes` its variance, elsewhere that of the place."""

    stated: Float[Array, "s r"]            # facts, flattened -> r effects
    effects: Float[Array, f"r {Z}"]
    axes: Float[Array, f"k {Z}"]           # orthonormal
    variances: Float[Array, "k"]
    rest: Float[Array, Z]                  # variance of each number beside the axes


def empty(shape: tuple[int, ...], facts: int, effects: int, axes: int) -> Prior:
    """Of variance one everywhere, and deaf."""
    zero = lambda *sides: np.zeros(sides, np.float32)        # noqa: E731
    return Prior(zero(facts, effects), zero(effects, *shape), zero(axes, *shape), zero(axes), zero(*shape) + 1)


def fitted(latents: Float[np.ndarray, f"n {Z}"], facts: Float[np.ndarray, "n m s"], like: Prior,
           ridge: float) -> Prior:
    """The prior of latents of mean zero, for m draws of what may be stated of each; as many effects and axes as `like`.

    Effects: reduced-rank ridge regression (Izenman 1975); `ridge` counts in studies. Axes: principal components of
    what is left over.
    """
    shape, count = latents.shape[1:], len(latents)
    x = latents.reshape(count, -1).astype(np.float32)
    psi = facts.astype(np.float64)
    gram = np.einsum("nms,nmt->st", psi, psi) / psi.shape[1] + ridge * np.eye(psi.shape[-1])
    slope = np.linalg.solve(gram, psi.mean(axis=1).T).astype(np.float32) @ x                       # s, zyxf
    # The effects that say most: principal axes of the fitted means.
    root = np.linalg.cholesky(gram)
    fit = root.T.astype(np.float32) @ slope
    left, _ = principal(fit @ fit.T, like.effects.shape[0])
    stated, effects = np.linalg.solve(root.T, left), left.T @ fit
    rest = x - (psi.mean(axis=1) @ stated).astype(np.float32) @ effects
    vectors, values = principal(rest @ rest.T, like.axes.shape[0])
    axes = vectors.T @ rest / np.sqrt(np.maximum(values, 1e-12))[:, None]
    left_over = rest - (rest @ axes.T) @ axes
    wide = lambda rows: np.ascontiguousarray(rows.reshape(-1, *shape), np.float32)        # noqa: E731
    return Prior(stated.astype(np.float32), wide(effects), wide(axes), (values / count).astype(np.float32),
                 np.mean(left_over**2, axis=0).reshape(shape) + 1e-4)


def tempered(prior: Prior, noise: Latent, along: float, beside: float) -> Latent:
    """Noise of temperature `along` on the axes in which people differ most, and `beside` on what they leave.

    What they leave is independent from number to number in this Gaussian: its samples are grain, not anatomy.
    """
    score = jnp.einsum("b z y x f, k z y x f -> b k", noise, prior.axes)
    return beside * noise + (along - beside) * jnp.einsum("b k, k z y x f -> b z y x f", score, prior.axes)


def guess(prior: Prior, noisy: Latent, tau: PerExample, facts: Facts, told: PerExample,
          prediction: Prediction) -> Latent:
    """What the Gaussian says the network should say of a noised latent; facts count where `told` is 1."""
    alpha, sigma = (expand(some) for some in schedule(tau, prediction))
    effect = told[:, None] * (facts.reshape(len(facts), -1) @ prior.stated)
    mean = jnp.einsum("b r, r z y x f -> b z y x f", effect, prior.effects)
    away = noisy - alpha * mean
    along = jnp.einsum("b z y x f, k z y x f -> b k", away, prior.axes)
    spread = lambda some: jnp.einsum("b k, k z y x f -> b z y x f", some, prior.axes)        # noqa: E731
    across = (away - spread(along)) / (alpha**2 * prior.rest + sigma**2)
    along = along / (alpha[:, 0, 0, 0] ** 2 * prior.variances + sigma[:, 0, 0, 0] ** 2)
    noise = sigma * (across + spread(along))
    data = mean + alpha * (prior.rest * across + spread(prior.variances * along))
    if prediction == "flow":
        return noise - data
    return noise if prediction == "eps" else alpha * noise - sigma * data
