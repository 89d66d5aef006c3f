"""Parts and shares around a number: "half a ml", "6 ml each"; and sides, which are no command."""

from dataclasses import replace

from medfuse_jax.data.findings import Range
from medfuse_jax.data.language.concepts import Concept
from medfuse_jax.data.language.numbers import Concepts, number


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


def decimal(found: Concepts, tokens: list[str]) -> Concepts | None:
    """six point five"""
    before, after = found[0].value, found[2].value
    if isinstance(before, Range) or isinstance(after, Range) or before % 1 or after % 1 or after >= 100:
        return None
    value = before + after / 10 ** len(f"{after:.0f}")
    return [number(found, value, value)]


FRACTIONS = (
    (r"nGn", decimal),
    (r"[na]m&a?i", and_half),
    (r"[na]&a?ia?(?=[my])|[na]?ia?(?=m)|(?<=u)ia?(?=y)|(?<=e)n&a?i|(?<=e:)n&a?i", fraction),
    (r"a(?=m)", one),
)
SIDES = (
    (r"O[rkLsA]*Z+|Z+[rkLsA]*O", one_side),
    (r"![rk]*L?[rk]*Z", no_side),
)
EACH = (
    (r"(?<!m),?E:?nm|(?<!m)E[na]?[rk]*L[rk]*[:,+]?nm", each_before),
    (r"(?<=[Lrk]),nmE", each_behind),
    (r"nnm[rk]*L[rk]*(?!E)", sized_each),
)
