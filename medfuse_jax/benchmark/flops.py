"""How many FLOPs the products of a traced program take: by formula from its shapes, not by measurement."""

import math
from typing import Any

import numpy as np

# Products in one fused attention: scores and output; backward, the scores again and one for each of four gradients.
FUSED = {"dot_product_attention_fwd": 2, "dot_product_attention_bwd": 5}


def products(jaxpr: Any, repeat: bool = True) -> float:
    """FLOPs of all dense, convolution and attention products; those in a loop times its length if `repeat`.

    One multiply-add is two. Sums, norms and activations are not counted; what is computed twice (remat) counts twice.
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
    """The programs inside of an equation: a loop's body, branches, what is called."""
    values = [part for value in params.values() for part in (value if isinstance(value, tuple | list) else (value,))]
    return [part for part in values if hasattr(getattr(part, "jaxpr", part), "eqns")]


def dense(equation: Any) -> float:
    """2 x outputs x what is summed over."""
    (summed, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in summed)


def convolution(equation: Any) -> float:
    """2 x examples x output features x input features x pairs of a place and a kernel tap that meet an input."""
    params, numbers = equation.params, equation.params["dimension_numbers"]
    left, kernel = (variable.aval.shape for variable in equation.invars)
    out = equation.outvars[0].aval.shape
    shapes, pairs = list(zip((left, kernel, out), numbers, strict=True)), 1
    for place, stride in enumerate(params["window_strides"]):
        inputs, window, outputs = (shape[spec[2 + place]] for shape, spec in shapes)
        pairs *= taps(inputs, window, outputs, stride=stride, before=params["padding"][place][0],
                      gaps=params["lhs_dilation"][place], reach=params["rhs_dilation"][place])
    examples, features = (out[axis] for axis in numbers.out_spec[:2])
    return 2.0 * examples * features * kernel[numbers.rhs_spec[1]] * pairs


def taps(inputs: int, kernel: int, outputs: int, stride: int, before: int, gaps: int, reach: int) -> int:
    """Pairs of an output and a kernel tap along one axis that meet an input: no padding, no gap between inputs."""
    place = np.arange(outputs)[:, None] * stride + np.arange(kernel)[None] * reach - before
    return int(np.sum((place >= 0) & (place <= (inputs - 1) * gaps) & (place % gaps == 0)))
