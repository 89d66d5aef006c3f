"""How multiple sclerosis goes on: lesions are born, enlarge and fade, disability grows, and treatment slows all of it.

The same events make the images of a cohort and the arms of a simulated trial (`trials`).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from medfuse_jax.data.simulate.life import Planned

# New or enlarging lesions a year, untreated RRMS at 38 years, mean over people: calibrated on AFFIRM's untreated arm.
EVENTS_A_YEAR = 2.08
ACTIVITY = {"CIS": 0.7, "RRMS": 1.0, "SPMS": 0.5, "PPMS": 0.4}                # of events, beside RRMS [assume]
RATE_RATIO = {"none": 1.0, "moderate": 0.5, "high": 0.17}      # moderate [assume], high: AFFIRM [paper]
AGE_DECAY, FRAILTY_SHAPE, QUIET = 0.03, 0.8, 0.3       # a year; gamma shape; share without any [assume]
ENLARGING, ENLARGED, LEAST_ENLARGING_ML = 0.15, 1.5, 0.03      # share of events, by how much, of which lesions [assume]
NEW_MEDIAN_MM3, NEW_SIGMA = 60.0, 0.9                  # [assume]
SAME_REGION = 0.6                                      # of new lesions, where an old one lies (Pongratz 2023) [assume]
MOST_EVENTS = 120
# A barrier stays open for so long: 2.4 (0.2) enhancing lesions at two yearly scans beside 11.0 (1.9) events (AFFIRM).
LEAKS_YEARS = {"none": 0.25, "moderate": 0.19, "high": 0.13}
# Log volume of old lesions a year, mean and spread over people: T2 volume of AFFIRM's arms, with the new ones [paper].
DRIFT_OF_LOAD, DRIFT_SPREAD = {"none": 0.0, "moderate": -0.02, "high": -0.060}, 0.03
# New cortical lesions a year at 7T (Treaba 2019 [paper]; PPMS, CIS [assume]), and how many a mask at 3T shows [assume].
CORTICAL_A_YEAR, SEEN_AT_3T = {"CIS": 0.6, "RRMS": 1.1, "SPMS": 3.6, "PPMS": 2.0}, 0.15
CORTICAL_MEDIAN_MM3 = 25.0                             # [assume]
# Steps of half an EDSS point a year, untreated, and what treatment leaves of them [assume].
STEPS_A_YEAR = {"CIS": 0.05, "RRMS": 0.15, "SPMS": 0.4, "PPMS": 0.4}
STEPS_RATIO = {"none": 1.0, "moderate": 0.8, "high": 0.55}
ATROPHY_RATIO = {"none": 1.1, "moderate": 1.0, "high": 0.85}   # of what is lost beyond age [assume]
# Of what is lost beyond age, by phenotype: the order of Eshaghi 2018; the thalamus' rate is constant (Azevedo 2018).
PHENOTYPE_RATIO = {"CIS": 0.7, "RRMS": 1.0, "SPMS": 1.15, "PPMS": 1.2, "control": 0.0}


def frailty(random: np.random.Generator, people: int | None = None) -> float | np.ndarray:
    """How active the disease of a person is beside the mean of 1: none at all in a share QUIET, else gamma."""
    active = random.random(people) >= QUIET
    return active * random.gamma(FRAILTY_SHAPE, 1 / (FRAILTY_SHAPE * (1 - QUIET)), people)


def events_a_year(age: float | np.ndarray, treatment: str, phenotype: str) -> float | np.ndarray:
    """Expected new or enlarging lesions a year at frailty 1: fewer with age and under treatment."""
    return EVENTS_A_YEAR * ACTIVITY[phenotype] * np.exp(-AGE_DECAY * (age - 38)) * RATE_RATIO[treatment]


def events(random: np.random.Generator, rate: float | np.ndarray, years: float) -> int | np.ndarray:
    """How many events a rate makes in some years."""
    drawn = np.minimum(random.poisson(rate * years), MOST_EVENTS)
    return drawn if np.ndim(drawn) else int(drawn)


def leak(random: np.random.Generator, treatment: str) -> float:
    """Years for which a new lesion takes up gadolinium."""
    return LEAKS_YEARS[treatment] * float(random.gamma(4, 0.25))


def recent(random: np.random.Generator, lesions: list[Planned], rate: float, treatment: str) -> list[Planned]:
    """The lesions of a first visit, of which as many as a rate makes in a year were born in the year before."""
    young = [place for place, lesion in enumerate(lesions) if lesion.volume_ml < 1.0]
    born = random.permutation(young)[:events(random, rate, 1.0)].tolist()
    aged = list(lesions)
    for place in born:
        aged[place] = replace(lesions[place], birth_years=-float(random.uniform(0, 1)),
                              leaks_years=leak(random, treatment), remains=float(random.uniform(0.5, 1.0)))
    return aged


def lives(random: np.random.Generator, lesions: list[Planned], years: float, rate: float, treatment: str,
          newborn: Callable[[np.random.Generator, list[Planned], float, float], Planned]) -> list[Planned]:
    """All lesions that a person has or will get until `years` after the first visit.

    rate: events a year. newborn: draws a lesion, given those that there are, its birth (years) and how long it leaks.
    """
    drift = DRIFT_OF_LOAD[treatment] + DRIFT_SPREAD * float(random.standard_normal())
    number = events(random, rate, years)
    large = [place for place, lesion in enumerate(lesions) if lesion.volume_ml >= LEAST_ENLARGING_ML]
    again = random.permutation(large)[:int(random.binomial(number, ENLARGING))].tolist()
    aged = []
    for place, lesion in enumerate(lesions):
        if place in again:
            life = {"enlarges_years": float(random.uniform(0.05, years)), "volume_ml": lesion.volume_ml * ENLARGED}
        else:
            life = {"drift": drift, "until_years": years, "volume_ml": lesion.volume_ml * np.exp(max(drift, 0) * years)}
        aged.append(replace(lesion, **life))
    for _ in range(number - len(again)):
        aged.append(newborn(random, aged, float(random.uniform(0.05, years)), leak(random, treatment)))
    return aged


def steps(random: np.random.Generator, dates: list[float], phenotype: str, treatment: str) -> list[float]:
    """How many EDSS points were lost at each date since the first, in halves."""
    lost, before = [], 0
    for since in np.diff(dates, prepend=dates[0]).tolist():
        before += int(random.poisson(STEPS_A_YEAR.get(phenotype, 0.0) * STEPS_RATIO[treatment] * since))
        lost.append(before / 2)
    return lost


def loss_ratio(structure: str, phenotype: str, treatment: str) -> float:
    """What phenotype and treatment make of the loss beyond age."""
    by_phenotype = float(phenotype != "control") if structure == "thalamus" else PHENOTYPE_RATIO[phenotype]
    return by_phenotype * ATROPHY_RATIO[treatment]
