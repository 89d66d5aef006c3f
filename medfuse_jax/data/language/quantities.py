"""What surrounds a number: "5 to 10 ml", "at least 10 lesions", "42 a"; and sizes in mm, which count nothing."""

import re
from dataclasses import replace

import numpy as np

from medfuse_jax.data.definitions import ends
from medfuse_jax.data.findings import Count, Range
from medfuse_jax.data.language.coherence import LARGEST_COUNT
from medfuse_jax.data.language.concepts import Concept
from medfuse_jax.data.language.further import SIZE

Concepts = list[Concept]
DASHES = set("-–—")
TURNED = {"<": "least", ">": "most", "≤": "least", "≥": "most"}      # behind a number


def gathered(concepts: Concepts, tokens: list[str]) -> Concepts:
    """The concepts of a text, with each range or bound as one number, and without the words that made it one."""
    for pattern, build in RULES:
        found, at = [], 0
        for match in re.finditer(pattern, "".join(concept.letter for concept in concepts)):
            built = build(concepts[match.start():match.end()], tokens)
            if built is not None:
                found += concepts[at:match.start()] + built
                at = match.end()
        concepts = found + concepts[at:]
    return concepts


def years(found: Concepts, tokens: list[str]) -> Concepts | None:
    """42 a"""
    return [replace(found[0], letter="y", value=1.0)] if tokens[found[0].first] == "a" else None


def decade(found: Concepts, tokens: list[str]) -> Concepts | None:
    """in her 40s"""
    low = found[0].value
    of_tens = tokens[found[1].first] == "s" and low % 10 == 0
    return [number(found, low, low + 9)] if of_tens else None


def listed(found: Concepts, tokens: list[str]) -> Concepts:
    """black holes (4)"""
    return [*found[:-3], replace(found[-3], letter=":"), found[-2]]


def part(found: Concepts, tokens: list[str]) -> Concepts:
    """two of the five lesions enhance"""
    return [replace(found[0], last=found[1].last)]


def interval(found: Concepts, tokens: list[str]) -> Concepts | None:
    """5 to 10; between 5 and 10; one or two; 6 ± 2"""
    low, high = (low_and_high(concept) for concept in found if concept.letter in "na")
    low, high = low[0], high[1]
    if any(concept.letter == "," and tokens[concept.first] not in DASHES for concept in found):
        return None
    if any(concept.letter == "±" for concept in found):
        low, high = max(0.0, low - high), low + high
    return [number(found, low, high)] if low <= high else None


def hundreds(found: Concepts, tokens: list[str]) -> Concepts | None:
    """two hundred and fifty"""
    low, high = (concept.value for concept in found if concept.letter in "na")
    if any(tokens[concept.first].isdecimal() for concept in found):
        return None
    value = low * high if high == 100 and low < 10 else low + high if low % 100 == 0 < high < 100 <= low else None
    return None if value is None else [number(found, value, value)]


def repeated(found: Concepts, tokens: list[str]) -> Concepts | None:
    """nine (9)"""
    return [replace(found[0], last=found[-1].last)] if found[0].value == found[2].value else None


def free(found: Concepts, tokens: list[str]) -> Concepts | None:
    """lesion-free; cortical lesions absent"""
    if found[-1].letter == "d" and found[-1].value.get("grade") != "none":
        return None
    return [Concept("!", None, found[0].first, found[0].first), *found[:-2], replace(found[-2], last=found[-1].last)]


def swapped(found: Concepts, tokens: list[str]) -> Concepts:
    """volume (ml): 6"""
    unit = next(concept for concept in found if concept.letter == "m")
    return [replace(found[-1], first=found[0].first), replace(unit, first=found[-1].last, last=found[-1].last)]


def small(found: Concepts, tokens: list[str]) -> Concepts:
    """a few small lesions"""
    return [replace(found[0], letter="R", value=SIZE)]


def degrees(found: Concepts, tokens: list[str]) -> Concepts:
    """mild to moderate"""
    return [replace(found[0], letter="~", value="of a range of degrees the last is read", last=found[-1].first)]


def bound_of_a_count(found: Concepts, tokens: list[str]) -> Concepts | None:
    """More than ten lesions are eleven at least."""
    *_, bound, number_ = found
    if is_open(number_) or found[0].letter == "!" or bound.value not in ("more", "less"):
        return None
    value = low_and_high(number_)
    if any(end != int(end) for end in value):
        return None
    return limited(found, value[0] + 1.0, max(0.0, value[1] - 1.0))


def bound_before(found: Concepts, tokens: list[str]) -> Concepts | None:
    """at least 10; no more than 10"""
    return None if is_open(found[-1]) else limited(found, *low_and_high(found[-1]))


def bound_after(found: Concepts, tokens: list[str]) -> Concepts | None:
    """10 or more; 10 lesions at least"""
    if is_open(found[0]):
        return None
    bound = found[-1]
    if tokens[bound.first] in TURNED:                       # 5 < lesions
        bound = replace(bound, value=TURNED[tokens[bound.first]])
    return [*limited([found[0], bound], *low_and_high(found[0])), *found[1:-1]]


def both_bounds(found: Concepts, tokens: list[str]) -> Concepts | None:
    """at least 5 and at most 10; more than 5 ml but less than 10 ml"""
    first, second = (concept for concept in found if concept.letter == "n")
    if not is_open(first) or not isinstance(second.value, Range) or second.value.low != 0 or (
            is_open(second) or second.value.high < first.value.low):
        return None
    return [number(found, first.value.low, second.value.high)]


def plus(found: Concepts, tokens: list[str]) -> Concepts | None:
    """10+"""
    plain = tokens[found[1].first] == "+" and not isinstance(found[0].value, Range)
    return [number(found, found[0].value, None)] if plain else None


def size(found: Concepts, tokens: list[str]) -> Concepts:
    """6 mm; 20 %"""
    return [Concept("R", found[-1].value, found[0].first, found[-1].last)]


def alone(found: Concepts, tokens: list[str]) -> Concepts:
    """A bound that bounds no number; what joins two numbers says nothing elsewhere."""
    return [replace(concept, letter="~", value="a bound is read only before a number")
            for concept in found if concept.letter == "b"]


def fraction(found: Concepts, tokens: list[str]) -> Concepts:
    """half a ml; three quarters of a ml; one and a half ml"""
    share = next(concept.value for concept in found if concept.letter == "i")
    before = found[0].value if found[0].letter in "na" else 1.0
    if isinstance(before, Range):
        return [found[0], number(found[1:], share, share)]
    if any(concept.letter == "&" for concept in found):
        return [number(found, before + share, before + share)]
    value = round(before * share, 6)
    if value > 1:      # "woman of 42, half a ml" without the comma
        return [found[0], number(found[1:], share, share)]
    return [number(found, value, value)]


def and_half(found: Concepts, tokens: list[str]) -> Concepts | None:
    """un ml et demi"""
    whole_, unit, share = found[0], found[1], found[-1]
    if isinstance(whole_.value, Range):
        return None
    return [number([whole_], whole_.value + share.value, whole_.value + share.value), replace(unit, last=share.last)]


def one(found: Concepts, tokens: list[str]) -> Concepts:
    """a ml of lesions"""
    return [replace(found[0], letter="n", value=1.0)]


def each_before(found: Concepts, tokens: list[str]) -> Concepts:
    """each 6 ml; each of three lesions measures 2 ml"""
    each = next(i for i, concept in enumerate(found) if concept.letter == "E")
    return [*(concept for concept in found[each + 1:] if concept.letter not in ":,"), found[each]]


def each_behind(found: Concepts, tokens: list[str]) -> Concepts:
    """nine lesions, 6 ml each"""
    return found[1:]


def sized_each(found: Concepts, tokens: list[str]) -> Concepts | None:
    """nine 6 ml lesions"""
    count, number_, unit, *lesions = found
    if tokens[count.first].isdecimal() or count.last > number_.first:
        return None
    return [count, *lesions, number_, unit, Concept("E", None, unit.last, unit.last)]


def one_side(found: Concepts, tokens: list[str]) -> Concepts:
    """Only on the left: neither "only" nor the side is a command."""
    side = next(concept for concept in found if concept.letter == "Z")
    if {concept.letter for concept in found} == {"Z", "O"}:
        return [replace(side, first=found[0].first, last=found[-1].last)]
    return [replace(concept, letter="Z", value=side.value) if concept.letter == "O" else concept for concept in found]


def no_side(found: Concepts, tokens: list[str]) -> Concepts:
    """No lesion on the left: that is not no lesion."""
    return [replace(concept, letter="U", value=None) if concept.letter == "Z" else concept for concept in found]


RULES = (
    (r"O[rkLsA]*Z+|Z+[rkLsA]*O", one_side),
    (r"![rk]*L?[rk]*Z", no_side),
    (r"[na]m&a?i", and_half),
    (r"[na]&a?ia?(?=[my])|[na]?ia?(?=m)|(?<=u)ia?(?=y)", fraction),
    (r"a(?=m)", one),
    (r"[na]n", hundreds),
    (r"n&?n", hundreds),
    (r"n[(]n[)]", repeated),
    (r"(?<![nwa!rkN])(?:N?[rk]*L|K|N|[rk])[(]n[)]", listed),
    (r"(?<![xXgeuynYp])nn(?=[rk]*L[rk]*[+]?[NK])", part),
    (r"n[?]", decade),
    (r"[LADFK]f|[rk]*L[rk]*[fd](?![BVA])", free),
    (r"(?<=V)[(]?m[)]?:?n(?!m)", swapped),
    (r"(?<=[nwa])d(?=[rk]*L)", small),
    (r"(?<=n)z(?=[^n]|$)|(?<=[xX]n)z|(?<=[xX],n)z", years),
    (r"v[na][my]?[&z]n|[na][my]?z[na]|n±n|[na][|]n|(?<![egxXyu])n,n(?=[mLrk])", interval),
    (r"d[z|](?=d)", degrees),
    (r"(?<![egu])!?b[na](?![myYl]|[,&+]{0,2}b[na]m)", bound_of_a_count),
    (r"!?b[na]", bound_before),
    (r"[na][mLyrkNK]*b", bound_after),
    (r"nm?[,&+]{0,2}n", both_bounds),
    (r"n&(?=[LrkNK])", plus),
    (r"n?l", size),
    (r",?E[:,]?nm|E[na]?[rk]*L[rk]*[:,+]?nm", each_before),
    (r"(?<=[Lrk]),nmE", each_behind),
    (r"nnm[rk]*L[rk]*(?!E)", sized_each),
    (r"[zvb±]", alone),
)


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
