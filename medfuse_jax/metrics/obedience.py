"""Was the sentence obeyed? Each thing that it commands beside what is measured, by `data.definitions`.

A word (load, several, severe) or a range ("5 to 10") is obeyed when the measured value lies in it. A number is obeyed
within TOLERANCE: the count error that `science.md` asks of a good model, and the same share of a volume.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from medfuse_jax.data import definitions
from medfuse_jax.data.definitions import Real
from medfuse_jax.data.findings import ACTIVITY, ATROPHY, REGIONS, Amount, Findings, Range, Statement
from medfuse_jax.data.language.coherence import entail

TOLERANCE = 0.15           # of a count above ten, and of a volume
FEW, FEW_TOLERANCE = 10, 1      # up to ten lesions one more or less is obeyed; none at all is not
PERSON = ("age", "sex", "phenotype", "treatment", "edss", "disease_duration_years")
OF_THE_PERSON = "of the person, not of the image"
NO_EARLIER = "needs the labels of an earlier visit"
NO_STRUCTURES = "the labels hold no structures"
NO_LESIONS = "the labels hold no lesions"
UNCOUNTED = {"black_hole_count": "black holes were not looked for", "enhancing_count": "enhancement was not looked for"}
FINER = "finer than the grid: less than one voxel"
ANY = (-math.inf, math.inf)


class Verdict(NamedTuple):
    """One command, what was measured of it, and whether it was obeyed (None: it cannot be measured)."""

    finding: str                    # where it stands in `commanded`: lesion_count, atrophy.thalamus
    command: Statement              # this command alone
    commanded: Any
    measured: Any                   # in the command's own terms: a number, a word, names
    obeyed: bool | None
    amount: Real | None = None     # the number behind it
    unit: str = ""                  # lesions | ml
    allowed: tuple[Real, Real] = ANY      # the amounts that obey, at the ends about
    why: str = ""                   # it cannot be measured

    @property
    def word(self) -> str:
        """obeyed | not obeyed | not measurable"""
        return "not measurable" if self.obeyed is None else "obeyed" if self.obeyed else "not obeyed"

    def to_json(self) -> dict[str, Any]:
        """For sample.json; an open end, and what says nothing, is left out."""
        low, high = (None if math.isinf(end) else round(end, 3) for end in self.allowed)
        commanded = asdict(self.commanded) if isinstance(self.commanded, Range) else self.commanded
        whole = isinstance(commanded, float) and commanded.is_integer()
        told = {"finding": self.finding, "verdict": self.word, "commanded": int(commanded) if whole else commanded,
                "measured": self.measured,
                "amount": None if self.amount is None else round(self.amount, 3), "unit": self.unit or None,
                "at_least": low, "at_most": high, "why": self.why or None}
        always = ("commanded", "measured")
        return {name: value for name, value in told.items() if value is not None or name in always}


def judge(statement: Statement, findings: Findings, contrasts: Sequence[str]) -> list[Verdict]:
    """A verdict for each thing that a sentence commands, in the order in which pages tell them.

    What is only possible commands nothing and has no verdict.
    findings: measured on the image. contrasts: those that were made.
    """
    return [*_contrasts(statement, contrasts), *_lesions(statement, findings), *_regions(statement, findings),
            *_atrophy(statement, findings), *_rest(statement, findings)]


def count_allowed(commanded: int | str | Range | None) -> tuple[Real, Real]:
    """The counts that obey a number, a word, a range, or just "lesions" (None)."""
    if commanded is None:
        return 1, math.inf
    if isinstance(commanded, Range):
        return definitions.ends(commanded)
    if isinstance(commanded, str):
        low, high = definitions.COUNT_WORDS[commanded]
        return low, math.inf if commanded == "numerous" else high
    slack = FEW_TOLERANCE if commanded <= FEW else math.floor(TOLERANCE * commanded)
    return (0, 0) if commanded == 0 else (max(commanded - slack, 1), commanded + slack)


def volume_allowed(commanded: Real | Range) -> tuple[Real, Real]:
    """The volumes that obey a number of ml, or a range."""
    if isinstance(commanded, Range):
        return definitions.ends(commanded)
    return round((1 - TOLERANCE) * commanded, 6), round((1 + TOLERANCE) * commanded, 6)


def _contrasts(statement: Statement, made: Sequence[str]) -> Iterator[Verdict]:
    if statement.contrasts:
        yield Verdict("contrasts", Statement(contrasts=statement.contrasts), list(statement.contrasts), list(made),
                      set(statement.contrasts) <= set(made))


def _lesions(statement: Statement, findings: Findings) -> Iterator[Verdict]:
    count, ml, load = statement.lesion_count, statement.lesion_volume_ml, statement.lesion_load
    if count is not None:
        yield _count("lesion_count", Statement(lesion_count=count), count, findings.lesion_count)
    if ml is not None:
        yield _volume("lesion_volume_ml", Statement(lesion_volume_ml=ml), ml, findings.lesion_volume_ml, findings)
    if load is not None and findings.lesion_volume_ml is None:
        yield Verdict("lesion_load", Statement(lesion_load=load), load, None, None, why=NO_LESIONS)
    elif load is not None:
        word = definitions.load_word(findings.lesion_volume_ml)
        yield Verdict("lesion_load", Statement(lesion_load=load), load, word, word == load, findings.lesion_volume_ml,
                      "ml", definitions.LOAD_ML[load])


def _regions(statement: Statement, findings: Findings) -> Iterator[Verdict]:
    for region in (name for name in REGIONS if name in statement.lesions_by_region):
        said, found = statement.lesions_by_region[region], findings.lesions_by_region.get(region)
        key = f"lesions_by_region.{region}"
        if found is None:
            why = NO_LESIONS if findings.lesion_count is None else NO_STRUCTURES
            yield Verdict(key, Statement(lesions_by_region={region: said}), asdict(said), None, None, why=why)
            continue
        if said.count is not None or said.volume_ml is None:
            command = Statement(lesions_by_region={region: Amount(said.count)})
            yield _count(f"{key}.count", command, said.count, found.count)
        if said.volume_ml is not None:
            command = Statement(lesions_by_region={region: Amount(None, said.volume_ml)})
            yield _volume(f"{key}.volume_ml", command, said.volume_ml, found.volume_ml, findings)


def _count(finding: str, command: Statement, commanded: int | str | Range | None, measured: int | None) -> Verdict:
    if measured is None:
        return Verdict(finding, command, "some" if commanded is None else commanded, None, None, why=NO_LESIONS)
    low, high = count_allowed(commanded)
    word = isinstance(commanded, str)
    return Verdict(finding, command, "some" if commanded is None else commanded,
                   definitions.count_word(measured) if word else measured, low <= measured <= high, measured, "lesions",
                   (low, high))


def _volume(finding: str, command: Statement, commanded: Real | Range, measured: Real | None,
            findings: Findings) -> Verdict:
    if measured is None:
        return Verdict(finding, command, commanded, None, None, why=NO_LESIONS)
    (low, high), voxel = volume_allowed(commanded), definitions.voxel_ml(findings.spacing_mm)
    if 0 < definitions.ends(commanded)[1] < voxel:
        return Verdict(finding, command, commanded, None, None, why=FINER)
    return Verdict(finding, command, commanded, round(measured, 3), low <= measured <= high, measured, "ml",
                   (low, high))


def _atrophy(statement: Statement, findings: Findings) -> Iterator[Verdict]:
    for name in (each for each in ATROPHY if each in statement.atrophy):
        commanded, command = statement.atrophy[name], Statement(atrophy={name: statement.atrophy[name]})
        if name not in findings.deviation_percent:
            yield Verdict(f"atrophy.{name}", command, commanded, None, None, why=NO_STRUCTURES)
            continue
        word = definitions.grade(findings.deviation_percent[name])
        expected = definitions.expected_ml(name, findings.age, findings.sex, findings.intracranial_volume_ml)
        amount = expected * (1 + findings.deviation_percent[name] / 100)
        low, high = (expected * (1 + end / 100) for end in definitions.GRADES[commanded])
        yield Verdict(f"atrophy.{name}", command, commanded, word, word == commanded, amount, "ml", (low, high))


def _rest(statement: Statement, findings: Findings) -> Iterator[Verdict]:
    if statement.only:
        lacks = NO_STRUCTURES if not findings.deviation_percent else NO_LESIONS if findings.lesion_count is None else ""
        found = None if lacks else others(statement, findings)
        yield Verdict("only", Statement(only=True), True, found, None if lacks else not found, why=lacks)
    for name in (each for each in ACTIVITY if getattr(statement, each) is not None):
        commanded, command = getattr(statement, name), Statement(**{name: getattr(statement, name)})
        counted = findings if name in UNCOUNTED else findings.change
        measured = getattr(counted, name, None)
        if measured is None:
            yield Verdict(name, command, commanded, None, None, why=UNCOUNTED.get(name, NO_EARLIER))
        else:
            yield _count(name, command, commanded, measured)
    for name in PERSON:
        value = getattr(statement, name)
        if value is not None:
            yield Verdict(name, Statement(**{name: value}), value, None, None, why=OF_THE_PERSON)


def others(statement: Statement, findings: Findings) -> list[str]:
    """Regions with lesions, and structures with atrophy, that "only" and "otherwise normal" forbid."""
    closed, said = entail(statement), entail(replace(statement, only=False))
    regions = [name for name in closed.lesions_by_region
               if name not in said.lesions_by_region and findings.lesions_by_region[name].count]
    return regions + [name for name in closed.atrophy if name not in statement.atrophy
                      and definitions.grade(findings.deviation_percent[name]) != "none"]
