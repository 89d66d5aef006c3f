"""What the training loop knows of a stage: what is learned, what is borrowed, what is seen, and chance."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

Params = Any            # a plain dict of arrays
Frozen = Any            # borrowed weights: placed on the mesh, never updated, never baked into the program
Batch = Mapping[str, Any]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """One thing that can be trained. Pure functions; the loop owns state, devices, files and clocks.

    init:      seed -> parameters (host numpy arrays; no compilation)
    start:     (params, data) -> params   what the data say in closed form, before the first update
    given:     names of parameters that stay as they start: no gradient, no moments
    loss:      (params, frozen, batch, key) -> (scalar, {name: b values})    traced and differentiated
    evaluate:  (params, frozen, batch, key) -> {name: b values}              traced; averaged under batch["weight"];
               a pair (b values, b weights) where a value has no meaning for some examples
    probes:    name -> (params, frozen, data) -> {name: number | figure | text}   slow judges on the host
    frozen:    borrowed weights
    represent: (frozen, batch) -> {name: array}   traced; what borrowed weights say of a study, computed once and kept
    conclude:  (params, frozen, data) -> {name: array | list}   what borrowers need to know: statistics.npz, .json
    """

    name: str
    init: Callable[[int], Params]
    loss: Callable[[Params, Frozen, Batch, Any], tuple[Any, Values]]
    evaluate: Callable[[Params, Frozen, Batch, Any], Values]
    start: Callable[[Params, Any], Params] | None = None
    given: tuple[str, ...] = ()
    probes: Mapping[str, Callable[[Params, Frozen, Any], Values]] = field(default_factory=dict)
    frozen: Frozen = field(default_factory=dict)
    represent: Callable[[Frozen, Batch], Values] | None = None
    conclude: Callable[[Params, Frozen, Any], Values] | None = None


class Borrowed(NamedTuple):
    """A finished stage as another one uses it."""

    config: Any             # its resolved config
    params: Params          # averaged weights, host arrays
    statistics: Values      # what its conclude said
    origin: Values = MappingProxyType({})       # its checkpoint: step, config_hash, digest of what it borrowed
