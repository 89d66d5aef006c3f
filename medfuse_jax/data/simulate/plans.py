"""What happens to a person: covariates, lesions and atrophy at each visit, before any voxel is drawn.

Two kinds. Natural: lesion loads, counts, sizes and places as measured in patients, visits that follow in time.
Command: counts, volumes, regions and atrophy grades spread evenly, so that what a sentence asks is inside the range.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from medfuse_jax.data.findings import ATROPHY, REGIONS
from medfuse_jax.data.simulate import course
from medfuse_jax.data.simulate.life import Planned

CONTROLS = 0.15                                        # share of people without disease [assume]
# Lesion load of patients, ml: two log-normal populations (share, median, sigma), clipped [data].
LOADS, LOAD_RANGE_ML = ((1 / 3, 1.2, 0.35), (2 / 3, 21.0, 0.7)), (0.3, 55.0)
COUNT_MEDIAN, COUNT_SIGMA, COUNT_LOAD_CORRELATION = 77.0, 0.95, 0.65     # log-normal; p10 18, p90 218 [data]
SIZE_MEDIAN_MM3, SIZE_SIGMA = 22.0, 1.25               # of lesions below 1 ml [data]
LARGE_SHARE, LARGE_ML = 0.02, 1.0                      # lesions above 1 ml: share of the count; the rest of the volume
# Regions of lesions below 1 ml, chosen so that all lesions meet the measured shares of the count [data].
SMALL_REGIONS = {"infratentorial": 0.07, "periventricular": 0.14, "deep_grey": 0.015, "cortical": 0.03,
                 "juxtacortical": 0.42, "deep_white": 0.325}
OWN_PLACES = 8.0                                       # how alike people are in that: a Dirichlet's total [assume]
LARGE_REGIONS = {"periventricular": 0.93, "infratentorial": 0.025, "deep_white": 0.045}     # above 1 ml [data]
COMMAND_REGIONS = {"infratentorial": 0.13, "periventricular": 0.32, "deep_grey": 0.08, "cortical": 0.10,
                   "juxtacortical": 0.20, "deep_white": 0.17}            # [assume]
COMMAND_COUNTS, COMMAND_ML, COMMAND_NONE = 20, (0.3, 50.0), 0.15
LARGEST_ML = {"infratentorial": 5.0, "periventricular": 30.0, "deep_grey": 2.0, "cortical": 2.0, "juxtacortical": 6.0,
              "deep_white": 5.0}                       # what a region can hold as one lesion [assume]
COMMAND_RECENT = 0.25                                  # of lesions, born in the year before: some enhance [assume]
COMMAND_DEVIATION = (-30.0, 2.0)                       # percent, uniform
CONTROL_DEVIATION = 3.0                                # percent, standard deviation
PATIENT_DEVIATION = dict.fromkeys(ATROPHY, 5.5) | {"whole_brain": 3.0}     # the same, of patients beside their disease
# Change a year beyond what age explains, percent: patients' rate minus controls' (Azevedo 2018 [paper]; rest [assume]).
DRIFT = {"thalamus": -0.43, "caudate": -0.70, "putamen": -0.45, "hippocampus": -0.35, "whole_brain": -0.50}
LOAD_COUPLING = {"thalamus": -0.20, "caudate": -0.18, "putamen": -0.10, "hippocampus": -0.06, "whole_brain": -0.08}
BLACK_HOLES = 0.20               # share of lesions of 0.1 ml that are dark on T1; more of larger ones [assume]
INTRACORTICAL = 0.65             # of cortical lesions; the others are leukocortical (1.3 to 0.7, Treaba 2019) [paper]
# Percent a cortical lesion (Kalinin 2020) [assume], of as many at most.
CORTICAL_COUPLING, MOST_COUPLED = {"thalamus": -0.6, "caudate": -0.5}, 10
PACE_SHAPE = 4.0                 # of the gamma factor of a person's loss, past and future [assume]
ACCELERATION = 0.2               # of atrophy, for a load one standard deviation above the usual one [assume]
PHENOTYPE_SHARES = {"CIS": 0.12, "RRMS": 0.62, "SPMS": 0.16, "PPMS": 0.10}    # [assume]
PROGRESSIVE_AGE, PROGRESSIVE_SPREAD = 45.0, 5.0        # progressive courses come with age: a logistic curve [assume]
EDSS_SHIFT = {"CIS": -1.0, "RRMS": -0.15, "SPMS": 2.5, "PPMS": 2.0}       # points, beside all patients [assume]
EARLY_ML = 5.0                   # a first episode is rare with more lesion than this, frequent with less [assume]


@dataclass(frozen=True)
class Covariates:
    """What is known of a person at a visit without looking at the scan."""

    age: float
    sex: str
    phenotype: str
    treatment: str
    edss: float
    disease_duration_years: float
    date_years: float = 0.0


@dataclass(frozen=True)
class VisitPlan:
    """One visit: who, how much each structure deviates (percent), which lesions there are at its date."""

    covariates: Covariates
    deviation: dict[str, float]
    lesions: list[Planned] = field(default_factory=list)


Drawn = Callable[[np.random.Generator], list[tuple[str, float]]]      # regions and volumes (ml) of a person's lesions


def visits(random: np.random.Generator, number: int, *, natural: bool, counterfactual: bool, voxel_ml: float,
           real: Drawn | None = None, coupling: float = 1.0) -> list[VisitPlan]:
    """A person's visits. Lesions below half of a working voxel (`voxel_ml`) are left out: no grid could show them.

    coupling: how much of CORTICAL_COUPLING natural people have.

    real: draws the lesions of a natural person from those of real patients; None: by the constants here.

    A natural person's visits share one list of lesions, and so do a command person's unless `counterfactual`: then each
    visit is an independent state of the same anatomy, all on date 0.
    """
    if natural:
        return _natural(random, number, voxel_ml, real, coupling)
    sex = "F" if random.random() < 0.6 else "M"
    age = float(np.round(random.uniform(20, 70), 1))
    if counterfactual:
        return [_command(random, age, sex, voxel_ml) for _ in range(number)]
    first = _command(random, age, sex, voxel_ml)
    return _follow(random, first, number, voxel_ml, random.gamma(PACE_SHAPE, 1 / PACE_SHAPE))


# Natural people


def _natural(random: np.random.Generator, number: int, voxel_ml: float, real: Drawn | None,
             coupling: float) -> list[VisitPlan]:
    sex = "F" if random.random() < 23 / 30 else "M"
    age, pace = float(np.round(natural_age(random), 1)), random.gamma(PACE_SHAPE, 1 / PACE_SHAPE)
    if random.random() < CONTROLS:
        deviation = {name: CONTROL_DEVIATION * random.standard_normal() for name in ATROPHY}
        healthy = Covariates(age, sex, "control", "none", 0.0, 0.0)
        return _follow(random, VisitPlan(healthy, deviation), number, voxel_ml, pace)
    if real is None:
        load_ml, count = natural_load(random)
        lesions = natural_lesions(random, load_ml, count)
    else:
        lesions = [_lesion(random, region, volume) for region, volume in real(random)]
        load_ml = sum(lesion.volume_ml for lesion in lesions)
    phenotype = _phenotype(random, age, load_ml)
    years = {"CIS": random.uniform(0, 1), "RRMS": random.gamma(2, 3.5), "SPMS": random.uniform(10, 25),
             "PPMS": random.uniform(2, 15)}[phenotype]
    duration, treatment = float(np.round(min(years, age - 16), 1)), _treatment(random, phenotype)
    cortical = min(sum(lesion.region == "cortical" for lesion in lesions), MOST_COUPLED)
    deviation = {name: float(np.clip(
        PATIENT_DEVIATION[name] * random.standard_normal() + LOAD_COUPLING[name] * load_ml
        + pace * DRIFT[name] * duration * course.loss_ratio(name, phenotype, "moderate")
        + coupling * CORTICAL_COUPLING.get(name, 0.0) * cortical, -35, 8)) for name in ATROPHY}
    who = Covariates(age, sex, phenotype, treatment, edss(random, load_ml, phenotype), duration)
    return _follow(random, VisitPlan(who, deviation, _visible(lesions, voxel_ml)), number, voxel_ml, pace)


def _phenotype(random: np.random.Generator, age: float, load_ml: float) -> str:
    """A course: progressive ones come with age, a first episode with few lesions."""
    grown = 2.5 / (1 + np.exp(-(age - PROGRESSIVE_AGE) / PROGRESSIVE_SPREAD))
    factors = {"CIS": 2.5 if load_ml < EARLY_ML else 0.25, "RRMS": 1.0, "SPMS": grown, "PPMS": grown}
    return str(random.choice(list(factors), p=_shares({name: share * factors[name]
                                                       for name, share in PHENOTYPE_SHARES.items()})))


def natural_age(random: np.random.Generator, people: int | None = None) -> float | np.ndarray:
    """Age at the first visit: median 39, 25 to 64 [data]."""
    return np.clip(39 + 10.5 * random.standard_normal(people), 20, 68)


def natural_load(random: np.random.Generator) -> tuple[float, int]:
    """Total lesion volume (ml) and count of a patient, correlated as measured."""
    low = random.random() < LOADS[0][0]
    _, median, sigma = LOADS[0] if low else LOADS[1]
    z = random.standard_normal()
    load = float(np.clip(median * np.exp(sigma * z), *LOAD_RANGE_ML))
    rank = load_rank(load)
    mixed = COUNT_LOAD_CORRELATION * rank + np.sqrt(1 - COUNT_LOAD_CORRELATION**2) * random.standard_normal()
    return load, int(np.clip(round(COUNT_MEDIAN * np.exp(COUNT_SIGMA * mixed)), 1, 450))


def load_rank(load_ml: float) -> float:
    """How a load lies among patients: about standard normal over the mixture."""
    return float((np.log(max(load_ml, 0.1)) - np.log(12.0)) / 1.4)


def natural_lesions(random: np.random.Generator, load_ml: float, count: int) -> list[Planned]:
    """Many small lesions and few large ones, mostly periventricular, that hold the rest of the volume."""
    small = SIZE_MEDIAN_MM3 / 1000 * np.exp(SIZE_SIGMA * random.standard_normal(count))
    small = np.clip(small, 0.003, LARGE_ML)
    least, most = 1 + (load_ml > 5) + load_ml // 20, max(1, load_ml // LARGE_ML)      # beside both ventricles [assume]
    large_count = int(np.clip(random.poisson(LARGE_SHARE * count), least, most))
    wanted = load_ml * random.uniform(0.62, 0.80) if load_ml > 3 else load_ml * random.uniform(0.2, 0.5)
    small = np.clip(small * (load_ml - wanted) / small.sum(), 0.003, LARGE_ML) if count > large_count else small[:0]
    large = wanted * random.dirichlet(np.full(large_count, 3.0))
    own = random.dirichlet(OWN_PLACES * _shares(SMALL_REGIONS))
    places = random.choice(list(SMALL_REGIONS), size=len(small), p=own)
    plan = [_lesion(random, str(region), volume) for region, volume in zip(places, small, strict=True)]
    places = random.choice(list(LARGE_REGIONS), size=len(large), p=_shares(LARGE_REGIONS))
    return plan + [_lesion(random, str(region), volume) for region, volume in zip(places, large, strict=True)]


def _shares(weights: dict[str, float]) -> np.ndarray:
    return np.array(list(weights.values())) / sum(weights.values())


def _lesion(random: np.random.Generator, region: str, volume_ml: float, **life: float) -> Planned:
    """A lesion of a region; what the region cannot hold goes beside the ventricles."""
    if volume_ml > LARGEST_ML[region]:
        region = "periventricular"
    dark = random.random() < min(BLACK_HOLES * (volume_ml / 0.1) ** 0.2, 0.35)
    faint = region == "cortical" and random.random() < INTRACORTICAL
    return Planned(region, float(volume_ml), seed=int(random.integers(2**31)),
                   darkness=float(random.uniform(0.4, 1.0)) if dark else 0.0,
                   visibility=float(random.uniform(0.2, 0.5)) if faint else 1.0, **life)


def _visible(lesions: list[Planned], voxel_ml: float) -> list[Planned]:
    return [lesion for lesion in lesions if lesion.volume_ml >= voxel_ml / 2]


def edss(random: np.random.Generator, load_ml: float, phenotype: str) -> float:
    """Disability, 0 to 6.5 in halves: median 2, rank correlation with the load 0.38 [data]; more where progressive."""
    mixed = 0.40 * (np.log(max(load_ml, 0.1)) - np.log(9.0)) / 1.35 + 0.92 * random.standard_normal()
    return float(np.clip(round(2 * (2.0 * np.exp(0.6 * mixed) + EDSS_SHIFT[phenotype])) / 2, 0, 6.5))


def _treatment(random: np.random.Generator, phenotype: str) -> str:
    shares = {"CIS": (0.6, 0.3, 0.1), "PPMS": (0.5, 0.1, 0.4)}.get(phenotype, (0.25, 0.4, 0.35))
    return str(random.choice(["none", "moderate", "high"], p=shares))


# In time


def _follow(random: np.random.Generator, first: VisitPlan, number: int, voxel_ml: float,
            pace: float) -> list[VisitPlan]:
    """All visits: irregular dates, lesions that are born, enlarge and fade by treatment, disability, atrophy.

    pace: of the loss beyond age, beside the mean of 1; the person's own, before the first visit too.
    """
    dates = np.concatenate([[0.0], np.cumsum(random.uniform(0.5, 1.6, number - 1))]).round(2).tolist()
    who, ill = first.covariates, first.covariates.phenotype != "control"
    lesions, lost = first.lesions, [0.0] * number
    if ill:
        rate = course.events_a_year(who.age, who.treatment, who.phenotype) * course.frailty(random)
        lesions = course.recent(random, lesions, rate, who.treatment)
        if number > 1:
            drawn = partial(newborn, voxel_ml=voxel_ml)
            lesions = course.lives(random, lesions, dates[-1], rate, who.treatment, drawn)
            lesions += _cortical(random, who, dates[-1], voxel_ml)
        lost = course.steps(random, dates, who.phenotype, who.treatment)
        pace *= 1 + ACCELERATION * np.clip(load_rank(sum(lesion.volume_ml for lesion in first.lesions)), -2, 2)
    found = []
    for date, less in zip(dates, lost, strict=True):
        born = sum(0 < lesion.birth_years <= date for lesion in lesions)
        phenotype = "RRMS" if who.phenotype == "CIS" and born else who.phenotype          # dissemination in time
        later = Covariates(round(who.age + date, 2), who.sex, phenotype, who.treatment, min(who.edss + less, 9.0),
                           round(who.disease_duration_years + date * ill, 2), date)
        drifted = {name: first.deviation[name] + date * pace * DRIFT[name] *
                   course.loss_ratio(name, who.phenotype, who.treatment) for name in ATROPHY}
        found.append(VisitPlan(later, drifted, lesions))
    return found


def newborn(random: np.random.Generator, there: list[Planned], birth_years: float, leaks_years: float,
            voxel_ml: float) -> Planned:
    """A new lesion, more often in a region that has some."""
    region = str(random.choice(list(SMALL_REGIONS), p=_shares(SMALL_REGIONS)))
    if there and random.random() < course.SAME_REGION:
        region = there[int(random.integers(len(there)))].region
    volume = max(course.NEW_MEDIAN_MM3 / 1000 * np.exp(course.NEW_SIGMA * random.standard_normal()), voxel_ml)
    return _lesion(random, region, min(volume, 2.0), birth_years=birth_years, leaks_years=leaks_years,
                   remains=float(random.uniform(0.5, 1.0)))


def _cortical(random: np.random.Generator, who: Covariates, years: float, voxel_ml: float) -> list[Planned]:
    """New cortical lesions: a process of its own, by phenotype."""
    number = random.poisson(course.CORTICAL_A_YEAR[who.phenotype] * course.SEEN_AT_3T * years)
    return [_lesion(random, "cortical", max(course.CORTICAL_MEDIAN_MM3 / 1000 * np.exp(0.6 * random.standard_normal()),
                                            voxel_ml), birth_years=float(random.uniform(0.05, years)))
            for _ in range(int(number))]


# People for commands


def _command(random: np.random.Generator, age: float, sex: str, voxel_ml: float) -> VisitPlan:
    """One state with evenly spread counts, volumes, regions and atrophy."""
    count = 0 if random.random() < COMMAND_NONE else int(random.integers(1, COMMAND_COUNTS + 1))
    deviation = {name: float(random.uniform(*COMMAND_DEVIATION)) for name in ATROPHY}
    if count == 0 and random.random() < 0.5:
        deviation = {name: CONTROL_DEVIATION * random.standard_normal() for name in ATROPHY}
        return VisitPlan(Covariates(age, sex, "control", "none", 0.0, 0.0), deviation)
    # Few lesions cannot hold any volume: 12 ml for the first, less for each one more [assume].
    most = min(COMMAND_ML[1], 12.0 * max(count, 1) ** 0.6)
    load_ml = float(np.exp(random.uniform(np.log(COMMAND_ML[0]), np.log(most)))) if count else 0.0
    # Each person favours some regions, so that "only periventricular" and "no infratentorial" are seen as well.
    favoured = random.dirichlet(6.0 * np.array([COMMAND_REGIONS[name] for name in REGIONS]))
    weights = np.exp(0.8 * random.standard_normal(count))
    volumes = np.maximum(load_ml * weights / weights.sum(), voxel_ml) if count else []
    lesions = [_lesion(random, str(region), volume)
               for region, volume in zip(random.choice(REGIONS, size=count, p=favoured), volumes, strict=True)]
    phenotype = str(random.choice(list(PHENOTYPE_SHARES), p=list(PHENOTYPE_SHARES.values())))
    lesions = course.recent(random, lesions, COMMAND_RECENT * count, "none")
    duration = {"CIS": 0.5, "RRMS": 8.0, "SPMS": 16.0, "PPMS": 8.0}[phenotype] * random.uniform(0.3, 1.7)
    who = Covariates(age, sex, phenotype, _treatment(random, phenotype), edss(random, load_ml, phenotype),
                     round(float(min(duration, age - 16)), 1))
    return VisitPlan(who, deviation, lesions)
