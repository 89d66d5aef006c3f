"""How many FLOPs the matrix products and convolutions of a traced program take: by formula, not by measurement."""

import math
from typing import Any

import numpy as np

# Products of queries, keys and values in one fused attention: scores and output; backward, scores again and four more.
FUSED = {"dot_product_attention_fwd": 2, "dot_product_attention_bwd": 5}


def products(jaxpr: Any, repeat: bool = True) -> float:
    """FLOPs of all dense, convolution and attention products; those of a loop's body times its length if `repeat`.

    One multiply-add is two. Sums, norms and activations are not counted; what is computed again (remat) is.
    """
    total = 0.0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        name = equation.primitive.name.removesuffix("_wrapper")
        if name == "dot_general":
            total += dense(equation)
        elif name == "conv_general_dilated":
            total += convolution(equation)
        elif name in FUSED:
            query, key = (variable.aval.shape for variable in equation.invars[:2])       # b q h e, b k h e
            total += FUSED[name] * 2.0 * math.prod(query) * key[1]
        else:
            inner = [products(part, repeat) for part in _parts(equation.params)]
            times = equation.params["length"] if repeat and name == "scan" else 1
            total += times * (max(inner, default=0.0) if name == "cond" else sum(inner))
    return total


def _parts(params: dict[str, Any]) -> list[Any]:
    """The programs inside of an equation: of a loop, a branch, a call."""
    values = [part for value in params.values() for part in (value if isinstance(value, tuple | list) else (value,))]
    return [part for part in values if hasattr(getattr(part, "jaxpr", part), "eqns")]


def dense(equation: Any) -> float:
    """2 x rows x columns x what is summed over, for each of the batch."""
    (summed, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in summed)


def convolution(equation: Any) -> float:
    """2 x outputs x kernel taps that meet a real input x input features."""
    params, (left, kernel), out = equation.params, (variable.aval.shape for variable in equation.invars), equation.outvars[0].aval.shape
    numbers = params["dimension_numbers"]
    pairs = 1
    for place in range(len(params["window_strides"])):
        at = [shape[spec[2 + place]] for shape, spec in ((left, numbers.lhs_spec), (kernel, numbers.rhs_spec), (out, numbers.out_spec))]
        pairs *= taps(*at, params["window_strides"][place], params["padding"][place][0], params["lhs_dilation"][place],
                      params["rhs_dilation"][place])
    batch, features = (out[axis] for axis in numbers.out_spec[:2])
    return 2.0 * batch * features * kernel[numbers.rhs_spec[1]] * pairs


def taps(inputs: int, kernel: int, outputs: int, stride: int, before: int, spaced: int, spread: int) -> int:
    """Pairs of an output and a kernel tap along one axis that meet an input, not padding and not a gap."""
    place = np.arange(outputs)[:, None] * stride + np.arange(kernel)[None] * spread - before
    return int(np.sum((place >= 0) & (place < (inputs - 1) * spaced + 1) & (place % spaced == 0)))
