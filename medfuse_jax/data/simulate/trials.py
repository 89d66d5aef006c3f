"""Simulated trial arms: who enters a trial of active relapsing disease, and what two years bring. No image.

The untreated rate of events is calibrated on the untreated arm of AFFIRM; the treated arm, what enhances and what
becomes of the lesion volume follow from the same course of disease as the images of a cohort.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from medfuse_jax.data.simulate import course, plans

RELAPSES_A_YEAR = 0.5            # untreated, at mean frailty [assume]
AGES = (18.0, 50.0)              # AFFIRM's entry (Polman 2006, NEJM 354:899) [paper]: and a relapse in the year before
YEARS = 2.0
SMALLEST_ML = 0.003
# Over two years, AFFIRM [paper]: new or enlarging T2 lesions, enhancing lesions at the yearly scans, T2 volume (%).
AFFIRM = {"none": 11.0, "high": 1.9}
ENHANCING = {"none": 2.4, "high": 0.2}
VOLUME_PERCENT = {"none": 8.8, "high": -9.4}


class Followed(NamedTuple):
    """What two years bring to one person of an arm."""

    enhancing: int               # at the scans of one and two years
    volume_percent: float        # change of the lesion volume


def entered(random: np.random.Generator, people: int, treatment: str) -> np.ndarray:
    """Events a year of each of `people` that enter an arm.

    They come from the natural distribution of age and frailty; those in AGES who had a relapse in the year before
    enter. Relapses and lesions share the frailty, so that a trial's people are more active than others.
    """
    rates = []
    while sum(map(len, rates)) < people:
        age = plans.natural_age(random, people)
        frailty = course.frailty(random, people)
        enters = (age >= AGES[0]) & (age <= AGES[1]) & (random.poisson(RELAPSES_A_YEAR * frailty) > 0)
        rates.append(course.events_a_year(age[enters], treatment, "RRMS") * frailty[enters])
    return np.concatenate(rates)[:people]


def arm(random: np.random.Generator, people: int, treatment: str, years: float = YEARS) -> np.ndarray:
    """New or enlarging lesions of each person of an arm over `years`."""
    return course.events(random, entered(random, people, treatment), years)


def followed(random: np.random.Generator, people: int, treatment: str) -> list[Followed]:
    """Each person of an arm, lesion by lesion."""
    newborn, found = partial(plans.newborn, voxel_ml=SMALLEST_ML), []
    for rate in entered(random, people, treatment).tolist():
        there = course.recent(random, plans.natural_lesions(random, *plans.natural_load(random)), rate, "none")
        lesions = course.lives(random, there, YEARS, rate, treatment, newborn)
        enhancing = sum(lesion.enhances(years) for lesion in lesions for years in (1.0, 2.0))
        first, last = (sum(lesion.volume_ml * lesion.share(years) for lesion in lesions) for years in (0.0, YEARS))
        found.append(Followed(enhancing, 100 * (last / first - 1)))
    return found
