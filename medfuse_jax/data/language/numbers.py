"""Numbers of a sentence and what is done with them: ends, bounds, units, sums and products."""

import numpy as np

from medfuse_jax.data.definitions import ends
from medfuse_jax.data.findings import Count, Range
from medfuse_jax.data.language.coherence import LARGEST_COUNT
from medfuse_jax.data.language.concepts import Concept

Concepts = list[Concept]


def number(found: Concepts, low: float, high: float | None) -> Concept:
    """One number in the place of several words."""
    return Concept("n", low if low == high else Range(low, high), found[0].first, found[-1].last)


def is_open(concept: Concept) -> bool:
    """Whether a number has no upper end."""
    return isinstance(concept.value, Range) and concept.value.high is None


def low_and_high(concept: Concept) -> tuple[float, float]:
    """The ends of a number or of a closed range."""
    return (concept.value.low, concept.value.high) if isinstance(concept.value, Range) else (concept.value,) * 2


def limited(found: Concepts, low: float, high: float) -> Concepts:
    """The number that a bound makes of its words: "no more than" is "at most"."""
    rises = any(concept.value in ("more", "least") for concept in found if concept.letter == "b")
    denied = found[0].letter == "!"
    return [number(found, low, None) if rises != denied else number(found, 0.0, high)]


def scaled(value: float | Range, unit: float, digits: int) -> float | Range:
    """A number in another unit, with so many significant digits."""
    if isinstance(value, Range):
        return Range(scaled(value.low, unit, digits), None if value.high is None else scaled(value.high, unit, digits))
    return float(f"{value * unit:.{digits}g}")


def times(count: Count, each: float | Range) -> float | Range:
    """What so many lesions of that volume make together, ml; a count word is its interval."""
    (low, high), (least, most) = ends(count), ends(each)
    low, high = (float(f"{value:.6g}") if value < np.inf else value for value in (low * least, high * most))
    return low if low == high else Range(low, None if ends(count)[1] > LARGEST_COUNT else high)


def whole(count: float | Range) -> int | Range:
    """A number of lesions."""
    if isinstance(count, Range):
        return Range(int(count.low), None if count.high is None else int(count.high))
    return int(count)


def total(parts: list[Count]) -> Count:
    """What counts of several places make together."""
    if len(parts) == 1:
        return parts[0]
    low, high = (sum(each) for each in zip(*map(ends, parts), strict=True))
    return int(low) if low == high else Range(int(low), None if high == np.inf else int(high))
