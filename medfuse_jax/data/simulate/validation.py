"""Is the simulated cohort what was measured in patients? Each quantity beside its target, from labels alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from medfuse_jax.data import definitions, grid, labels
from medfuse_jax.data.findings import REGIONS
from medfuse_jax.data.simulate import images, sites, trials
from medfuse_jax.data.simulate.cohort import drawn
from medfuse_jax.data.simulate.person import CohortSettings, State, states
from medfuse_jax.metrics import agreement, interval
from medfuse_jax.progress import Progress

PEAK_MM = 2.0
TRIAL_PEOPLE, RATE_PEOPLE, RATE_MM = 10_000, 1000, 2.0
LARGE_MM3 = 1000.0


@dataclass(frozen=True)
class Person:
    """What is kept of one person: nothing that is as large as an image."""

    sex: str
    age: float
    phenotype: str
    edss: float
    lesions: np.ndarray                # n x (mm3, region, left)
    structures_ml: dict[str, float]
    marked: np.ndarray                 # flat voxels of grid.standard(PEAK_MM) that lesions fill by more than a half

    @property
    def load_ml(self) -> float:
        """Total lesion volume."""
        return float(self.lesions[:, 0].sum()) / 1000


class Row(NamedTuple):
    """One quantity: what it should be, and what it is with its 95 % interval over people."""

    quantity: str
    source: str                        # of science.md's tables: data, paper, assume
    low: float
    high: float
    value: float
    interval: tuple[float, float]
    people: int

    @property
    def inside(self) -> bool:
        """Whether the value lies in its tolerance."""
        return self.low <= self.value <= self.high


def look(seed: int, settings: CohortSettings, index: int) -> Person:
    """The first visit of a person, measured."""
    state = next(states(seed, index, settings))
    spacing, found = state.anatomy.spacing, state.findings
    labelled, count = definitions.components(state.mask, spacing)
    voxels = np.argwhere(labelled)
    number = labelled[tuple(voxels.T)] - 1
    sizes = np.bincount(number, minlength=count)
    right = labels.right_side(state.body.structures, state.mask.shape, np.diag([spacing, spacing, spacing, 1.0]))
    right_share = np.bincount(number, weights=right[tuple(voxels.T)], minlength=count) / np.maximum(sizes, 1)
    regions = [REGIONS.index(name) for name in definitions.regions(labelled, state.body.structures, spacing)]
    table = np.stack([sizes * spacing**3, np.array(regions, float), right_share < 0.5], axis=1) if count \
        else np.zeros((0, 3))
    voxels_of = definitions.voxel_counts(state.body.structures)
    volumes = {name: voxels_of[definitions.classes_of(name)].sum() * spacing**3 / 1000 for name in STRUCTURES}
    return Person(found.sex, found.age, found.phenotype, found.edss, table, volumes, _marked(state))


def _marked(state: State) -> np.ndarray:
    """The lesions on the grid that all heads share."""
    spacing = state.anatomy.spacing
    full = np.zeros(grid.standard(spacing).shape, bool)
    full[tuple(slice(a, a + n) for a, n in zip(state.anatomy.low, state.mask.shape, strict=True))] = state.mask
    return np.flatnonzero(images.block_mean(full, max(1, round(PEAK_MM / spacing))) > 0.5).astype(np.int32)


# Mean, and one standard deviation, of left and right, adults; ventricles half of the older adults' at 40 years.
STRUCTURES = {"thalamus": (14.3, 2.2), "caudate": (7.3, 1.2), "putamen": (10.2, 1.7), "lateral_ventricle": (20.5, 12.5),
              "cerebral_cortex": (452.0, 74.0), "cerebral_white_matter": (436.0, 49.0), "whole_brain": (1099.0, 141.0)}

Statistic = Callable[[Sequence[Person]], float]


def loads(people: Sequence[Person]) -> np.ndarray:
    """Lesion volumes, ml."""
    return np.array([person.load_ml for person in people])


def counts(people: Sequence[Person]) -> np.ndarray:
    """Numbers of lesions."""
    return np.array([len(person.lesions) for person in people])


def pooled(people: Sequence[Person]) -> np.ndarray:
    """All lesions of all people: n x (mm3, region, left)."""
    return np.concatenate([person.lesions for person in people])


def share(of_volume: bool, chosen: Callable[[np.ndarray], np.ndarray]) -> Statistic:
    """Share of the count, or of the volume, of all lesions that are chosen."""
    def of(people: Sequence[Person]) -> float:
        every = pooled(people)
        weight = every[:, 0] if of_volume else np.ones(len(every))
        return float(weight[chosen(every)].sum() / weight.sum())
    return of


def within(region: str) -> Callable[[np.ndarray], np.ndarray]:
    """Lesions of a region."""
    return lambda every: every[:, 1] == REGIONS.index(region)


def tail(people: Sequence[Person]) -> float:
    """Exponent of the Pareto-like tail of sizes above 100 mm3 (maximum likelihood, Hill 1975)."""
    sizes = pooled(people)[:, 0]
    return float(1 / np.mean(np.log(sizes[sizes > 100] / 100)))


def large_beside(people: Sequence[Person]) -> float:
    """Of lesions above 1 ml, the share beside the ventricles."""
    every = pooled(people)
    large = every[every[:, 0] > LARGE_MM3]
    return float(within("periventricular")(large).mean())


def probability(people: Sequence[Person]) -> np.ndarray:
    """The share of people that have a lesion at each voxel of the shared grid."""
    box = grid.standard(PEAK_MM)
    counted = np.bincount(np.concatenate([person.marked for person in people]), minlength=int(np.prod(box.shape)))
    return counted.reshape(box.shape) / len(people)


def peak_mm(people: Sequence[Person]) -> np.ndarray:
    """Where that share is largest, mm."""
    found, affine = probability(people), grid.standard(PEAK_MM).affine
    return affine[:3, :3] @ np.unravel_index(found.argmax(), found.shape) + affine[:3, 3]


def from_body(people: Sequence[Person]) -> float:
    """How far the peak lies from the bed beside the body of the left or the right ventricle, mm."""
    x, y, z = peak_mm(people)
    return float(np.linalg.norm(np.array([abs(x), y, z]) - sites.BEDS[0][0]))


LESIONS: tuple[tuple[str, float, float, Statistic], ...] = (
    ("lesion volume, median (ml)", 8, 20, lambda people: float(np.median(loads(people)))),
    ("lesion volume, p10 (ml)", 0.6, 2, lambda people: float(np.percentile(loads(people), 10))),
    ("lesion volume, p90 (ml)", 32, 52, lambda people: float(np.percentile(loads(people), 90))),
    ("lesion count, median", 50, 100, lambda people: float(np.median(counts(people)))),
    ("lesion count, p10", 10, 30, lambda people: float(np.percentile(counts(people), 10))),
    ("lesion count, p90", 150, 290, lambda people: float(np.percentile(counts(people), 90))),
    ("lesion count, variance / mean", 50, 120, lambda people: float(counts(people).var() / counts(people).mean())),
    ("rank correlation of count and volume", 0.55, 0.85,
     lambda people: agreement.spearman(counts(people), loads(people))),
    ("size of a lesion, median (mm3)", 15, 30, lambda people: float(np.median(pooled(people)[:, 0]))),
    ("lesions below 10 mm3, share of count", 0.15, 0.35, share(False, lambda every: every[:, 0] < 10)),
    ("lesions below 100 mm3, share of count", 0.80, 0.92, share(False, lambda every: every[:, 0] < 100)),
    ("lesions above 1 ml, share of count", 0.01, 0.03, share(False, lambda every: every[:, 0] > LARGE_MM3)),
    ("lesions above 1 ml, share of volume", 0.65, 0.75, share(True, lambda every: every[:, 0] > LARGE_MM3)),
    ("exponent of the tail of sizes", 0.7, 1.0, tail),
    ("periventricular, share of count", 0.10, 0.25, share(False, within("periventricular"))),
    ("periventricular, share of volume", 0.70, 0.80, share(True, within("periventricular"))),
    ("periventricular, of lesions above 1 ml", 0.88, 0.98, large_beside),
    ("juxtacortical, share of count", 0.35, 0.50, share(False, within("juxtacortical"))),
    ("juxtacortical, share of volume", 0.10, 0.18, share(True, within("juxtacortical"))),
    ("infratentorial, share of count", 0.05, 0.09, share(False, within("infratentorial"))),
    ("infratentorial, share of volume", 0.02, 0.04, share(True, within("infratentorial"))),
    ("deep grey, share of count", 0.01, 0.02, share(False, within("deep_grey"))),
    ("left, share of count", 0.48, 0.54, share(False, lambda every: every[:, 2] > 0)),
    # 17 of 30 people: the interval of that share is the tolerance.
    ("peak of the probability of a lesion", 0.39, 0.73, lambda people: float(probability(people).max())),
    ("that peak, from the ventricle's body (mm)", 0, 10, from_body),
    ("women, share of people", 0.70, 0.83, lambda people: float(np.mean([one.sex == "F" for one in people]))),
    ("age, median (years)", 35, 43, lambda people: float(np.median([one.age for one in people]))),
    ("EDSS, median", 1.5, 2.5, lambda people: float(np.median([one.edss for one in people]))),
    ("rank correlation of EDSS and volume", 0.25, 0.50,
     lambda people: agreement.spearman([one.edss for one in people], loads(people))),
)


def row(name: str, source: str, low: float, high: float, people: Sequence[Any], statistic: Callable[[Sequence], float],
        seed: int, draws: int = 200) -> Row:
    """A quantity of some people with its bootstrap interval over them."""
    places = np.arange(len(people))
    ends = interval.bootstrap(places, lambda some: statistic([people[int(place)] for place in some]), draws, seed)
    return Row(name, source, low, high, float(statistic(people)), ends, len(people))


def cross_section(people: Sequence[Person], seed: int) -> list[Row]:
    """The rows of lesions (patients) and of structures (everyone: atrophy included)."""
    patients = [person for person in people if person.phenotype != "control"]
    found = [row(name, "data", low, high, patients, statistic, seed) for name, low, high, statistic in LESIONS]
    for name, (mean, spread) in STRUCTURES.items():
        found.append(row(f"{name.replace('_', ' ')}, mean (ml)", "data", mean - spread, mean + spread, people,
                         lambda some, name=name: float(np.mean([one.structures_ml[name] for one in some])), seed))
    return found


def arms(seed: int) -> list[Row]:
    """Trial arms: events only."""
    found = []
    for number, (treatment, target) in enumerate(trials.AFFIRM.items()):
        counted = trials.arm(np.random.default_rng([seed, 3, number]), TRIAL_PEOPLE, treatment)
        found.append(row(f"new lesions in two years, treatment {treatment}", "paper", 0.9 * target, 1.1 * target,
                         counted, np.mean, seed))
    return found


def thalamus_percent(seed: int, settings: CohortSettings, index: int) -> tuple[str, float]:
    """Phenotype, and change of the thalamus a year between the moved label maps of two visits."""
    first, last = states(seed, index, settings)
    classes, years = definitions.classes_of("thalamus"), last.findings.date_years - first.findings.date_years
    before, after = (definitions.voxel_counts(one.body.structures)[classes].sum() for one in (first, last))
    return first.findings.phenotype, definitions.annualised_percent(before, after, years)


# Percent a year: interval of patients and of controls (Azevedo 2018).
THALAMUS = {"MS": (-0.77, -0.64), "controls": (-0.58, 0.02)}


def thalamus(seed: int, people: int, jobs: int) -> list[Row]:
    """The thalamus' rate, measured on labels that moved: mean of patients, and of controls."""
    settings = CohortSettings(subjects=people, visits=2, spacing=RATE_MM, seed=seed, natural_fraction=1.0, refine=1)
    rates = gathered(partial(thalamus_percent, seed, settings), settings, jobs, "thalamus of people over time")
    found = []
    for group, (low, high) in THALAMUS.items():
        values = [rate for phenotype, rate in rates if (phenotype == "control") == (group == "controls")]
        found.append(row(f"thalamus, {group} (% a year)", "paper", low, high, values, np.mean, seed))
    return found


def gathered(measure: partial, settings: CohortSettings, jobs: int, name: str) -> list[Any]:
    """One measurement of each person, by `jobs` processes, with progress."""
    found = []
    with Progress(f"{name}, {settings.spacing:g} mm", settings.subjects, "person") as told:
        for one in drawn(measure, settings.subjects, min(jobs, settings.subjects)):
            found.append(one)
            told.tell(len(found))
    return found


def validate(subjects: int, seed: int = 0, jobs: int = 1, spacing: float = 1.0,
             rate_people: int = RATE_PEOPLE) -> list[Row]:
    """All rows: lesions and structures of `subjects` natural people, trial arms, and rates of the thalamus."""
    settings = CohortSettings(subjects=subjects, visits=1, spacing=spacing, seed=seed, natural_fraction=1.0, refine=1)
    people = gathered(partial(look, seed, settings), settings, jobs, "labels of people")
    return cross_section(people, seed) + arms(seed) + thalamus(seed + 1, rate_people, jobs)


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| quantity | target | simulated | 95 % interval | people | inside |", "|---|---|---|---|---|---|"]
    for one in rows:
        low, high = one.interval
        cells = (one.quantity, f"{one.low:.3g} to {one.high:.3g}", f"{one.value:.3g}", f"{low:.3g} to {high:.3g}",
                 one.people, "yes" if one.inside else "**no**")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
