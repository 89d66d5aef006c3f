"""Losses: arrays in, one value per example out."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from medfuse_jax.axes import Array, Embedding, LabelLogits, Latent, Lesion, PerExample, Structures, Volume


def mean(values: Float[Array, "b ..."], weight: Float[Array, "b ..."] | None = None) -> PerExample:
    """The mean over all but the batch axis, under `weight` when given (zero weight everywhere: zero)."""
    axes = tuple(range(1, values.ndim))
    if weight is None:
        return jnp.mean(values, axis=axes)
    weight = jnp.broadcast_to(weight, values.shape)
    return jnp.sum(values * weight, axis=axes) / jnp.maximum(jnp.sum(weight, axis=axes), 1e-6)


def squared(guess: Latent, truth: Latent) -> PerExample:
    """Mean squared error."""
    return mean(jnp.square(guess - truth))


def gradient(guess: Volume, truth: Volume, weight: Float[Array, "b d h w c"]) -> PerExample:
    """Mean absolute difference of the spatial gradients: edges, and with them small lesions, stay sharp."""
    error = guess - truth
    total = 0.0
    for axis in (1, 2, 3):
        total += mean(jnp.abs(jnp.diff(error, axis=axis)), jax.lax.slice_in_dim(weight, 1, None, axis=axis))
    return total / 3


def divergence(average: Latent, log_variance: Latent) -> PerExample:
    """KL of a diagonal normal from the standard one, per latent number (Kingma & Welling 2014)."""
    return mean(0.5 * (jnp.square(average) + jnp.exp(log_variance) - 1.0 - log_variance))


def cross_entropy(logits: LabelLogits, structures: Structures, weight: Float[Array, "b d h w"]) -> PerExample:
    """Softmax cross-entropy over the classes, in nats, averaged under `weight`."""
    own = structures[..., None] == jnp.arange(logits.shape[-1])        # a gather's gradient would be a slow scatter
    return mean(jax.nn.logsumexp(logits, axis=-1) - jnp.sum(jnp.where(own, logits, 0.0), axis=-1), weight)


def lesion(logit: Float[Array, "b d h w"], fraction: Lesion, weight: Float[Array, "b d h w"],
           emphasis: float = 0.0) -> PerExample:
    """Binary cross-entropy against the lesion fraction plus soft Dice (Milletari 2016).

    A lesion voxel counts 1 + emphasis times. Inside the entropy the logit is raised by the root of these odds (logit
    adjustment, Menon 2021). Raised by all of them it would be a probability, and its mask at one half would miss most
    lesions of a network that is not sure: the mask of best Dice lies at half that Dice (Lipton 2014).
    """
    raised = logit + 0.5 * jnp.log1p(emphasis)
    entropy = (1.0 + emphasis * fraction) * (jax.nn.softplus(raised) - fraction * raised)
    probability = jax.nn.sigmoid(logit) * (weight > 0)
    axes = (1, 2, 3)
    overlap = 2 * jnp.sum(probability * fraction, axis=axes) + 1.0
    total = jnp.sum(probability, axis=axes) + jnp.sum(fraction, axis=axes) + 1.0
    return mean(entropy, weight) + 1.0 - overlap / total


def infonce(image: Embedding, text: Embedding, scale: Float[Array, ""],
            same: Bool[Array, "b b"] | None = None) -> PerExample:
    """Symmetric cross-entropy over all pairs of the (global) batch (CLIP, Radford 2021).

    `same[i, j]` marks other pairs that mean the same thing: they are taken out of the negatives.
    """
    logits = scale * image @ text.T
    if same is not None:
        logits = jnp.where(same & ~jnp.eye(len(logits), dtype=bool), -1e9, logits)
    own = jnp.diagonal(logits)
    return 0.5 * (jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(logits, axis=0)) - own


def siglip(image: Embedding, text: Embedding, scale: Float[Array, ""], offset: Float[Array, ""],
           same: Bool[Array, "b b"] | None = None) -> PerExample:
    """Pairwise sigmoid loss (SigLIP, Zhai 2023): each pair is a yes or a no by itself; so are pairs in `same`."""
    logits = scale * image @ text.T + offset
    match = jnp.eye(len(logits), dtype=bool) if same is None else same | jnp.eye(len(logits), dtype=bool)
    return jnp.sum(jax.nn.softplus(jnp.where(match, -logits, logits)), axis=1)
