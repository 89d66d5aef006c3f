"""What follows from a statement, and what in it cannot be true together."""

from dataclasses import replace

from medfuse_jax.data.definitions import COUNT_WORDS, load_word
from medfuse_jax.data.findings import ATROPHY, REGIONS, Amount, Statement

LARGEST_ML, LARGEST_COUNT = 100.0, 1000        # beyond what any patient of the data showed


def entail(statement: Statement) -> Statement:
    """The statement with what follows from it made explicit.

    No lesion at all empties every region. "Only" closes the world: structures that are not named are normal, and
    regions that are not named are empty, unless lesions are stated without any region (they may be anywhere).
    """
    regions, atrophy = dict(statement.lesions_by_region), dict(statement.atrophy)
    count, volume, load = statement.lesion_count, statement.lesion_volume_ml, statement.lesion_load
    somewhere = any(not amount.absent for amount in regions.values())
    unsaid = count is None and volume is None and load is None and not somewhere
    if 0 in (count, volume) or load == "none" or (statement.only and unsaid):
        count, volume, load = count or 0, volume or 0.0, load or "none"
        regions = {name: regions.get(name, Amount(0)) for name in REGIONS}
    elif statement.only and somewhere:
        regions = {name: regions.get(name, Amount(0)) for name in REGIONS}
    if statement.only:
        atrophy = {name: atrophy.get(name, "none") for name in ATROPHY}
    return replace(statement, lesion_count=count, lesion_volume_ml=volume, lesion_load=load, lesions_by_region=regions,
                   atrophy=atrophy)


def as_healthy(statement: Statement) -> Statement:
    """No lesion and no atrophy, except where the text itself says otherwise."""
    lesions = (statement.lesion_count or statement.lesion_volume_ml or statement.lesion_load not in (None, "none")
               or any(not amount.absent for amount in statement.lesions_by_region.values()))
    atrophy = {name: statement.atrophy.get(name, "none") for name in ATROPHY}
    return replace(statement, lesion_count=statement.lesion_count if lesions else 0, atrophy=atrophy)


def spoken(name: str) -> str:
    """A name of ours as a person says it."""
    return name.replace("_", " ")


def least(count: int | str | None) -> int:
    """The smallest number of lesions that a count can mean."""
    return COUNT_WORDS[count][0] if isinstance(count, str) else 1 if count is None else count


def contradictions(statement: Statement) -> list[str]:
    """What cannot be true together, or lies beyond what was learned; one line each."""
    found = []
    amounts = statement.lesions_by_region
    there = [name for name, amount in amounts.items() if not amount.absent]
    count, volume, load = statement.lesion_count, statement.lesion_volume_ml, statement.lesion_load
    if (count == 0 or load == "none" or volume == 0) and (count or volume or there or load not in (None, "none")):
        found.append("contradiction: no lesion, and lesions")
    most = COUNT_WORDS[count][1] if isinstance(count, str) else count
    if count and sum(least(amounts[name].count) for name in there) > most:
        found.append("contradiction: the regions hold more lesions than the total")
    parts = sum(amount.volume_ml or 0.0 for amount in amounts.values())
    if volume and parts > 1.05 * volume:       # so are the parts
        found.append(f"contradiction: the regions hold {parts:.3g} ml, more than the total of {volume:g} ml")
    words = {load_word(0.96 * volume), load_word(1.04 * volume)} if volume else set()     # written volumes are rounded
    if volume and load not in (None, "none", *words):
        found.append(f"contradiction: {volume:g} ml is a {spoken(load_word(volume))} lesion load, "
                     f"not {spoken(load)}")
    if volume and volume > LARGEST_ML:
        found.append(f"{volume:g} ml is more than any brain that was learned from ({LARGEST_ML:g} ml)")
    if count and most > LARGEST_COUNT and isinstance(count, int):
        found.append(f"{count} lesions are more than in any brain that was learned from ({LARGEST_COUNT})")
    return found
