"""The dial: how much each modality contributes to a prediction, and the exact shares that result.

v(A) is the prediction that knows the modalities A only. The Moebius terms

    m(A) = sum over B within A of (-1)^(|A| - |B|) v(B)

are what A adds as a whole beyond its parts: the pure effect of one modality, the interaction of several. One prediction
is v = m({}) + sum over A of w(A) m(A). All weights 1 give v(all), all 0 give v({}); one modality alone with weight w is
classifier-free guidance (Ho & Salimans 2022); w(text, image) = w(text) is InstructPix2Pix's form (Brooks 2023).
"""

import math
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from medfuse_jax.axes import Array
from medfuse_jax.request import check_weight

Subset = frozenset[str]
Number = float | Float[Array, ""]           # a host number, or one that is traced
NOTHING: Subset = frozenset()
TEXT: Subset = frozenset({"text"})
IMAGE: Subset = frozenset({"image"})
BOTH: Subset = TEXT | IMAGE


def subsets(modalities: Subset) -> tuple[Subset, ...]:
    """All subsets, the smaller first, in a fixed order."""
    names = sorted(modalities)
    return tuple(frozenset(chosen) for size in range(len(names) + 1) for chosen in combinations(names, size))


class Weights(NamedTuple):
    """How much text and image count, each >= 0; interaction None: sqrt(text * image), so that any zero silences it."""

    text: float = 1.0
    image: float = 1.0
    interaction: float | None = None

    def checked(self) -> "Weights":
        """Host numbers, the interaction filled in; MedFuseError for a weight that is no number from 0 to 100."""
        for name, value in self._asdict().items():
            check_weight(name, value)
        together = math.sqrt(self.text * self.image) if self.interaction is None else self.interaction
        return Weights(float(self.text), float(self.image), float(together))

    def terms(self) -> dict[Subset, Number]:
        """The weight of each Moebius term but m({}), whose weight is 1. For checked weights; they may be traced."""
        return {TEXT: self.text, IMAGE: self.image, BOTH: self.interaction}


def coefficients(terms: Mapping[Subset, Number]) -> dict[Subset, Number]:
    """The factor of each v(A) in the prediction: the Moebius sum, turned round. They add up to 1."""
    everything = frozenset().union(*terms)
    weights = {NOTHING: 1.0, **terms}
    return {inner: sum((-1) ** (len(outer) - len(inner)) * weights.get(outer, 0.0)
                       for outer in subsets(everything) if inner <= outer) for inner in subsets(everything)}


def required(terms: Mapping[Subset, float]) -> tuple[Subset, ...]:
    """The subsets that these weights (host numbers) need evaluated."""
    return tuple(subset for subset, factor in coefficients(terms).items() if abs(factor) > 1e-12)


def moebius(predictions: Mapping[Subset, Array]) -> dict[Subset, Array]:
    """m(A) for every subset A, from v(A) for every subset A."""
    return {outer: sum((-1) ** (len(outer) - len(inner)) * value
                       for inner, value in predictions.items() if inner <= outer) for outer in predictions}


def fuse(predictions: Mapping[Subset, Array], terms: Mapping[Subset, Number]) -> Array:
    """One prediction from those of the required subsets; weights may be traced."""
    factors = coefficients(terms)
    return sum(factors[subset] * value for subset, value in predictions.items())


def shapley(predictions: Mapping[Subset, Array], terms: Mapping[Subset, Number]) -> dict[str, Array]:
    """The Shapley vector of each modality: each weighted Moebius term split equally among its members (Shapley 1953).

    Their sum is v - v({}) exactly. Needs the predictions of all subsets.
    """
    pure = moebius(predictions)
    return {name: sum(terms[subset] * pure[subset] / len(subset) for subset in terms if name in subset)
            for name in sorted(frozenset().union(*terms))}


def shares(vectors: Mapping[str, Float[Array, "b z y x f"]]) -> dict[str, Float[Array, "b"]]:
    """<phi, Delta> / <Delta, Delta> of each modality, Delta the sum of all: shares sum to 1. Zero when Delta is."""
    delta = sum(vectors.values())
    axes = tuple(range(1, delta.ndim))
    total = jnp.sum(jnp.square(delta), axis=axes)
    return {name: jnp.sum(phi * delta, axis=axes) / jnp.where(total > 0, total, 1.0) for name, phi in vectors.items()}
