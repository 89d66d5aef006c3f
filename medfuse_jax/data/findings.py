"""Two records: `Findings`, everything that was measured on a visit, and `Statement`, what a sentence says of one.

The sentence, the report and the simulated image all come from one Findings record, so they cannot disagree.
Names, units and regions: `definitions.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

REGIONS = ("infratentorial", "periventricular", "deep_grey", "cortical", "juxtacortical", "deep_white")
ATROPHY = ("thalamus", "caudate", "putamen", "hippocampus", "whole_brain")
ACTIVITY = ("new_count", "enlarging_count", "resolved_count", "black_hole_count", "enhancing_count")
PHENOTYPES = ("CIS", "RRMS", "SPMS", "PPMS", "control")
TREATMENTS = ("none", "moderate", "high")
NOT_ASSESSED = ("spinal_cord", "optic_nerve")
COUNTED = {"black_hole_count": "black_holes", "enhancing_count": "enhancement"}      # None -> its name, not assessed


@dataclass(frozen=True)
class RegionLoad:
    """Lesions of one region."""

    count: int = 0
    volume_ml: float = 0.0


@dataclass(frozen=True)
class Change:
    """What changed since an earlier visit; percentages are compound, per year."""

    new_count: int
    enlarging_count: int
    resolved_count: int
    annualised_percent: dict[str, float] = field(default_factory=dict)    # whole_brain thalamus caudate


@dataclass(frozen=True)
class Findings:
    """Everything measured on one visit, with the person's covariates. Volumes in ml, ages in years.

    Without a lesion mask, lesions are None and "lesions" stands under `not_assessed`; without a map of structures, what
    needs one is None or empty and "structures" stands there; so do "black_holes" and "enhancement", always and only
    when their counts are None.
    """

    lesion_count: int | None
    lesion_volume_ml: float | None
    lesions_by_region: dict[str, RegionLoad]
    structures_ml: dict[str, float]
    deviation_percent: dict[str, float]           # of ATROPHY: from the value expected for age, sex and head size
    brain_parenchymal_fraction: float | None
    intracranial_volume_ml: float | None
    dissemination_in_space: bool | None
    change: Change | None = None
    age: float | None = None
    sex: str | None = None                        # F | M
    phenotype: str | None = None
    treatment: str | None = None
    edss: float | None = None
    disease_duration_years: float | None = None
    date_years: float | None = None               # from the first visit
    contrasts: tuple[str, ...] = ()
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    source: str = ""
    units: str = "ml, mm, years, percent"
    not_assessed: tuple[str, ...] = NOT_ASSESSED
    black_hole_count: int | None = None           # lesions dark on T1w; None: nobody looked
    enhancing_count: int | None = None            # lesions that take up gadolinium

    def __post_init__(self):
        unseen = tuple(name for count, name in COUNTED.items() if getattr(self, count) is None)
        others = tuple(name for name in self.not_assessed if name not in COUNTED.values())
        object.__setattr__(self, "not_assessed", unseen + others)

    @property
    def whole(self) -> bool:
        """Whether both lesions and structures were assessed."""
        return not {"lesions", "structures"} & set(self.not_assessed)

    def to_json(self) -> dict[str, Any]:
        """A plain dict; the names are the contract's."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Findings:
        """The inverse of to_json. Unknown names are ignored: users add columns."""
        known = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        known["lesions_by_region"] = {k: RegionLoad(**v) for k, v in known["lesions_by_region"].items()}
        if known.get("change"):
            known["change"] = Change(**known["change"])
        for name in ("contrasts", "spacing_mm", "not_assessed"):
            if name in known:
                known[name] = tuple(known[name])
        return cls(**known)


@dataclass(frozen=True)
class Range:
    """Numbers between two ends that both belong to it: "5 to 10"; a high of None is open: "at least 5"."""

    low: float | int
    high: float | int | None = None

    def __format__(self, spec: str) -> str:
        low = format(self.low, spec)
        return f"≥{low}" if self.high is None else f"{low}-{format(self.high, spec)}"

    def __str__(self) -> str:
        return format(self, "g")


@dataclass(frozen=True)
class Amount:
    """Lesions that a sentence ties to one region. count: a number, a word (few, several, ...) or None when open."""

    count: int | str | Range | None = None        # 0: "no periventricular lesion"
    volume_ml: float | Range | None = None

    @property
    def absent(self) -> bool:
        return self.count == 0


Count = int | str | Range | None                  # a number, a count word (few several many numerous) or a range


@dataclass(frozen=True)
class Statement:
    """What a sentence says. Open world: None, or a missing key, leaves the matter free.

    What is said in doubt ("possible cortical lesions") stands in `possible` and nowhere else: it commands nothing, no
    fact of a network states it and no measurement is judged by it.
    """

    age: float | Range | None = None
    sex: str | None = None
    phenotype: str | None = None
    treatment: str | None = None
    edss: float | Range | None = None
    disease_duration_years: float | Range | None = None
    contrasts: tuple[str, ...] = ()
    lesion_count: Count = None                    # 0: "no lesion"
    lesion_volume_ml: float | Range | None = None
    lesion_load: str | None = None                # none minimal mild moderate high very_high
    lesions_by_region: dict[str, Amount] = field(default_factory=dict)
    atrophy: dict[str, str] = field(default_factory=dict)      # of ATROPHY -> none mild moderate severe
    new_count: Count = None                       # lesions that are new since the earlier visit
    enlarging_count: Count = None
    resolved_count: Count = None                  # of the earlier visit; Range(1): "resolved lesions"
    black_hole_count: Count = None
    enhancing_count: Count = None
    only: bool = False                            # "only", "otherwise normal", "no other"
    possible: Statement | None = None             # possible, probable, suspected, not excluded

    def to_json(self) -> dict[str, Any]:
        """What is stated, and nothing else."""
        record = asdict(self) | {"possible": self.possible.to_json() if self.possible else None}
        return {name: value for name, value in record.items()
                if value is not None and value is not False and value not in ((), {})}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Statement:
        """The inverse of to_json."""
        record = {name: _ranged(value) for name, value in record.items()}
        record["contrasts"] = tuple(record.get("contrasts", ()))
        record["lesions_by_region"] = {k: Amount(**{name: _ranged(value) for name, value in v.items()})
                                       for k, v in record.get("lesions_by_region", {}).items()}
        if record.get("possible"):
            record["possible"] = cls.from_json(record["possible"])
        return cls(**record)


def _ranged(value: Any) -> Any:
    """A Range from its record; anything else as it is."""
    return Range(**value) if isinstance(value, dict) and set(value) == {"low", "high"} else value
