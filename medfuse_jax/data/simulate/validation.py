"""Is the simulated cohort what was measured in patients? Each quantity beside its target, from labels alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from medfuse_jax.data import definitions, grid, labels
from medfuse_jax.data.findings import REGIONS
from medfuse_jax.data.simulate import change, images, sites
from medfuse_jax.data.simulate.person import CohortSettings, State, states, whole
from medfuse_jax.data.simulate.rows import Row, gathered, row
from medfuse_jax.metrics import agreement

PEAK_MM = 2.0
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
    jacobian: float                    # least determinant of the head's map: above 0 nothing folds
    marked: np.ndarray                 # flat voxels of grid.standard(PEAK_MM) that lesions fill by more than a half

    @property
    def load_ml(self) -> float:
        """Total lesion volume."""
        return float(self.lesions[:, 0].sum()) / 1000


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
    return Person(found.sex, found.age, found.phenotype, found.edss, table, volumes, state.anatomy.smallest_jacobian,
                  _marked(state))


def _marked(state: State) -> np.ndarray:
    """The lesions on the grid that all heads share."""
    spacing = state.anatomy.spacing
    full = whole(state.mask, state.anatomy.low, spacing)
    return np.flatnonzero(images.block_mean(full, max(1, round(PEAK_MM / spacing))) > 0.5).astype(np.int32)


# Mean, and one standard deviation, of left and right, adults; ventricles half of the older adults' at 40 years.
STRUCTURES = {"thalamus": (14.3, 2.2), "caudate": (7.3, 1.2), "putamen": (10.2, 1.7), "lateral_ventricle": (20.5, 12.5),
              "cerebral_cortex": (452.0, 74.0), "cerebral_white_matter": (436.0, 49.0), "whole_brain": (1099.0, 141.0)}

OF_MEAN, OF_SPREAD = 0.8, (0.62, 2.45)         # 1.96 / sqrt(6), and from chi-squared with five degrees of freedom

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


def cross_section(people: Sequence[Person], seed: int) -> list[Row]:
    """The rows of lesions (patients) and of structures (everyone: atrophy included).

    Tolerances of structures are the 95 % intervals of a mean and of a spread that six label maps leave.
    """
    patients = [person for person in people if person.phenotype != "control"]
    found = [row(name, "data", low, high, patients, statistic, seed) for name, low, high, statistic in LESIONS]
    found.append(row("least Jacobian determinant of a head's map", "assume", 0.1, 1.0, people,
                     lambda some: min(one.jacobian for one in some), seed))
    for name, (mean, spread) in STRUCTURES.items():
        def volumes(some: Sequence[Person], name: str = name) -> np.ndarray:
            return np.array([one.structures_ml[name] for one in some])

        said, error = name.replace("_", " "), OF_MEAN * spread
        found.append(row(f"{said}, mean (ml)", "data", mean - error, mean + error, people,
                         lambda some, volumes=volumes: float(volumes(some).mean()), seed))
        low, high = (factor * spread for factor in OF_SPREAD)
        found.append(row(f"{said}, standard deviation (ml)", "data", low, high, people,
                         lambda some, volumes=volumes: float(volumes(some).std(ddof=1)), seed))
    return found


def validate(settings: CohortSettings, jobs: int = 1, rate_people: int = change.RATE_PEOPLE) -> list[Row]:
    """All rows: lesions and structures of natural people of `settings`, how people change, trial arms, intensities."""
    people = gathered(partial(look, settings.seed, settings), settings, jobs, "labels of people")
    return cross_section(people, settings.seed) + change.rows(settings, rate_people, jobs)
