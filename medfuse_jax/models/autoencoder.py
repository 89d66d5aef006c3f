"""3D KL autoencoder: any subset of contrasts in, all contrasts and label logits out, from one latent (f = 4)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Float, Int

from medfuse_jax.axes import Array, LabelLogits, Latent, Present, Volume
from medfuse_jax.models.blocks import GroupNorm, Residual, haar, join, places, unhaar, waves
from medfuse_jax.models.place import constrain

CERTAIN = -6.0          # log variance of the latent at the start
RARE = -4.0             # lesion logit at the start: about one voxel in fifty of a brain
FINE, COARSE = (48, 56, 48), (24, 28, 24)        # cells of an atlas of the standard box: 4 mm, and 8 mm where it bends
LEAST = 3e-3            # share of a class at a place below which the atlas does not bend
SPREAD = 4.0            # tissues differ by about a quarter of the brain's median


class Decoded(NamedTuple):
    """What a latent says: contrasts, structure logits (softmax over k) and the lesion logit (sigmoid)."""

    volume: Volume
    structures: LabelLogits
    lesion: Float[Array, "b d h w"]


def subset_of(present: Present) -> Int[Array, "b"]:
    """The number of a subset of contrasts: contrast c counts 2^c."""
    return jnp.sum(present.astype(jnp.int32) << jnp.arange(present.shape[-1]), axis=-1)


def quadratic(volume: Volume) -> Float[Array, "b d h w q"]:
    """Brightnesses of a voxel and their products: the logarithm of any Gaussian is linear in them."""
    upper = jnp.triu_indices(volume.shape[-1])
    return jnp.concatenate([volume, volume[..., upper[0]] * volume[..., upper[1]]], axis=-1)


class Atlas(nn.Module):
    """Where each class lies, and last a lesion: log shares at each place, bent to the person by the latent's axes.

    The bend is the logarithm of the ratio of the person's expected share to the mean one, in cells of 8 mm. What the
    atlas says is given (`methods.atlas`), not learned; before that it says nothing.
    """

    classes: int
    rank: int

    @nn.compact
    def __call__(self, latent: Latent) -> tuple[Float[Array, "1 ... k"], Float[Array, "b ... k"]]:
        zeros, cells = nn.initializers.zeros, latent.shape[1:4]
        box = tuple(4 * side for side in cells)
        # The standard box is 192 x 224 x 192 mm, whatever the grid: cells of 4 mm, and of 8 mm where it bends.
        fine, coarse = (tuple(min(side, most) for side, most in zip(box, STANDARD, strict=True))
                        for STANDARD in (FINE, COARSE))
        place = self.param("bias", zeros, (*fine, self.classes + 1))
        mean = self.param("mean", zeros, (*coarse, self.classes + 1))
        axes = self.param("axes", zeros, (self.rank, *latent.shape[1:]))
        centre = self.param("centre", zeros, (self.rank,))
        effects = self.param("effects", zeros, (self.rank, *coarse, self.classes + 1))
        score = jnp.einsum("b z y x f, r z y x f -> b r", latent, axes) - centre
        share = mean + jnp.einsum("b r, r z y x k -> b z y x k", score, effects)
        bend = jnp.log(jnp.maximum(share, LEAST)) - jnp.log(jnp.maximum(mean, LEAST))
        return place[None], bend


def spread_over(atlas: Float[Array, "b ... k"], slices: Int[Array, "s"],
                box: tuple[int, int, int]) -> Float[Array, "b s h w k"]:
    """Some slices of an atlas, interpolated linearly onto a grid of `box` voxels."""
    if atlas.shape[1:4] == tuple(box):
        return atlas[:, slices]
    depth = jnp.clip((slices + 0.5) * atlas.shape[1] / box[0] - 0.5, 0, atlas.shape[1] - 1)
    below = jnp.minimum(depth.astype(int), atlas.shape[1] - 2)
    part = (depth - below)[:, None, None, None]
    rows = atlas[:, below] * (1 - part) + atlas[:, below + 1] * part
    return jax.image.resize(rows, (len(atlas), len(slices), *box[1:], atlas.shape[-1]), "linear")


class Autoencoder(nn.Module):
    """Encoder and decoder around a Haar wavelet, which replaces the full-resolution convolutions of its peers.

    Each is a linear map of the two-level wavelet's coefficients plus what a network adds. The linear maps have a best
    value in closed form (`stages.closed_form`); the encoder has one for each subset of contrasts.

    Label logits start as Bayes says of an atlas (`rank`: directions in which it bends with the latent) and of a
    Gaussian of the brightnesses of each class.

    widths: channels at 1/2 and at 1/4 of the grid. encoder_blocks, decoder_blocks: residual blocks there. The decoder
    is told where each latent lies in the standard box: left and right, and much else, is a matter of place.
    """

    contrasts: int
    classes: int
    features: int = 8
    widths: tuple[int, ...] = (16, 48)
    encoder_blocks: tuple[int, ...] = (0, 2)
    decoder_blocks: tuple[int, ...] = (1, 2)
    rank: int = 16
    remat: bool = False
    dtype: Any = jnp.float32

    def setup(self) -> None:
        half, quarter = self.widths
        block = nn.remat(Residual) if self.remat else Residual
        self.read = nn.Dense(half, dtype=self.dtype)
        self.encoder_half = [block(half, self.dtype) for _ in range(self.encoder_blocks[0])]
        self.reduce = nn.Dense(quarter, dtype=self.dtype)
        self.encoder_quarter = [block(quarter, self.dtype) for _ in range(self.encoder_blocks[1])]
        self.encoder_norm = GroupNorm()
        subsets, bands = 2**self.contrasts, 64 * self.contrasts
        self.linear_in = self.param("zero_linear_in", nn.initializers.zeros, (subsets, bands, self.features))
        self.linear_in_bias = self.param("linear_in_bias", nn.initializers.zeros, (subsets, self.features))
        self.zero_moments = nn.Dense(2 * self.features, dtype=jnp.float32)
        self.zero_linear_out = nn.Dense(bands, dtype=jnp.float32)
        self.enlarge = nn.Dense(quarter, dtype=self.dtype)
        self.position = nn.Dense(quarter, dtype=self.dtype)
        self.decoder_quarter = [block(quarter, self.dtype) for _ in range(self.decoder_blocks[1])]
        self.expand = nn.Dense(8 * half, dtype=self.dtype)
        self.decoder_half = [block(half, self.dtype) for _ in range(self.decoder_blocks[0])]
        self.decoder_norm = GroupNorm()
        self.zero_contrast_head = nn.Dense(8 * self.contrasts, dtype=jnp.float32)
        self.look = nn.Dense(2 * half, dtype=self.dtype)
        self.lesion_head = nn.Dense(8, dtype=jnp.float32, name="zero_lesion_head")
        self.structure_head = nn.Dense(8 * self.classes, dtype=jnp.float32, name="zero_structure_head")
        self.structure_likelihood = nn.Dense(self.classes, dtype=jnp.float32, name="zero_structure_likelihood")
        self.lesion_likelihood = nn.Dense(1, dtype=jnp.float32, name="zero_lesion_likelihood")
        self.zero_atlas = Atlas(self.classes, self.rank)

    def encode(self, volume: Volume, present: Present) -> tuple[Latent, Latent]:
        """Mean and log variance of the latent; contrasts that are not present are not seen."""
        shown = haar(volume * present[:, None, None, None, :])
        flags = jnp.broadcast_to(present[:, None, None, None, :], (*shown.shape[:4], self.contrasts))
        x = self.read(constrain(jnp.concatenate([shown, flags], axis=-1).astype(self.dtype), "b z y x f"))
        for block in self.encoder_half:
            x = block(x)
        x = self.reduce(haar(x))
        for block in self.encoder_quarter:
            x = block(x)
        moments = self.zero_moments(nn.silu(self.encoder_norm(x)).astype(jnp.float32))
        learned, log_variance = jnp.split(moments, 2, axis=-1)
        mean = learned + self.linear(haar(shown.astype(jnp.float32)), present)
        # Starts certain: a posterior as wide as its mean teaches the decoder to ignore the latent before it is of use.
        return mean, jnp.clip(log_variance + CERTAIN, -12.0, 4.0)

    def decode(self, latent: Latent, planes: Int[Array, "p"] | None = None) -> Decoded:
        """All contrasts and labels of a latent.

        planes: depths at 1/2 of the grid (two slices each) for which structure logits are wanted; all when None. Label
        logits are most of a training step's memory traffic, and a few planes, drawn anew each time, teach as well.
        """
        code = waves(places(latent.shape[1:4]).reshape(-1, 3), 48).reshape(1, *latent.shape[1:4], 48)
        x = self.enlarge(latent.astype(self.dtype)) + self.position(code.astype(self.dtype))
        for block in self.decoder_quarter:
            x = block(constrain(x, "b z y x f"))
        x = unhaar(self.expand(x))
        for block in self.decoder_half:
            x = block(x)
        x = nn.silu(self.decoder_norm(x)).astype(jnp.float32)
        latent = latent.astype(jnp.float32)
        bands = unhaar(self.zero_linear_out(latent)) + self.zero_contrast_head(x)
        # Labels are read off the decoded image, which is there from the first step, and off the place. Its low band is
        # centred on the brain's median and spread: a lesion, a third brighter, is as far from it as the features are.
        brightness = SPREAD * (bands / 8**0.5).at[..., :self.contrasts].add(-1.0)
        seen = nn.silu(self.look(jnp.concatenate([x, brightness], axis=-1).astype(self.dtype))).astype(jnp.float32)
        named = join(self.structure_head(seen if planes is None else seen[:, planes]))
        lesion = join(self.lesion_head(seen))[..., 0] + RARE
        box = tuple(4 * side for side in latent.shape[1:4])
        slices = jnp.arange(box[0]) if planes is None else (2 * planes[:, None] + jnp.arange(2)).reshape(-1)
        volume = constrain(unhaar(bands), "b d h w c")
        every = quadratic(volume)
        named += self.structure_likelihood(every if planes is None else every[:, slices])
        lesion += self.lesion_likelihood(every)[..., 0]
        for atlas in self.zero_atlas(latent):
            named += spread_over(atlas[..., :-1], slices, box)
            lesion += spread_over(atlas[..., -1:], jnp.arange(box[0]), box)[..., 0]
        return Decoded(volume, named, lesion)

    def linear(self, bands: Float[Array, "b z y x g"], present: Present) -> Latent:
        """The linear part of the latent's mean: the map of the subset of contrasts that is present."""
        subset = subset_of(present)
        kernel, bias = jnp.take(self.linear_in, subset, axis=0), jnp.take(self.linear_in_bias, subset, axis=0)
        return jnp.einsum("b z y x g, b g f -> b z y x f", bands, kernel) + bias[:, None, None, None]

    def __call__(self, volume: Volume, present: Present) -> Decoded:
        """Decode the mean of the latent."""
        return self.decode(self.encode(volume, present)[0])
