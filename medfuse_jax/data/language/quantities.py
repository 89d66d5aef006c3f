"""What surrounds a number: "5 to 10 ml", "at least 10 lesions", "42 a"; and sizes in mm, which count nothing."""

import re
from dataclasses import replace

from medfuse_jax.data.findings import Range
from medfuse_jax.data.language.concepts import Concept
from medfuse_jax.data.language.further import SIZE
from medfuse_jax.data.language.numbers import Concepts, is_open, limited, low_and_high, number
from medfuse_jax.data.language.portions import EACH, FRACTIONS, SIDES

DASHES = set("-–—")
TURNED = {"<": "more", ">": "less", "≤": "least", "≥": "most"}      # behind a number


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
        turned = replace(bound, value=TURNED[tokens[bound.first]], first=found[0].first, last=found[0].first)
        built = bound_of_a_count([turned, found[0]], tokens) if not {"m", "y", "Y"} & letters(found) else None
        return [*(built or bound_before([turned, found[0]], tokens)), *found[1:-1]]
    return [*limited([found[0], bound], *low_and_high(found[0])), *found[1:-1]]


def letters(found: Concepts) -> set[str]:
    """The letters of some concepts."""
    return {concept.letter for concept in found}


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


RULES = (
    *SIDES,
    *FRACTIONS,
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
    *EACH,
    (r"[zvb±]", alone),
)
