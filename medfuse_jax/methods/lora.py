"""Low-rank adaptation (Hu 2021): a matrix stays as it is, and the product of two thin ones is learned beside it."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

ADAPTED = ("query", "value")        # of each layer's attention, as in the paper


def start(seed: int, params: Mapping[str, Any], rank: int, path: str = "") -> dict[str, Any]:
    """The thin matrices of each adapted kernel, as host arrays: `inward` i r of variance 1 / i, `outward` r o of zeros.

    The first product is zero: at step 0 the adapted network is the given one.
    """
    made: dict[str, Any] = {}
    for name, part in params.items():
        here = f"{path}/{name}"
        if name in ADAPTED:
            inputs, outputs = part["kernel"].shape
            random = np.random.default_rng([seed, zlib.crc32(here.encode())])
            inward = random.standard_normal((inputs, rank), np.float32) / np.float32(np.sqrt(inputs))
            made[name] = {"inward": inward, "outward": np.zeros((rank, outputs), np.float32)}
        elif isinstance(part, Mapping) and (within := start(seed, part, rank, here)):
            made[name] = within
    return made


def adapted(params: Mapping[str, Any], deltas: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """The parameters with `scale` (alpha / rank) times each product of thin matrices added to its kernel."""
    made = dict(params)
    for name, delta in deltas.items():
        if name in ADAPTED:
            made[name] = params[name] | {"kernel": params[name]["kernel"] + scale * delta["inward"] @ delta["outward"]}
        else:
            made[name] = adapted(params[name], delta, scale)
    return made
