"""How simulated people change, and what their images show, beside what was measured: rows of the validation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from medfuse_jax.data import labels
from medfuse_jax.data.simulate import course, images, plans, trials
from medfuse_jax.data.simulate.person import CohortSettings, plan, simulate_person, states
from medfuse_jax.data.simulate.rows import Row, gathered, row
from medfuse_jax.metrics import agreement

TRIAL_PEOPLE, FOLLOWED_PEOPLE, PLANNED_PEOPLE, RATE_PEOPLE, RATE_MM = 10_000, 2000, 3000, 1000, 2.0
SEEN_PEOPLE = 20                                                 # whose images are drawn, at 2 mm
# Percent a year, measured on labels that moved: Azevedo 2018, a review; caudate [assume].
RATES: dict[tuple[str, str], tuple[float, float]] = {
    ("thalamus", "MS"): (-0.77, -0.64), ("thalamus", "controls"): (-0.58, 0.02),
    ("whole_brain", "MS"): (-1.3, -0.5), ("whole_brain", "controls"): (-0.3, -0.1), ("caudate", "MS"): (-1.3, -0.8)}


def rows(settings: CohortSettings, rate_people: int, jobs: int) -> list[Row]:
    """All rows of this file."""
    seed = settings.seed
    return arms(seed) + rates(settings, rate_people, jobs) + planned(settings) + intensities(settings, jobs)


def arms(seed: int) -> list[Row]:
    """Trial arms: events only. The untreated arm's first row is what the rate was calibrated on."""
    found = []
    for number, treatment in enumerate(trials.AFFIRM):
        random = np.random.default_rng([seed, 3, number])
        counted, target = trials.arm(random, TRIAL_PEOPLE, treatment), trials.AFFIRM[treatment]
        found.append(row(f"new or enlarging lesions in two years, treatment {treatment}", "paper", 0.9 * target,
                         1.1 * target, counted, np.mean, seed))
        followed, target = trials.followed(random, FOLLOWED_PEOPLE, treatment), trials.ENHANCING[treatment]
        found.append(row(f"enhancing lesions at two yearly scans, treatment {treatment}", "paper", 0.85 * target,
                         1.15 * target, [one.enhancing for one in followed], np.mean, seed))
        target = trials.VOLUME_PERCENT[treatment]
        found.append(row(f"lesion volume in two years, median (%), treatment {treatment}", "paper", target - 2,
                         target + 2, [one.volume_percent for one in followed], np.median, seed))
    return found


def annual_percent(seed: int, settings: CohortSettings, index: int) -> tuple[str, dict[str, float]]:
    """Phenotype, and change of structures a year between the moved label maps of two visits."""
    first, last = states(seed, index, settings)
    return first.findings.phenotype, last.findings.change.annualised_percent


def rates(settings: CohortSettings, people: int, jobs: int) -> list[Row]:
    """Rates of atrophy, measured on labels that moved: mean of patients, and of controls."""
    two = replace(settings, subjects=people, visits=2, spacing=RATE_MM, seed=settings.seed + 1)
    measured = gathered(partial(annual_percent, two.seed, two), two, jobs, "structures of people over time")
    found = []
    for (structure, group), (low, high) in RATES.items():
        values = [each[structure] for phenotype, each in measured
                  if structure in each and (phenotype == "control") == (group == "controls")]
        found.append(row(f"{structure.replace('_', ' ')}, {group} (% a year)", "paper", low, high, values, np.mean,
                         settings.seed))
    return found


class Course(NamedTuple):
    """What is planned for one patient."""

    phenotype: str
    treatment: str
    age: float
    years: float
    thalamus: float                    # percent, deviation at the first visit
    load_ml: float
    old: tuple[str, ...]               # regions of lesions at the first visit
    new: tuple[str, ...]               # and of those that are born later


def course_of(visits: Sequence[plans.VisitPlan]) -> Course:
    """A patient's plan in short."""
    first, last = visits[0], visits[-1]
    old = tuple(lesion.region for lesion in first.lesions if lesion.birth_years <= 0)
    new = tuple(lesion.region for lesion in first.lesions if lesion.birth_years > 0)
    load = sum(lesion.volume_ml * lesion.share(0.0) for lesion in first.lesions)
    who = first.covariates
    return Course(who.phenotype, who.treatment, who.age, last.covariates.date_years, first.deviation["thalamus"], load,
                  old, new)


def planned(settings: CohortSettings) -> list[Row]:
    """What needs many people and no voxel: cortical lesions and their coupling; where, when, whether lesions come."""
    two = replace(settings, visits=3, spacing=1.0, counterfactual=False)
    people = [course_of(visits) for visits in (plan(settings.seed, index, two) for index in range(PLANNED_PEOPLE))
              if visits[0].covariates.phenotype != "control"]
    found = []

    def add(name: str, low: float, high: float, some: Sequence[Course], statistic: Callable) -> None:
        found.append(row(name, "paper", low, high, some, statistic, settings.seed))

    for phenotype in ("RRMS", "SPMS"):
        seen = course.SEEN_AT_3T * course.CORTICAL_A_YEAR[phenotype]
        add(f"new cortical lesions a year, {phenotype} ({100 * course.SEEN_AT_3T:.0f} % of those at 7T)", 0.7 * seen,
            1.4 * seen, [one for one in people if one.phenotype == phenotype], _cortical_a_year)
    target = settings.cortical_coupling * plans.CORTICAL_COUPLING["thalamus"]
    add("thalamus, % a cortical lesion, at equal lesion volume and duration", 1.4 * target, 0.6 * target, people,
        _coupling)
    untreated = [one for one in people if one.treatment == "none"]
    add("new lesions and age, rank correlation, untreated", -0.4, -0.03, untreated, lambda some: agreement.spearman(
        [one.age for one in some], [len(one.new) / one.years for one in some]))
    add("people without a new lesion in about two years, untreated", 0.25, 0.55, untreated,
        lambda some: float(np.mean([not one.new for one in some])))
    add("new lesions in the region of an old one of the same person, beside another's", 1.1, 3.0, people, _same_region)
    return found


def _cortical_a_year(people: Sequence[Course]) -> float:
    return sum(one.new.count("cortical") for one in people) / sum(one.years for one in people)


def _coupling(people: Sequence[Course]) -> float:
    people = [one for one in people if one.old.count("cortical") <= plans.MOST_COUPLED]
    table = np.array([[one.old.count("cortical"), one.load_ml, 1.0] for one in people])
    return float(np.linalg.lstsq(table, np.array([one.thalamus for one in people]), rcond=None)[0][0])


def _same_region(people: Sequence[Course]) -> float:
    """How often a new and an old lesion share their region in one person, beside in two people."""
    people = [one for one in people if one.new and one.old]
    shares = np.array([[each.count(region) / len(each) for region in plans.SMALL_REGIONS]
                       for one in people for each in (one.old, one.new)])
    old, new = shares[::2], shares[1::2]
    return float((old * new).sum(axis=1).mean() / (old.mean(axis=0) * new.mean(axis=0)).sum())


def brightness(seed: int, settings: CohortSettings, index: int) -> list[float]:
    """Lesion / brain median of images.SHOWN of a person; empty for people without lesions."""
    visit = simulate_person(seed, index, settings)[0]
    inside = visit.lesions > 0.5
    if not inside.any():
        return []
    return [float(np.median(visit.images[inside, labels.CONTRASTS.index(name)])) for name in images.SHOWN]


def intensities(settings: CohortSettings, jobs: int) -> list[Row]:
    """How bright lesions are in images of 2 mm, beside the brain's median."""
    some = replace(settings, subjects=SEEN_PEOPLE, visits=1, spacing=2.0, refine=2, missing=0.0, randomise=0.0)
    measured = [each for each in gathered(partial(brightness, some.seed, some), some, jobs, "images of people") if each]
    return [row(f"lesion / brain median, {name}", "data", *images.LESION[place], [each[place] for each in measured],
                np.mean, settings.seed) for place, name in enumerate(images.SHOWN)]
