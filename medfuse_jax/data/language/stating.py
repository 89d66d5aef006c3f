"""From what was measured to what a sentence says of it: a random truthful choice."""

from dataclasses import replace

import numpy as np

from medfuse_jax.data.definitions import GRADES, count_word, grade, load_word
from medfuse_jax.data.findings import (
    ACTIVITY,
    ATROPHY,
    PHENOTYPES,
    REGIONS,
    TREATMENTS,
    Amount,
    Change,
    Findings,
    Range,
    RegionLoad,
    Statement,
)
from medfuse_jax.data.labels import CONTRASTS
from medfuse_jax.data.language.coherence import entail

# How often a sentence mentions a matter. Lesion load and thalamus come often: they are what the model must learn.
SAID = {
    "lesion_load": 0.92, "lesion_count": 0.4, "region": 0.3, "thalamus": 0.65, "atrophy": 0.15, "age": 0.5, "sex": 0.5,
    "phenotype": 0.6, "contrasts": 0.5, "treatment": 0.08, "edss": 0.1, "disease_duration_years": 0.1, "only": 0.5,
    "new_count": 0.6, "enlarging_count": 0.3, "resolved_count": 0.2, "black_hole_count": 0.3, "enhancing_count": 0.3,
    "possible": 0.1,
}

PERSON = ("age", "sex", "phenotype", "treatment", "edss", "disease_duration_years")


def state(findings: Findings, rng: np.random.Generator) -> Statement:
    """A random selection of true things to say of a visit, in numbers, words or negations."""
    def said(matter: str) -> bool:
        return bool(rng.random() < SAID[matter])

    person = {name: getattr(findings, name) for name in PERSON}
    person = {name: value for name, value in person.items() if said(name) and value is not None}
    for name in ("age", "disease_duration_years"):
        if name in person:
            person[name] = float(round(person[name]))
    if not person.get("disease_duration_years"):          # "0 years of disease" is no sentence
        person.pop("disease_duration_years", None)
    statement = Statement(
        **person,
        contrasts=tuple(name for name in CONTRASTS if name in findings.contrasts) if said("contrasts") else (),
        lesions_by_region={name: _amount(findings.lesions_by_region[name], rng)
                           for name in REGIONS if said("region") and name in findings.lesions_by_region},
        atrophy={name: grade(findings.deviation_percent[name]) for name in ATROPHY
                 if name in findings.deviation_percent and said("thalamus" if name == "thalamus" else "atrophy")},
        **_activity(findings, said, rng), **_lesions(findings, said, rng),
    )
    if statement.lesion_count == 0 or statement.lesion_load == "none":      # "no lesions" says it of every region
        statement = replace(statement, lesions_by_region={})
    if _is_healthy(findings) and rng.random() < 0.5:
        statement = replace(statement, phenotype="control", lesion_count=0, atrophy=dict.fromkeys(ATROPHY, "none"))
    if statement == Statement():
        return state(findings, rng)
    statement = replace(statement, only=_is_all(statement, findings) and said("only"))
    return replace(statement, possible=_doubted(statement, rng)) if said("possible") else statement


def _lesions(findings: Findings, said, rng: np.random.Generator) -> dict:
    """Total count, volume and load word: one or several of them."""
    chosen = {}
    if findings.lesion_count is None:
        return chosen
    if findings.lesion_count == 0:
        if said("lesion_load"):
            chosen = {"lesion_count": 0} if rng.random() < 0.7 else {"lesion_load": "none"}
        return chosen
    if said("lesion_count"):
        chosen["lesion_count"] = _count(findings.lesion_count, rng)
    if said("lesion_load"):
        way = rng.random()
        if way < 0.6:
            chosen["lesion_load"] = load_word(findings.lesion_volume_ml)
        if way > 0.5:
            chosen["lesion_volume_ml"] = rounded(findings.lesion_volume_ml)
    return chosen


def _activity(findings: Findings, said, rng: np.random.Generator) -> dict:
    """Change, black holes and enhancement, where they were looked for."""
    change = {} if findings.change is None else vars(findings.change)
    counts = {name: change.get(name, getattr(findings, name, None)) for name in ACTIVITY}
    return {name: _active(count, rng) for name, count in counts.items() if count is not None and said(name)}


def _active(count: int, rng: np.random.Generator) -> int | str | Range:
    """A number, a word, or that there are some."""
    way = rng.random() if count else 0.0
    return count if way < 0.8 else count_word(count) if way < 0.9 else Range(1)


def _doubted(statement: Statement, rng: np.random.Generator) -> Statement | None:
    """One thing that is said in doubt, and that is not also said for certain.

    It is drawn without a look at the findings: what is only possible binds nobody.
    """
    count = int(rng.integers(1, 5))
    doubt = (
        Statement(lesions_by_region={str(rng.choice(REGIONS)): Amount(count if rng.random() < 0.5 else None)}),
        Statement(atrophy={str(rng.choice(ATROPHY)): str(rng.choice(list(GRADES)[1:]))}),
        Statement(**{str(rng.choice(ACTIVITY)): _active(count, rng)}),
        Statement(phenotype=str(rng.choice(PHENOTYPES[:4]))),
    )[rng.integers(4)]
    said, doubted = vars(entail(statement)), vars(doubt)
    certain = any(said[name] is not None and doubted[name] is not None for name in (*ACTIVITY, "phenotype"))
    certain |= any(set(said[name]) & set(doubted[name]) for name in ("lesions_by_region", "atrophy"))
    return None if certain or statement.only else doubt


def _count(count: int, rng: np.random.Generator) -> int | str:
    return count_word(count) if rng.random() < 0.3 else count


def _amount(load: RegionLoad, rng: np.random.Generator) -> Amount:
    """What is said of one region: absent, there, how many, how much."""
    if load.count == 0:
        return Amount(count=0)
    way = rng.random()
    return Amount(_count(load.count, rng) if 0.1 < way < 0.85 else None, rounded(load.volume_ml) if way > 0.7 else None)


def rounded(ml: float) -> float:
    """A volume as it is written: two significant digits, as no sentence gives more."""
    return float(f"{ml:.2g}") if ml < 100 else float(round(ml))


def _is_healthy(findings: Findings) -> bool:
    grades = {grade(value) for value in findings.deviation_percent.values()}
    return findings.whole and findings.phenotype == "control" and findings.lesion_count == 0 and grades <= {"none"}


def _is_all(statement: Statement, findings: Findings) -> bool:
    """Whether all was assessed and nothing abnormal is left unsaid, so that "otherwise normal" is true."""
    regions = {name for name, load in findings.lesions_by_region.items() if load.count}
    shrunken = {name for name, value in findings.deviation_percent.items() if grade(value) != "none"}
    return findings.whole and regions <= set(statement.lesions_by_region) and shrunken <= set(statement.atrophy)


def random_findings(rng: np.random.Generator) -> Findings:
    """Invented findings that cover everything a sentence can speak of; for words only, no brain looks like this.

    A control has neither lesions nor a disease that lasts, disables and is treated.
    """
    share = rng.choice([0.0, 0.15, 0.5, 0.8])
    counts = np.where(rng.random(len(REGIONS)) < share, rng.geometric(rng.choice([0.03, 0.15, 0.5]), len(REGIONS)), 0)
    volumes = counts * np.exp(rng.normal(-2.0, 1.2, len(REGIONS)))
    volumes *= min(1.0, 60.0 / max(volumes.sum(), 1e-9))
    deviation = rng.uniform(-32, 8, len(ATROPHY)) if rng.random() < 0.8 else rng.uniform(-4.9, 8, len(ATROPHY))
    regions = {name: RegionLoad(int(n), float(ml)) for name, n, ml in zip(REGIONS, counts, volumes, strict=True)}
    new = min(int(rng.poisson(1.5)), int(counts.sum()))
    change = Change(new, min(int(rng.poisson(0.7)), int(counts.sum()) - new), int(rng.poisson(0.3)),
                    {"whole_brain": float(rng.normal(-0.7, 0.4)), "thalamus": float(rng.normal(-0.7, 0.5))})
    found = Findings(
        lesion_count=int(counts.sum()), lesion_volume_ml=float(volumes.sum()), lesions_by_region=regions,
        structures_ml={f"{name}_{side}": float(rng.uniform(3, 8))
                       for name in ATROPHY[:4] for side in ("left", "right")},
        deviation_percent=dict(zip(ATROPHY, map(float, deviation), strict=True)),
        brain_parenchymal_fraction=float(rng.uniform(0.7, 0.9)), intracranial_volume_ml=float(rng.uniform(1200, 1700)),
        dissemination_in_space=bool(counts[0] and counts[1]), change=change if rng.random() < 0.4 else None,
        age=float(rng.uniform(18, 85)), sex=str(rng.choice(["F", "M"])), phenotype=str(rng.choice(PHENOTYPES)),
        treatment=str(rng.choice(TREATMENTS)), edss=float(rng.integers(0, 20)) / 2,
        disease_duration_years=float(rng.uniform(0, 40)),
        contrasts=tuple(name for name in CONTRASTS if rng.random() < 0.5), date_years=float(rng.uniform(0, 5)),
        black_hole_count=_some_of(int(counts.sum()), rng), enhancing_count=_some_of(int(counts.sum()), rng),
    )
    return _without_disease(found) if found.phenotype == "control" else found


def _without_disease(found: Findings) -> Findings:
    """The same head of somebody who is well; what nobody looked at stays so."""
    return replace(
        found, lesion_count=0, lesion_volume_ml=0.0, lesions_by_region=dict.fromkeys(REGIONS, RegionLoad()),
        dissemination_in_space=False, change=found.change and Change(0, 0, 0, found.change.annualised_percent),
        treatment="none", edss=0.0, disease_duration_years=0.0, black_hole_count=found.black_hole_count and 0,
        enhancing_count=found.enhancing_count and 0)


def _some_of(count: int, rng: np.random.Generator) -> int | None:
    """So many lesions of all, often none; None: nobody looked."""
    return None if rng.random() < 0.4 else int(rng.binomial(count, rng.choice([0.0, 0.1, 0.4])))


def random_statement(rng: np.random.Generator) -> Statement:
    """A random truthful statement of invented findings: what the tokenizer learns from and the tests read back."""
    return state(random_findings(rng), rng)
