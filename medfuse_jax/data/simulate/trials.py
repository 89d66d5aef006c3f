"""Simulated trial arms: who enters a trial of active relapsing disease, and how many new lesions follow. No image."""

import numpy as np

from medfuse_jax.data.simulate import plans

RELAPSES_A_YEAR = 0.5            # untreated, at mean frailty [assume]
AGES = (18.0, 50.0)              # AFFIRM's entry (Polman 2006, NEJM 354:899) [paper]: and a relapse in the year before
YEARS = 2.0
# New or enlarging T2 lesions over two years, AFFIRM [paper].
AFFIRM = {"none": 11.0, "high": 1.9}


def arm(random: np.random.Generator, people: int, treatment: str, years: float = YEARS) -> np.ndarray:
    """New lesions of each person of an arm over `years`.

    People come from the natural distribution of age and frailty; those in AGES who had a relapse in the year before
    enter. Relapses and new lesions share the frailty, so that a trial's people are more active than others.
    """
    counts = []
    while sum(map(len, counts)) < people:
        age = plans.natural_age(random, people)
        frailty = plans.frailty(random, people)
        enters = (age >= AGES[0]) & (age <= AGES[1]) & (random.poisson(RELAPSES_A_YEAR * frailty) > 0)
        rate = plans.new_lesions_a_year(age[enters], treatment, "RRMS")
        counts.append(random.poisson(rate * frailty[enters] * years))
    return np.concatenate(counts)[:people]
