"""Parameters without compilation: shapes by tracing, numbers from one seeded generator on the host.

`module.init` compiles a kernel for every differently shaped random parameter: half a minute on a CPU. Here each leaf is
drawn by its name and path, so that the values do not depend on the order of the modules:

    kernel      variance 1 / fan-in, truncated at two standard deviations
    embedding   standard deviation 0.02
    scale       one            *bias, shift      zero
    anything inside a submodule named zero_*     zero (a branch that starts silent)
"""

import zlib
from typing import Any

import jax
import numpy as np
from flax import linen as nn

TRUNCATED_DEVIATION = 0.87962566      # standard deviation of a normal truncated at +-2


def initialise(module: nn.Module, seed: int, *inputs: Any, method: Any = None) -> dict:
    """Plain dict of host arrays: the parameters of `module` for inputs of these shapes."""
    shapes = jax.eval_shape(lambda *x: module.init(jax.random.key(0), *x, method=method), *inputs)["params"]
    return jax.tree_util.tree_map_with_path(lambda path, leaf: _draw(seed, path, leaf), shapes)


def _draw(seed: int, path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    names = [str(part.key) for part in path]
    name = names[-1]
    if name.endswith(("bias", "shift")) or any(part.startswith("zero_") for part in names):
        return np.zeros(leaf.shape, leaf.dtype)
    if name == "scale":
        return np.ones(leaf.shape, leaf.dtype)
    random = np.random.default_rng([seed, zlib.crc32("/".join(names).encode())])
    drawn = random.standard_normal(leaf.shape, dtype=np.float32)
    if name == "embedding":
        return (0.02 * drawn).astype(leaf.dtype)
    if name == "kernel":
        fan_in = int(np.prod(leaf.shape[:-1]))
        outside = np.abs(drawn) > 2
        while outside.any():
            drawn[outside] = random.standard_normal(int(outside.sum()), dtype=np.float32)
            outside = np.abs(drawn) > 2
        return (drawn / TRUNCATED_DEVIATION / np.sqrt(fan_in)).astype(leaf.dtype)
    raise ValueError(f"no rule says how {'/'.join(names)} starts: name it kernel, bias, scale, shift or embedding")
