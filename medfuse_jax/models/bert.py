"""Pretrained text encoders: BERT (Devlin 2019), RoBERTa (Liu 2019), ModernBERT (Warner 2024), CLIP (Radford 2021).

One network, told by an `Architecture`; parameters come from a checkpoint (weights/). No dropout, no heads, no pooler.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Bool, Float

from medfuse_jax.axes import Array, Tokens, WordMask, Words
from medfuse_jax.models.blocks import Norm, attend, plain
from medfuse_jax.weights.architecture import Architecture

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": partial(nn.gelu, approximate=False), "gelu_tanh": nn.gelu, "relu": nn.relu, "silu": nn.silu,
    "quick_gelu": lambda x: x * nn.sigmoid(1.702 * x),
}


class Encoder(nn.Module):
    """Word numbers to a vector per word, as the checkpoint's own network gives them (its last hidden state)."""

    architecture: Architecture
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, words: Words, mask: WordMask) -> Tokens:
        its, length = self.architecture, words.shape[1]
        norm = partial(Norm, True, self.dtype, its.epsilon, its.family != "modernbert")
        x = nn.Embed(its.vocabulary, its.width, name="words")(words)
        if its.family != "modernbert":
            places = jnp.broadcast_to(jnp.arange(length), words.shape)
            if its.family == "roberta":                    # counts the words that stand; the padding has its own place
                places = jnp.cumsum(mask, axis=1) * mask + its.first - 1
            x = x + nn.Embed(its.first + its.length, its.width, name="places")(places)
        x = x.astype(self.dtype) if its.family == "clip" else norm(name="first_norm")(x)

        seen = mask
        if its.family == "clip":                           # a word sees those before it
            seen = mask[:, None, :] & jnp.tril(jnp.ones((length, length), bool))
        near = jnp.abs(jnp.arange(length)[:, None] - jnp.arange(length)) <= its.window
        layer = nn.remat(EncoderLayer) if self.remat else EncoderLayer    # named: the parameters are called the same
        for number in range(its.depth):
            angle = None
            if its.family == "modernbert":
                whole = number % its.every == 0
                seen = mask if whole else mask[:, None, :] & near
                angle = angles(length, its.width // its.heads, its.theta if whole else its.theta_local)
            x = layer(its, number == 0, self.dtype, name=f"layer_{number}")(x, seen, angle)
        return norm(name="last_norm")(x) if its.family in ("modernbert", "clip") else x


class EncoderLayer(nn.Module):
    """Attention and perceptron, each added to what came in; normalised after that (BERT, RoBERTa), or before."""

    architecture: Architecture
    first: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Tokens, mask: Bool[Array, "..."], angle: Float[Array, "l a"] | None = None) -> Tokens:
        its = self.architecture
        modern = its.family == "modernbert"
        norm = partial(Norm, True, self.dtype, its.epsilon, not modern)
        dense = partial(nn.Dense, use_bias=not modern, dtype=self.dtype)
        attention_norm, perceptron_norm = norm(name="attention_norm"), norm(name="perceptron_norm")

        def attention(x: Array) -> Array:
            query, key, value = (dense(its.width, name=name)(x).reshape(*x.shape[:2], its.heads, -1)
                                 for name in ("query", "key", "value"))
            if angle is not None:
                query, key = turned(query, angle), turned(key, angle)
            seen = (attend if mask.ndim == 2 else plain)(query, key, value, mask)
            return dense(its.width, name="out")(seen.reshape(x.shape))

        def perceptron(x: Array) -> Array:
            x = dense(2 * its.inner if modern else its.inner, name="up")(x)
            x, gate = jnp.split(x, 2, axis=-1) if modern else (x, 1)           # gated (Shazeer 2020)
            return dense(its.width, name="down")(ACTIVATIONS[its.activation](x) * gate)

        if its.family in ("bert", "roberta"):
            x = attention_norm(x + attention(x))
            return perceptron_norm(x + perceptron(x))
        x = x + attention(x if modern and self.first else attention_norm(x))   # there the embedding's norm is its norm
        return x + perceptron(perceptron_norm(x))


def angles(length: int, size: int, theta: float) -> Float[Array, "l a"]:
    """How far each pair of a head's numbers is turned at each place: place / theta^(2 i / size) (Su 2021)."""
    return jnp.arange(length)[:, None] / theta ** (jnp.arange(0, size, 2) / size)


def turned(x: Float[Array, "b l h e"], angle: Float[Array, "l a"]) -> Float[Array, "b l h e"]:
    """Numbers i and i + size / 2 of each head, turned as a pair; in float32."""
    one, other = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    sine, cosine = (jnp.expand_dims(f(angle), 1) for f in (jnp.sin, jnp.cos))
    return jnp.concatenate([one * cosine - other * sine, other * cosine + one * sine], axis=-1).astype(x.dtype)


def blank(architecture: Architecture) -> dict[str, Any]:
    """Parameters of an encoder, all zero: the shapes that a checkpoint's numbers are to have."""
    one = jax.ShapeDtypeStruct((1, 1), jnp.int32), jax.ShapeDtypeStruct((1, 1), bool)
    shapes = jax.eval_shape(Encoder(architecture).init, jax.random.key(0), *one)["params"]
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
