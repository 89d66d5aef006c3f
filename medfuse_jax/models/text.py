"""The text tower: words, and beside them the facts that were read in the words, become tokens and one embedding.

Pretrained sentence encoders are poor at counts and severities; a fact is an interval (low, high) with a flag that it
was stated, so that "nine lesions" and "several lesions" are near each other and "no lesions" is far.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from medfuse_jax.axes import Embedding, Facts, Tokens, WordMask, Words
from medfuse_jax.models.blocks import Layer, Norm


class Text(NamedTuple):
    """What the tower says: a vector per token, which tokens count, and one vector for the whole sentence."""

    tokens: Tokens
    mask: WordMask
    pooled: Embedding
    facts: Facts               # as they were read: counts and severities are not left to words alone


class TextTower(nn.Module):
    """A small transformer over [pool] + words + facts; words are numbers, or a pretrained encoder's vectors."""

    vocabulary: int            # 0: words come as vectors
    length: int
    facts: int                 # number of facts; 0: words only
    width: int
    depth: int
    heads: int
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, words: Words | Tokens, mask: WordMask, facts: Facts) -> Text:
        b = words.shape[0]
        if self.vocabulary:
            x = nn.Embed(self.vocabulary, self.width, name="words")(words)
            x = x + nn.Embed(self.length, self.width, name="order")(jnp.arange(words.shape[1]))
        else:                                                  # which know their order
            x = nn.Dense(self.width, dtype=self.dtype, name="words")(words)
        if self.facts:
            which = nn.Embed(self.facts, self.width, name="which_fact")(jnp.arange(self.facts))
            said = nn.Dense(self.width, dtype=self.dtype, name="fact_in")(facts)
            said = nn.Dense(self.width, dtype=self.dtype, name="fact_out")(nn.gelu(said + which))
            x = jnp.concatenate([x, which + said], axis=1)
            mask = jnp.concatenate([mask, facts[..., 2] > 0.5], axis=1)
        first = jnp.zeros((b, 1), jnp.int32)
        x = jnp.concatenate([nn.Embed(1, self.width, name="pool")(first), x], axis=1).astype(self.dtype)
        mask = jnp.concatenate([jnp.ones((b, 1), bool), mask], axis=1)
        layer = nn.remat(Layer) if self.remat else Layer       # named, so that the parameters are called the same
        for number in range(self.depth):
            x = layer(self.heads, self.dtype, name=f"layer_{number}")(x, mask)
        x = Norm(dtype=self.dtype)(x)
        return Text(x * mask[..., None], mask, x[:, 0], facts)
