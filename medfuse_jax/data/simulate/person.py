"""A simulated person, whole: anatomy, visits, images and the findings that were measured on them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from medfuse_jax.data import grid, labels
from medfuse_jax.data.definitions import FLUID, SMALLEST_LESION_MM3, black_hole
from medfuse_jax.data.findings import Findings
from medfuse_jax.data.simulate import acquisition, images, label_maps, lesion_masks, plans, randomise, sites
from medfuse_jax.data.simulate.anatomy import CROP_MM, TEMPLATE_SHRINK, Head, head, to_voxels
from medfuse_jax.data.simulate.atrophy import Brain, brain, healthy
from medfuse_jax.data.simulate.lesions import Placed, place
from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics import biomarkers

SIMULATOR_VERSION = 8
FINEST_WORKING_MM = 1.0
GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class CohortSettings:
    """What a simulated cohort is; equal settings make equal cohorts, bit for bit, whatever the number of jobs."""

    subjects: int = 20
    visits: int = 3
    spacing: float = 2.0                  # mm
    seed: int = 0
    counterfactual: bool = True           # visits of command people are independent states of one anatomy
    natural_fraction: float = 0.5         # the others follow the command mixture
    refine: int = 2                       # working voxels along an edge of a voxel, where that is 1 mm or more
    label_maps: str | None = None         # folder of whole-brain label maps that people are made of, not the template
    lesion_masks: str | None = None       # folder of real lesion masks that natural people's lesions are drawn from
    cortical_coupling: float = 1.0        # of plans.CORTICAL_COUPLING: cortical lesions and deep grey atrophy
    gadolinium: float = 0.0               # share of visits with T1w after gadolinium
    missing: float = 0.0                  # share of contrasts left out, FLAIR less often; one stays at least
    randomise: float = 0.0                # share of visits of randomised domains

    def __post_init__(self):
        for name in ("subjects", "visits", "refine"):
            if getattr(self, name) < 1:
                raise MedFuseError(f"{name}={getattr(self, name)}: at least 1 is needed")
        for name in ("gadolinium", "missing", "randomise"):
            if not 0 <= getattr(self, name) <= 1:
                raise MedFuseError(f"{name}={getattr(self, name)}: a share from 0 to 1 is needed")
        if self.spacing < 0.5 or CROP_MM % self.spacing:
            raise MedFuseError(f"spacing={self.spacing:g}: take 1, 2, 4 or 8 mm (divisors of 8, at least 0.5)")
        if self.label_maps is not None:
            label_maps.found(self.label_maps)
        if self.lesion_masks is not None:
            lesion_masks.found(self.lesion_masks)

    @property
    def factor(self) -> int:
        """How many working voxels lie along the edge of a voxel."""
        return self.refine if self.spacing / self.refine >= FINEST_WORKING_MM else 1

    @property
    def working_mm(self) -> float:
        """Side of a working voxel: where anatomy and lesions are drawn and findings measured."""
        return self.spacing / self.factor


@dataclass(frozen=True)
class Visit:
    """One visit on grid.standard(spacing): what was seen, and the truth behind it."""

    structures: np.ndarray                # uint8 classes (x, y, z)
    lesions: np.ndarray                   # float32 (x, y, z): fraction of the voxel that is lesion
    images: np.ndarray                    # float32 (x, y, z, 4): labels.CONTRASTS, brain median 1, background 0
    clean: np.ndarray                     # float32, as images: of the same voxels, no noise, ghosts or bias field
    findings: Findings                    # measured on the working grid
    date_years: float
    counterfactual: bool                  # a state of the same anatomy, not a later date
    present: tuple[str, ...]              # of labels.CONTRASTS; the images of the others are 0


def is_natural(index: int, settings: CohortSettings) -> bool:
    """Whether the person of this index follows the natural distribution; evenly mixed over the indices."""
    return (index * GOLDEN) % 1.0 < settings.natural_fraction


def plan(seed: int, index: int, settings: CohortSettings) -> list[plans.VisitPlan]:
    """What will happen to a person: no image is drawn."""
    real = settings.lesion_masks
    return plans.visits(np.random.default_rng([seed, index, 0]), settings.visits, natural=is_natural(index, settings),
                        counterfactual=settings.counterfactual, voxel_ml=settings.working_mm**3 / 1000,
                        real=None if real is None else lesion_masks.measured(real).of_one,
                        coupling=settings.cortical_coupling)


class State(NamedTuple):
    """The truth of one visit on the head's box, before any image."""

    anatomy: Head
    body: Brain
    looks: list[images.Look]              # of the lesions that this visit sees
    mask: np.ndarray                      # bool (x, y, z)
    findings: Findings


def states(seed: int, index: int, settings: CohortSettings) -> Iterator[State]:
    """The visits of one person as labels alone: anatomy, lesions, findings."""
    visits = plan(seed, index, settings)
    source = label_maps.chosen(settings.label_maps, seed, index)
    anatomy = head(np.random.default_rng([seed, index, 1]), visits[0].covariates.sex, settings.working_mm, source)
    likely, plain = likelihood(anatomy, settings), healthy(anatomy)
    apart, placed, earlier = independent(index, settings), None, None
    for visit in visits:
        who = visit.covariates
        body = brain(anatomy, who.age, who.sex, visit.deviation, plain)
        if placed is None or apart:
            placed = place(visit.lesions, body.structures, anatomy.spacing, likely)
        looks = _in_tissue([look(lesion, who.date_years) for lesion in placed], body)
        mask = np.zeros(body.structures.shape, bool)
        for lesion in looks:
            mask[tuple(lesion.voxels.T)] = True
        findings = biomarkers.measure(
            body.structures, mask, anatomy.spacing, age=who.age, sex=who.sex,
            earlier=None if earlier is None or apart else (earlier[0], earlier[1], who.date_years - earlier[2]),
            source="simulated", phenotype=who.phenotype, treatment=who.treatment, edss=who.edss,
            disease_duration_years=who.disease_duration_years, date_years=who.date_years, contrasts=images.SHOWN)
        yield State(anatomy, body, looks, mask, findings)
        earlier = body.structures, mask, who.date_years


def likelihood(anatomy: Head, settings: CohortSettings) -> np.ndarray:
    """How likely lesions are at the voxels of the head's box, float32 (x, y, z)."""
    points = anatomy.nodes if anatomy.atlas.own else sites.true_size(anatomy.nodes, TEMPLATE_SHRINK)
    real = settings.lesion_masks
    at_nodes = sites.likelihood(points) if real is None else lesion_masks.measured(real).likelihood(points)
    return to_voxels(at_nodes[None], anatomy)[0]


def look(lesion: Placed, years: float) -> images.Look:
    """A lesion as a visit at this date sees it."""
    plan = lesion.plan
    return images.Look(lesion.at(years), plan.darkness if plan.old(years) else 0.0, plan.enhances(years),
                       plan.visibility)


def independent(index: int, settings: CohortSettings) -> bool:
    """Whether a person's visits are independent states of one anatomy, not dates of one life."""
    return settings.counterfactual and not is_natural(index, settings)


def simulate_person(seed: int, index: int, settings: CohortSettings) -> list[Visit]:
    """All visits of one person, from a seed and the person's index and nothing else."""
    apart = independent(index, settings)
    return [_seen(state.anatomy, state.body, state.looks, state.mask, state.findings, settings, apart,
                  np.random.default_rng([seed, index, 2, number]))
            for number, state in enumerate(states(seed, index, settings))]


def _in_tissue(lesions: list[images.Look], body: Brain) -> list[images.Look]:
    """Without voxels that have become ventricle or CSF since the lesion was placed."""
    fluid = np.zeros(256, bool)
    fluid[np.r_[0, FLUID]] = True
    return [lesion._replace(voxels=lesion.voxels[~fluid[body.structures[tuple(lesion.voxels.T)]]])
            for lesion in lesions]


def _signs(findings: Findings, looks: list[images.Look], spacing: float, present: tuple[str, ...]) -> Findings:
    """Findings of the contrasts that there are: black holes need a T1w, enhancement one after gadolinium."""
    there = [(one, len(one.voxels) * spacing**3) for one in looks]
    there = [(one, mm3) for one, mm3 in there if mm3 >= SMALLEST_LESION_MM3]
    holes = sum(black_hole(one.darkness, mm3, one.visibility) for one, mm3 in there) if "T1w" in present else None
    enhancing = sum(one.enhancing for one, _ in there) if labels.CONTRASTS[images.GADOLINIUM] in present else None
    return replace(findings, contrasts=present, black_hole_count=holes, enhancing_count=enhancing)


def _seen(anatomy: Head, body: Brain, lesions: list[images.Look], mask: np.ndarray, findings: Findings,
          settings: CohortSettings, counterfactual: bool, random: np.random.Generator) -> Visit:
    """Draw the contrasts of a visit on the working grid, and scan each of them on the grid asked for."""
    factor, box = settings.factor, grid.standard(settings.spacing)
    low, structures = anatomy.low // factor, majority(body.structures, factor)
    part = tuple(slice(a, a + n) for a, n in zip(low, structures.shape, strict=True))
    inside = structures > 0
    present = images.present(random, settings.gadolinium, settings.missing)
    channels = [labels.CONTRASTS.index(name) for name in present]
    randomised = random.random() < settings.randomise
    look = (randomise if randomised else images).appearance(random)
    seen, clean = (np.zeros((*box.shape, len(labels.CONTRASTS)), np.float32) for _ in range(2))
    drawn = images.ideal(body.structures, body.texture, lesions, look, anatomy.spacing, random, channels)
    for name, channel, fine in zip(present, channels, drawn, strict=True):
        how = randomise.protocol(random) if randomised else acquisition.protocol(name, random)
        scan = acquisition.acquire(fine, inside, anatomy.spacing, settings.spacing, how, random,
                                   gamma=float(look.gamma[channel]))
        seen[(*part, channel)], clean[(*part, channel)] = scan.seen, scan.clean
    shown = images.block_mean(mask, factor).astype(np.float32)
    return Visit(whole(structures, low, settings.spacing), whole(shown, low, settings.spacing), seen, clean,
                 _signs(findings, lesions, anatomy.spacing, present), findings.date_years, counterfactual, present)


def whole(values: np.ndarray, low: np.ndarray, spacing: float) -> np.ndarray:
    """What fills a head's box, from voxel `low` of grid.standard(spacing) on, on all of that grid: 0 around it."""
    full = np.zeros(grid.standard(spacing).shape, values.dtype)
    full[tuple(slice(a, a + n) for a, n in zip(low, values.shape, strict=True))] = values
    return full


def majority(classes: np.ndarray, factor: int) -> np.ndarray:
    """The most frequent class in blocks of factor^3 voxels; the smaller class where two are equally frequent."""
    if factor == 1:
        return classes
    x, y, z = (n // factor for n in classes.shape)
    blocks = classes.reshape(x, factor, y, factor, z, factor).transpose(1, 3, 5, 0, 2, 4).reshape(factor**3, x, y, z)
    best, most = blocks.min(axis=0), np.zeros((x, y, z), np.uint8)
    for candidate in blocks:
        votes = (blocks == candidate).sum(axis=0, dtype=np.uint8)
        better = (votes > most) | ((votes == most) & (candidate < best))
        best, most = np.where(better, candidate, best), np.maximum(votes, most)
    return best
