"""Two towers into one space: a transformer over the latent for the image, the text tower for the sentence."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float

from medfuse_jax.axes import Array, Embedding, Facts, Latent, Tokens, WordMask, Words
from medfuse_jax.models.blocks import Layer, Norm, patch, places, waves
from medfuse_jax.models.text import Text, TextTower


class Aligned(NamedTuple):
    """Unit vectors of images and sentences, what they are multiplied by, and what was seen on the way."""

    image: Embedding
    text: Embedding
    scale: Float[Array, ""]           # inverse temperature
    offset: Float[Array, ""]          # of the sigmoid loss
    words: Text
    regions: Float[Array, "b r e"]    # the image's tokens before pooling


class ImageTower(nn.Module):
    """A transformer over patches of the latent; the mean of its tokens is the image (Dosovitskiy 2021)."""

    width: int
    depth: int
    heads: int
    patch: int = 2
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latent: Latent) -> Float[Array, "b r e"]:
        cubes = patch(latent, self.patch)
        grid = cubes.shape[1:4]
        x = nn.Dense(self.width, dtype=self.dtype, name="cube")(cubes.reshape(len(latent), -1, cubes.shape[-1]))
        code = waves(places(grid).reshape(-1, 3), self.width)
        x = x + nn.Dense(self.width, dtype=self.dtype, name="place")(code.astype(self.dtype))
        layer = nn.remat(Layer) if self.remat else Layer       # named, so that the parameters are called the same
        for number in range(self.depth):
            x = layer(self.heads, self.dtype, name=f"layer_{number}")(x)
        return Norm(dtype=self.dtype)(x)


class Alignment(nn.Module):
    """Image and text in a shared embedding space (CLIP, Radford 2021; SigLIP, Zhai 2023)."""

    vocabulary: int            # 0: words come as a pretrained encoder's vectors
    length: int
    facts: int
    width: int = 96
    heads: int = 4
    text_depth: int = 2
    image_depth: int = 2
    embedding: int = 64
    patch: int = 2
    remat: bool = False
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.text = TextTower(self.vocabulary, self.length, self.facts, self.width, self.text_depth, self.heads,
                              self.remat, self.dtype)
        self.image = ImageTower(self.width, self.image_depth, self.heads, self.patch, self.remat, self.dtype)
        self.text_out = nn.Dense(self.embedding, use_bias=False)
        self.image_out = nn.Dense(self.embedding, use_bias=False)
        self.log_scale = self.param("log_scale_bias", nn.initializers.zeros, ())
        self.offset = self.param("offset_bias", nn.initializers.zeros, ())

    def read(self, words: Words | Tokens, mask: WordMask, facts: Facts) -> Text:
        """The text tower alone, for borrowers."""
        return self.text(words, mask, facts)

    def __call__(self, latent: Latent, words: Words | Tokens, mask: WordMask, facts: Facts) -> Aligned:
        said, seen = self.text(words, mask, facts), self.image(latent)
        text = unit(self.text_out(said.pooled.astype(jnp.float32)))
        image = unit(self.image_out(jnp.mean(seen.astype(jnp.float32), axis=1)))
        # Parameters start at zero; the constants are the papers' starting points (1 / 0.07; SigLIP: -10).
        return Aligned(image, text, jnp.exp(jnp.clip(self.log_scale + 2.66, 0.0, 4.6)), self.offset - 10.0, said, seen)


def unit(x: Float[Array, "b e"]) -> Float[Array, "b e"]:
    """Vectors of length one."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-6)
