"""The denoiser: a transformer on patches of the latent, told by text and shown an image; each can be silenced."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from medfuse_jax.axes import Array, Latent, PerExample, Place
from medfuse_jax.models.blocks import Attention, Norm, Perceptron, fourier, patch, places, standardise, unpatch, waves
from medfuse_jax.models.place import constrain
from medfuse_jax.models.text import Text


class Image(NamedTuple):
    """A reference: an earlier visit, another contrast, or the scan itself with a hole to fill."""

    latent: Latent
    known: Place                # 1 where the reference may be looked at, 0 inside the hole
    same: PerExample            # 1: the reference is the very scan that is asked for; 0: another visit or state
    years: PerExample           # from the reference to what is asked for


class Block(nn.Module):
    """Attention to places, to words, perceptron; each modulated by the condition and silent at first (Peebles 2023)."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b r e"], condition: Float[Array, "b e"], text: Text) -> Float[Array, "b r e"]:
        modulation = nn.Dense(9 * x.shape[-1], dtype=self.dtype, name="zero_modulation")(nn.silu(condition))[:, None]
        (shift, scale, gate, shift_words, scale_words, gate_words,
         shift_out, scale_out, gate_out) = jnp.split(modulation, 9, axis=-1)
        h = standardise(x).astype(self.dtype) * (1 + scale) + shift
        x = x + gate * Attention(self.heads, self.dtype, name="places")(h)
        h = standardise(x).astype(self.dtype) * (1 + scale_words) + shift_words
        x = x + gate_words * Attention(self.heads, self.dtype, name="words")(h, text.tokens, text.mask)
        h = standardise(x).astype(self.dtype) * (1 + scale_out) + shift_out
        return constrain(x + gate_out * Perceptron(self.dtype)(h), "b r e")


class Denoiser(nn.Module):
    """What is to be added to a linear guess of velocity, noise or v: patches through the transformer, and past it the
    latent and the reference, number by number, as much as level and kind of reference say.

    `told` and `shown` (1 or 0 an example) switch text and image.

    A silenced modality leaves no trace: its tokens are masked, its latent and flags are zero.
    """

    features: int
    width: int = 192
    depth: int = 4
    heads: int = 4
    patch: int = 2
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, noisy: Latent, tau: PerExample, text: Text, image: Image,
                 told: PerExample, shown: PerExample) -> Latent:
        there = shown[:, None, None, None, None] * image.known
        flags = jnp.broadcast_to((shown * image.same)[:, None, None, None, None], there.shape)
        x = jnp.concatenate([noisy, there * image.latent, there, flags], axis=-1)
        cubes = patch(x, self.patch)
        grid = cubes.shape[1:4]
        x = nn.Dense(self.width, dtype=self.dtype, name="cube")(cubes.reshape(len(noisy), -1, cubes.shape[-1]))
        code = waves(places(grid).reshape(-1, 3), self.width)
        x = x + nn.Dense(self.width, dtype=self.dtype, name="place")(code.astype(self.dtype))

        condition = nn.Dense(self.width, dtype=self.dtype, name="level")(fourier(tau, 64))
        condition += told[:, None] * nn.Dense(self.width, dtype=self.dtype, name="sentence")(text.pooled)
        stated = nn.gelu(nn.Dense(self.width, dtype=self.dtype, name="facts")(text.facts.reshape(len(noisy), -1)))
        condition += told[:, None] * nn.Dense(self.width, dtype=self.dtype, name="stated")(stated)
        seen = jnp.stack([shown, shown * image.same, shown * image.years / 5.0, told], axis=-1)
        condition += nn.Dense(self.width, dtype=self.dtype, name="seen")(seen)
        condition = nn.Dense(self.width, dtype=self.dtype)(nn.silu(condition))

        # When nothing is told, the first token (the pooled one) stays visible but empty: the softmax rests there.
        heard = Text(text.tokens * told[:, None, None],
                     jnp.where(told[:, None] > 0.5, text.mask, jnp.arange(text.mask.shape[1]) == 0),
                     text.pooled, text.facts)
        block = nn.remat(Block) if self.remat else Block
        for number in range(self.depth):
            x = block(self.heads, self.dtype, name=f"block_{number}")(x, condition, heard)
        modulation = nn.Dense(2 * self.width, dtype=self.dtype, name="zero_last")(nn.silu(condition))[:, None]
        scale, shift = jnp.split(modulation, 2, axis=-1)
        x = Norm(dtype=self.dtype)(x) * (1 + scale) + shift
        cubes = nn.Dense(self.features * self.patch**3, dtype=jnp.float32, name="zero_out")(x)
        passed = nn.Dense(3 * self.features, dtype=jnp.float32, name="zero_pass")(nn.silu(condition))
        own, beside, known = jnp.split(passed[:, None, None, None], 3, axis=-1)
        past = own * noisy + there * (beside * noisy + known * image.latent)
        return past + unpatch(cubes.reshape(len(noisy), *grid, -1), self.patch, noisy.shape[1:4])
