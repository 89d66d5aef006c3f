"""The pieces that all networks share: wavelet, convolution, normalisation, attention, transformer layer."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Bool, Float

from medfuse_jax.axes import Array
from medfuse_jax.models.place import constrain

DIMENSIONS = ("NDHWC", "DHWIO", "NDHWC")
PLAIN_ATTENTION_TOKENS = 1024          # up to here one product holds all scores; beyond, queries go chunk by chunk


def _haar_matrix() -> np.ndarray:
    """8 x 8 orthonormal: voxel of the 2 x 2 x 2 cube -> band, low pass first."""
    pair = np.array([[1.0, 1.0], [1.0, -1.0]], np.float32) / math.sqrt(2)
    return np.kron(pair, np.kron(pair, pair))


def haar(x: Float[Array, "b d h w c"]) -> Float[Array, "b z y x g"]:
    """One level of the orthonormal 3D Haar wavelet: half the grid, eight times the channels (low pass first)."""
    b, d, h, w, c = x.shape
    cubes = x.reshape(b, d // 2, 2, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    bands = jnp.einsum("b z y x p c, p q -> b z y x q c", cubes.reshape(b, d // 2, h // 2, w // 2, 8, c),
                       _haar_matrix().astype(x.dtype))
    return bands.reshape(b, d // 2, h // 2, w // 2, 8 * c)


def unhaar(x: Float[Array, "b z y x g"]) -> Float[Array, "b d h w c"]:
    """The exact inverse of `haar`."""
    b, z, y, w, g = x.shape
    cubes = jnp.einsum("b z y x q c, p q -> b z y x p c", x.reshape(b, z, y, w, 8, g // 8),
                       _haar_matrix().astype(x.dtype))
    return join(cubes.reshape(b, z, y, w, g))


def join(x: Float[Array, "b z y x g"]) -> Float[Array, "b d h w c"]:
    """Depth to space: the eight voxels that each cell holds take their places."""
    b, z, y, w, g = x.shape
    cubes = x.reshape(b, z, y, w, 2, 2, 2, g // 8).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return cubes.reshape(b, 2 * z, 2 * y, 2 * w, g // 8)


def convolve(x: Array, kernel: Array, formulation: str = "auto") -> Array:
    """3D convolution, same size. "depth_sum" says it as 2D convolutions over depth: several times faster on CPU.

    x: b d h w i;  kernel: odd depth taps, kh kw i o.
    """
    if formulation == "auto":
        formulation = "depth_sum" if jax.default_backend() == "cpu" else "direct"
    if formulation == "direct":
        return jax.lax.conv_general_dilated(x, kernel, (1, 1, 1), "SAME", dimension_numbers=DIMENSIONS)
    b, d, h, w, i = x.shape
    taps, o = kernel.shape[0], kernel.shape[-1]
    padded = jnp.pad(x, ((0, 0), (taps // 2, taps // 2), (0, 0), (0, 0), (0, 0)))
    total = 0.0
    for tap in range(taps):
        plane = jax.lax.slice_in_dim(padded, tap, tap + d, axis=1).reshape(b * d, h, w, i)
        total += jax.lax.conv_general_dilated(plane, kernel[tap], (1, 1), "SAME",
                                              dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return total.reshape(b, d, h, w, o)


class Conv(nn.Module):
    """3 x 3 x 3 convolution with a bias, in the formulation that is fast on the backend at hand."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b z y x f"]) -> Float[Array, "b z y x g"]:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, 3, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return convolve(x.astype(self.dtype), kernel.astype(self.dtype)) + bias.astype(self.dtype)


class GroupNorm(nn.Module):
    """Group normalisation (Wu & He 2018) as one multiply-add per example and channel; statistics in float32."""

    groups: int = 8

    @nn.compact
    def __call__(self, x: Float[Array, "b z y x f"]) -> Float[Array, "b z y x f"]:
        b, features = x.shape[0], x.shape[-1]
        groups = math.gcd(self.groups, features)
        scale = self.param("scale", nn.initializers.ones, (features,))
        shift = self.param("shift", nn.initializers.zeros, (features,))
        seen = x.astype(jnp.float32)
        first = jnp.mean(seen, axis=(1, 2, 3)).reshape(b, groups, -1)
        second = jnp.mean(jnp.square(seen), axis=(1, 2, 3)).reshape(b, groups, -1)
        mean = jnp.mean(first, axis=-1, keepdims=True)
        variance = jnp.mean(second, axis=-1, keepdims=True) - jnp.square(mean)
        inverse = jax.lax.rsqrt(jnp.maximum(variance, 0.0) + 1e-5)
        multiply = jnp.broadcast_to(inverse, first.shape).reshape(b, features) * scale
        add = shift - jnp.broadcast_to(mean, first.shape).reshape(b, features) * multiply
        shape = (b, 1, 1, 1, features)
        return x * multiply.reshape(shape).astype(x.dtype) + add.reshape(shape).astype(x.dtype)


class Residual(nn.Module):
    """Two convolutions; the input is added back. The second starts silent."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b z y x f"]) -> Float[Array, "b z y x g"]:
        h = Conv(self.features, self.dtype)(nn.silu(GroupNorm()(x)))
        h = Conv(self.features, self.dtype, name="zero_out")(nn.silu(GroupNorm()(h)))
        skip = x if x.shape[-1] == self.features else nn.Dense(self.features, dtype=self.dtype)(x)
        return constrain(skip + h, "b z y x f")


def settle(x: Array) -> Array:
    """`x`, computed once: on a CPU, XLA would compute a norm again inside each of its consumers, a third of a step."""
    return jax.lax.optimization_barrier(x) if jax.default_backend() == "cpu" else x


def standardise(x: Array, centred: bool = True, epsilon: float = 1e-6) -> Array:
    """Mean zero (where `centred`) and mean square one over the last axis, in float32."""
    x = x.astype(jnp.float32)
    if centred:
        x = x - settle(jnp.mean(x, axis=-1, keepdims=True))
    return settle(x * settle(jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + epsilon)))


class Norm(nn.Module):
    """Layer norm (Ba 2016), or root-mean-square norm (Zhang 2019) when not centred, with its scale."""

    centred: bool = True
    dtype: Any = jnp.float32
    epsilon: float = 1e-6
    shifted: bool = True               # with a bias, where it is centred

    @nn.compact
    def __call__(self, x: Array) -> Array:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        y = standardise(x, self.centred, self.epsilon) * scale
        if self.centred and self.shifted:
            y = y + self.param("bias", nn.initializers.zeros, x.shape[-1:])
        return y.astype(self.dtype)


def attend(query: Array, key: Array, value: Array, mask: Bool[Array, "b k"] | None = None) -> Array:
    """Softmax attention, b q h e x b k h e -> b q h e, in the form that suits backend and length (Vaswani 2017)."""
    if jax.default_backend() == "gpu" and query.dtype == jnp.bfloat16 and mask is None:
        return jax.nn.dot_product_attention(query, key, value, implementation="cudnn")
    if query.shape[1] > PLAIN_ATTENTION_TOKENS:
        return chunked(query, key, value, mask)
    return plain(query, key, value, mask)


def plain(query: Array, key: Array, value: Array, mask: Array | None = None) -> Array:
    """Attention with all scores at once; the mask is of keys, b k, or of pairs, b q k.

    Heads come first inside: on a CPU that is three times as fast.
    """
    query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))
    scores = jnp.einsum("b h q e, b h k e -> b h q k", query, key).astype(jnp.float32) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = jnp.where(mask[:, None, None, :] if mask.ndim == 2 else mask[:, None], scores, -1e9)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum("b h q k, b h k e -> b h q e", weights, value).swapaxes(1, 2)


def chunked(query: Array, key: Array, value: Array, mask: Array | None = None, size: int = 512) -> Array:
    """Attention, the scores of `size` queries at a time, computed again for the gradient: memory linear in queries."""
    b, q, heads, e = query.shape
    padded = jnp.pad(query, ((0, 0), (0, -q % size), (0, 0), (0, 0)))
    pieces = padded.reshape(b, -1, size, heads, e).swapaxes(0, 1)
    out = jax.lax.map(jax.checkpoint(lambda piece: plain(piece, key, value, mask)), pieces)
    return out.swapaxes(0, 1).reshape(b, -1, heads, e)[:, :q]


class Attention(nn.Module):
    """Multi-head attention of x to `context` (itself when None), queries and keys normalised (Dehghani 2023)."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b l e"], context: Float[Array, "b k g"] | None = None,
                 mask: Bool[Array, "b k"] | None = None) -> Float[Array, "b l e"]:
        b, length, width = x.shape
        context = x if context is None else context
        query = nn.Dense(width, dtype=self.dtype, name="query")(x).reshape(b, length, self.heads, -1)
        key = nn.Dense(width, dtype=self.dtype, name="key")(context).reshape(b, context.shape[1], self.heads, -1)
        value = nn.Dense(width, dtype=self.dtype, name="value")(context).reshape(b, context.shape[1], self.heads, -1)
        query = Norm(False, self.dtype, name="query_norm")(query)
        key = Norm(False, self.dtype, name="key_norm")(key)
        return nn.Dense(width, dtype=self.dtype, name="out")(attend(query, key, value, mask).reshape(b, length, width))


class Perceptron(nn.Module):
    """Two dense layers around a GELU, four times as wide inside."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b l e"]) -> Float[Array, "b l e"]:
        return nn.Dense(x.shape[-1], dtype=self.dtype)(nn.gelu(nn.Dense(4 * x.shape[-1], dtype=self.dtype)(x)))


class Layer(nn.Module):
    """A pre-normalised transformer layer."""

    heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b l e"], mask: Bool[Array, "b l"] | None = None) -> Float[Array, "b l e"]:
        x = x + Attention(self.heads, self.dtype)(Norm(dtype=self.dtype)(x), mask=mask)
        return x + Perceptron(self.dtype)(Norm(dtype=self.dtype)(x))


def waves(places: Float[Array, "l 3"], width: int) -> Float[Array, "l e"]:
    """Sine and cosine of each coordinate at geometric frequencies: where a token is, on any grid."""
    count = width // 6
    frequencies = math.pi * 2.0 ** jnp.linspace(0.0, 4.0, count)
    angles = places[:, :, None] * frequencies                                 # l 3 count
    flat = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(len(places), -1)
    return jnp.pad(flat, ((0, 0), (0, width - flat.shape[-1])))


def places(shape: tuple[int, int, int]) -> Float[Array, "z y x 3"]:
    """Coordinates of the centres of a grid laid over the standard box, each axis from -1 to 1."""
    axes = [(2 * jnp.arange(n) + 1) / n - 1 for n in shape]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1)


def patch(x: Float[Array, "b z y x f"], size: int) -> Float[Array, "b pz py px g"]:
    """Cubes of `size` latents as one token each; odd sides are padded at the end."""
    pad = [(0, -n % size) for n in x.shape[1:4]]
    x = jnp.pad(x, ((0, 0), *pad, (0, 0)))
    b, z, y, w, f = x.shape
    cubes = x.reshape(b, z // size, size, y // size, size, w // size, size, f)
    return cubes.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, z // size, y // size, w // size, size**3 * f)


def unpatch(x: Float[Array, "b pz py px g"], size: int, shape: tuple[int, int, int]) -> Float[Array, "b z y x f"]:
    """The inverse of `patch`, cropped to `shape`."""
    b, z, y, w, g = x.shape
    cubes = x.reshape(b, z, y, w, size, size, size, g // size**3).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    whole = cubes.reshape(b, z * size, y * size, w * size, g // size**3)
    return whole[:, :shape[0], :shape[1], :shape[2]]


def fourier(values: Float[Array, "b"], width: int) -> Float[Array, "b e"]:
    """Sine and cosine of a number in [0, 1] at geometric frequencies (the noise level's code, Ho 2020)."""
    frequencies = 2.0 ** jnp.linspace(0.0, 8.0, width // 2)
    angles = values[:, None] * frequencies * math.pi
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
