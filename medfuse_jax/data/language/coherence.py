"""What follows from a statement, and what in it cannot be true together."""

from dataclasses import replace

import numpy as np

from medfuse_jax.data.definitions import COUNT_WORDS, LOAD_ML, SMALLEST_LESION_MM3, ends, load_word
from medfuse_jax.data.findings import ACTIVITY, ATROPHY, REGIONS, Amount, Range, Statement

AMONG_LESIONS = {"new_count": "new lesions", "enlarging_count": "enlarging lesions", "black_hole_count": "black holes",
                 "enhancing_count": "enhancing lesions"}      # those that resolved are of the earlier visit
LARGEST_ML, LARGEST_COUNT = 100.0, 1000        # beyond what any patient of the data showed


def entail(statement: Statement) -> Statement:
    """The statement with what follows from it made explicit.

    No lesion at all empties every region, and none is new, enlarging, dark or enhancing. "Only" closes the world:
    structures that are not named are normal, and regions that are not named are empty, unless lesions are stated
    without any region (they may be anywhere).
    """
    regions, atrophy = dict(statement.lesions_by_region), dict(statement.atrophy)
    count, volume, load = statement.lesion_count, statement.lesion_volume_ml, statement.lesion_load
    active = {name: getattr(statement, name) for name in AMONG_LESIONS}
    somewhere = any(not amount.absent for amount in regions.values())
    unsaid = count is None and volume is None and load is None and not somewhere
    if 0 in (count, volume) or load == "none" or (statement.only and unsaid):
        count, volume, load = count or 0, volume or 0.0, load or "none"
        regions = {name: regions.get(name, Amount(0)) for name in REGIONS}
        active = {name: 0 if said is None else said for name, said in active.items()}
    elif statement.only and somewhere:
        regions = {name: regions.get(name, Amount(0)) for name in REGIONS}
    if statement.only:
        atrophy = {name: atrophy.get(name, "none") for name in ATROPHY}
    return replace(statement, lesion_count=count, lesion_volume_ml=volume, lesion_load=load, lesions_by_region=regions,
                   atrophy=atrophy, **active)


def as_healthy(statement: Statement) -> Statement:
    """No lesion and no atrophy, except where the text itself says otherwise."""
    lesions = (statement.lesion_count or statement.lesion_volume_ml or statement.lesion_load not in (None, "none")
               or any(not amount.absent for amount in statement.lesions_by_region.values()))
    atrophy = {name: statement.atrophy.get(name, "none") for name in ATROPHY}
    return replace(statement, lesion_count=statement.lesion_count if lesions else 0, atrophy=atrophy)


def lesions_said(statement: Statement) -> bool:
    """Whether anything is said of lesions."""
    said = (statement.lesion_count, statement.lesion_volume_ml, statement.lesion_load,
            *(getattr(statement, name) for name in ACTIVITY))
    return bool(statement.lesions_by_region) or any(value is not None for value in said)


def spoken(name: str) -> str:
    """A name of ours as a person says it."""
    return name.replace("_", " ")


def least(count: int | str | Range | None) -> int:
    """The smallest number of lesions that a count can mean."""
    return 1 if count is None else int(ends(count)[0])


def contradictions(statement: Statement, healthy: bool = False) -> list[str]:
    """What cannot be true together, or lies beyond what was learned; one line each. `healthy`: the text says so."""
    found = []
    amounts = statement.lesions_by_region
    there = [name for name, amount in amounts.items() if not amount.absent]
    count, volume, load = statement.lesion_count, statement.lesion_volume_ml, statement.lesion_load
    active = {name: getattr(statement, name) for name in AMONG_LESIONS if getattr(statement, name)}
    if (count == 0 or load == "none" or volume == 0) and (
            count or volume or there or active or load not in (None, "none")):
        found.append("contradiction: no lesion, and lesions")
    most = np.inf if count is None else ends(count)[1]
    if count and sum(least(amounts[name].count) for name in there) > most:
        found.append("contradiction: the regions hold more lesions than the total")
    found += [f"contradiction: more {AMONG_LESIONS[name]} than lesions" for name, said in active.items()
              if count and least(said) > most]
    low, high = ends(volume or 0.0)
    parts = sum(ends(amount.volume_ml or 0.0)[0] for amount in amounts.values())
    if volume and parts > 1.05 * high:       # so are the parts
        found.append(f"contradiction: the regions hold {parts:.3g} ml, more than the total of {volume:g} ml")
    if volume and load not in (None, "none") and not overlap((0.96 * low, 1.04 * high), LOAD_ML[load]):
        found.append(f"contradiction: {volume:g} ml is a {spoken(load_word(low))} lesion load, not {spoken(load)}")
    if 0 < high < SMALLEST_LESION_MM3 / 1000:
        found.append(f"{volume:g} ml is smaller than the smallest lesion ({SMALLEST_LESION_MM3:g} mm3)")
    if low > LARGEST_ML:
        found.append(f"{volume:g} ml is more than any brain that was learned from ({LARGEST_ML:g} ml)")
    if least(count or 0) > LARGEST_COUNT:
        found.append(f"{count} lesions are more than in any brain that was learned from ({LARGEST_COUNT})")
    if healthy and diseased(statement):
        found.append("contradiction: healthy, and more lesions or atrophy than healthy people have; they are kept")
    return found


def overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two intervals share a number."""
    return one[0] <= other[1] and other[0] <= one[1]


def diseased(statement: Statement) -> bool:
    """Whether more is stated than healthy people show: a few small lesions."""
    amounts = (Amount(statement.lesion_count or 0, statement.lesion_volume_ml), *statement.lesions_by_region.values())
    return (any(least(amount.count) > COUNT_WORDS["few"][1] for amount in amounts)
            or any(ends(amount.volume_ml or 0.0)[0] > LOAD_ML["minimal"][1] for amount in amounts)
            or statement.lesion_load not in (None, "none", "minimal")
            or any(getattr(statement, name) for name in AMONG_LESIONS)
            or any(word != "none" for word in statement.atrophy.values())
            or statement.phenotype not in (None, "control"))
