"""Two sums over the bits of an array: the same on any mesh, other after a flipped bit or a swapped pair of elements."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint32}        # 8 bytes are two words
CHUNK = 2**15        # words: what a core keeps at hand


def mix(word):
    """A 32-bit hash with full avalanche (lowbias32, C. Wellons 2018), for numpy and jax arrays of uint32."""
    word = word ^ (word >> 16)
    word = word * np.uint32(0x7FEB352D)
    word = word ^ (word >> 15)
    word = word * np.uint32(0x846CA68B)
    return word ^ (word >> 16)


def digest(array: jax.Array) -> jax.Array:
    """uint32 (sum of words, sum of words hashed with their position, 1 when all elements are finite)."""
    return summed(array, np.uint32(0))


@jax.jit
def summed(array: jax.Array, start: jax.Array | np.generic) -> jax.Array:
    """The digest, with positions from `start` on: were it known to XLA, it would compute all positions in compiling."""
    finite = jnp.all(jnp.isfinite(array)) if jnp.issubdtype(array.dtype, jnp.inexact) else jnp.array(True)
    array = array.astype(jnp.uint8) if array.dtype == bool else array
    words = jax.lax.bitcast_convert_type(array, UNSIGNED[array.dtype.itemsize]).astype(jnp.uint32)
    position = jnp.zeros(words.shape, jnp.uint32)
    # Position from one counter per axis: nothing is reshaped, so nothing moves between devices.
    for axis, length in enumerate(words.shape):
        position = position * np.uint32(length) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    hashed = mix(words + mix(position + start))
    return jnp.stack([jnp.sum(words, dtype=jnp.uint32), jnp.sum(hashed, dtype=jnp.uint32), finite.astype(jnp.uint32)])


def digest_on_host(array: np.ndarray | jax.Array) -> np.ndarray:
    """The same three numbers of a host array."""
    array = np.ascontiguousarray(np.asarray(array))
    finite = not jnp.issubdtype(array.dtype, jnp.inexact) or bool(np.isfinite(array).all())
    words = array.reshape(-1).view(UNSIGNED[array.dtype.itemsize])
    plain = hashed = np.uint64(0)
    for start in range(0, words.size, CHUNK):
        part = words[start:start + CHUNK].astype(np.uint32)
        position = np.arange(start, start + part.size, dtype=np.uint64).astype(np.uint32)
        plain += np.sum(part, dtype=np.uint64)
        hashed += np.sum(mix(part + mix(position)), dtype=np.uint64)
    low = np.uint64(0xFFFFFFFF)
    return np.array([plain & low, hashed & low, finite], np.uint32)


def paths(tree: Any) -> dict[str, Any]:
    """Leaves by their names, joined by dots."""
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def shapes(tree: Any) -> dict[str, list]:
    """name -> [shape, dtype] of each leaf."""
    return {name: [list(leaf.shape), str(leaf.dtype)] for name, leaf in paths(tree).items()}


def row(leaf: Any, sums: np.ndarray) -> list:
    """One leaf as it stands in a file."""
    return [list(leaf.shape), str(leaf.dtype), *sums.tolist()]


def digests(tree: Any) -> dict[str, list]:
    """name -> [shape, dtype, sum, hashed sum, finite] of each leaf on the devices."""
    leaves = paths(tree)
    # In the host's own memory numpy needs no compiling (0.2 s for each different shape).
    if jax.default_backend() == "cpu" and all(leaf.is_fully_addressable for leaf in leaves.values()):
        return digests_on_host(tree)
    sums = {name: digest(leaf) for name, leaf in leaves.items()}          # all are under way before one is waited for
    return {name: row(leaf, np.asarray(sums[name])) for name, leaf in leaves.items()}


def digests_on_host(tree: Any) -> dict[str, list]:
    """The same of host arrays."""
    return {name: row(leaf, digest_on_host(leaf)) for name, leaf in paths(tree).items()}


def differing(made: dict[str, list], expected: dict[str, list]) -> str:
    """The first leaf whose digest is not as expected, or that is not finite; empty when all is well."""
    for name in expected:
        if made.get(name) != expected[name]:
            return name
        if not expected[name][-1]:
            return f"{name} (not finite)"
    return next((name for name in made if name not in expected), "")
