"""What the words mean: lesion, region, few, mild, new, atrophy. One function each, used by simulator, measurer, parser
and report alike, so that a word commanded is the word measured.

Arrays are (x, y, z) RAS+ of one person's own space; `structures` holds classes of `labels.STRUCTURES` without lesions;
`spacing` is the voxel size in mm, one number or three.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medfuse_jax.data import labels, norms
from medfuse_jax.data.findings import REGIONS, Range, RegionLoad
from medfuse_jax.errors import MedFuseError

Real = norms.Real
Spacing = Real | Sequence[Real] | np.ndarray

LOAD_ML: dict[str, tuple[float, float]] = {       # lesion-load words; at 30 ml exactly still high
    "none": (0.0, 0.0), "minimal": (0.0, 1.0), "mild": (1.0, 5.0), "moderate": (5.0, 15.0), "high": (15.0, 30.0),
    "very_high": (30.0, np.inf),
}
COUNT_WORDS: dict[str, tuple[int, int]] = {       # both ends belong to the word
    "few": (1, 5), "several": (6, 10), "many": (11, 20), "numerous": (21, 100_000),
}
GRADES: dict[str, tuple[float, float]] = {        # deviation from the expected volume, percent
    "none": (-5.0, np.inf), "mild": (-10.0, -5.0), "moderate": (-20.0, -10.0), "severe": (-np.inf, -20.0),
}

SMALLEST_LESION_MM3 = 3.0
PERIVENTRICULAR_MM = 3.0
JUXTACORTICAL_MM = 1.0
BLACK_HOLE_LOSS, BLACK_HOLE_MM3 = 0.3, 30.0            # [assume]
NEW_MM = 1.0                                      # how far an earlier lesion is dilated before "new" is said
ENLARGING_RATIO, ENLARGING_MM3 = 1.2, 10.0

# Normal volumes have a file of their own; their words are found here with the others.
NORMS, expected_ml, deviation_percent = norms.NORMS, norms.expected_ml, norms.deviation_percent

TOUCHING_26 = np.ones((3, 3, 3), bool)

TISSUE = labels.classes_in("white_matter", "cortex", "cerebellum", "brainstem", "deep_grey")
FLUID = labels.classes_in("ventricle", "csf")
INFRATENTORIAL = labels.classes_in("cerebellum", "brainstem")
LATERAL_VENTRICLES = np.array([labels.CLASS["lateral_ventricle_left"], labels.CLASS["lateral_ventricle_right"]])
DEEP_GREY = labels.classes_in("deep_grey")
CORTEX = labels.classes_in("cortex")


def load_word(ml: Real) -> str:
    """The lesion-load word of a total lesion volume."""
    if ml <= 0:
        return "none"
    if ml == LOAD_ML["high"][1]:
        return "high"
    return next(word for word, (low, high) in LOAD_ML.items() if low <= ml < high)


def count_word(n: int | np.integer) -> str:
    """The word of a lesion count: none, few, several, many, numerous."""
    return next((word for word, (low, high) in COUNT_WORDS.items() if low <= n <= high), "none")


def ends(stated: Real | str | Range) -> tuple[float, float]:
    """The smallest and the largest number that a number, a count word or a range of a sentence means."""
    if isinstance(stated, Range):
        return float(stated.low), np.inf if stated.high is None else float(stated.high)
    low, high = COUNT_WORDS[stated] if isinstance(stated, str) else (stated, stated)
    return float(low), float(high)


def grade(deviation_percent: Real) -> str:
    """The atrophy word of a deviation from the expected volume; -5 is mild, -10 and -20 are moderate."""
    if deviation_percent == GRADES["moderate"][0]:
        return "moderate"
    return next((word for word, (low, _) in GRADES.items() if deviation_percent > low), "severe")


def spacing_of(spacing: Spacing) -> np.ndarray:
    """Voxel size in mm along x, y, z from one number or three."""
    return np.broadcast_to(np.asarray(spacing, np.float64), (3,))


def voxel_ml(spacing: Spacing) -> float:
    """Volume of a voxel."""
    return float(np.prod(spacing_of(spacing))) / 1000.0


def classes_of(structure: str) -> np.ndarray:
    """Classes of a structure: `thalamus` is left and right, `whole_brain` every tissue without ventricles and CSF."""
    if structure == "whole_brain":
        return TISSUE
    names = (structure, f"{structure}_left", f"{structure}_right")
    found = [labels.CLASS[name] for name in names if name in labels.CLASS]
    if not found:
        known = ", ".join(("whole_brain", *labels.NAMES[1:]))
        raise MedFuseError(f"structure {structure!r} is not known: take one of {known}")
    return np.array(found)


def voxel_counts(structures: np.ndarray) -> np.ndarray:
    """Number of voxels of each class."""
    return np.bincount(structures.ravel(), minlength=len(labels.STRUCTURES))


def intracranial_volume_ml(structures: np.ndarray, spacing: Spacing) -> float:
    """Tissue, ventricles and CSF inside the brain mask."""
    return float(voxel_counts(structures)[np.r_[TISSUE, FLUID]].sum()) * voxel_ml(spacing)


def brain_parenchymal_fraction(structures: np.ndarray) -> float:
    """Brain tissue / (tissue + ventricles + CSF inside the brain mask), 0 to 1; 0 for an empty head."""
    counts = voxel_counts(structures)
    tissue, fluid = int(counts[TISSUE].sum()), int(counts[FLUID].sum())
    return tissue / (tissue + fluid) if tissue else 0.0


# Lesions


def components(mask: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, int]:
    """Lesions of a mask: 26-connected components of at least 3 mm3 (one voxel on coarser grids), numbered 1..count.

    Returns int32 labels of the mask's shape (0 elsewhere) and the count.
    """
    mask = np.asarray(mask) > 0
    labelled = np.zeros(mask.shape, np.int32)
    box = bounding_box(mask)
    if box is None:
        return labelled, 0
    inner, count = ndimage.label(mask[box], TOUCHING_26)
    sizes = np.bincount(inner.ravel(), minlength=count + 1) * voxel_ml(spacing) * 1000.0
    kept = sizes >= SMALLEST_LESION_MM3 - 1e-6
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    labelled[box] = number[inner]
    return labelled, int(kept.sum())


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box that holds all of a mask; None when it is empty."""
    box = []
    for axis in range(mask.ndim):
        seen = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(seen):
            return None
        box.append(slice(int(seen[0]), int(seen[-1]) + 1))
    return tuple(box)


@lru_cache(maxsize=64)
def _ball(radius_mm: float, spacing: tuple[float, ...], touching: bool) -> np.ndarray:
    """Voxel offsets (n, 3) at most `radius_mm` away from centre to centre, and the six faces when `touching` counts."""
    reach = [int(radius_mm / side + 1e-6) for side in spacing]
    offsets = np.stack(np.meshgrid(*[np.arange(-r, r + 1) for r in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = offsets[np.sqrt(((offsets * spacing) ** 2).sum(axis=1)) <= radius_mm + 1e-6]
    if touching:
        offsets = np.unique(np.concatenate([offsets, np.eye(3, dtype=int), -np.eye(3, dtype=int)]), axis=0)
    return offsets


def near(voxels: np.ndarray, target: np.ndarray, spacing: Spacing, within_mm: Real,
         touching: bool = True) -> np.ndarray:
    """Which voxels (n, 3) lie at most `within_mm` from `target`, centre to centre; bool (n,).

    A shared face counts as near when `touching`: on grids coarser than the distance nothing else could.
    """
    # Looking only around the lesions gives what a distance transform of the head gives, in a hundredth of its time.
    offsets = _ball(within_mm, tuple(spacing_of(spacing)), touching)
    pad = int(np.abs(offsets).max(initial=0))
    padded = np.pad(np.asarray(target, bool), pad)
    strides = np.array(padded.strides)                 # bool: one byte an element, so strides are flat steps
    flat, found = padded.ravel(), np.zeros(len(voxels), bool)
    base, steps = (voxels + pad) @ strides, offsets @ strides
    for step in steps:
        found |= flat[base + step]
    return found


def regions(labelled: np.ndarray, structures: np.ndarray, spacing: Spacing) -> list[str]:
    """Region of each lesion 1..count of `labelled`, exclusive, in the priority of `findings.REGIONS`.

    infratentorial, deep_grey and cortical: more than half of the voxels there; periventricular: nearest voxel at most
    3 mm from a lateral ventricle; juxtacortical: at most 1 mm from cortex (or a shared face on coarser grids).
    """
    voxels = np.argwhere(labelled)
    lesion = labelled[tuple(voxels.T)]
    count = int(lesion.max(initial=0))
    under = structures[tuple(voxels.T)]
    size = np.bincount(lesion, minlength=count + 1)

    def mostly(classes: np.ndarray) -> np.ndarray:
        return 2 * np.bincount(lesion, weights=np.isin(under, classes), minlength=count + 1) > size

    def anywhere(seen: np.ndarray) -> np.ndarray:
        return np.bincount(lesion, weights=seen, minlength=count + 1) > 0

    ventricles, cortex = np.isin(structures, LATERAL_VENTRICLES), np.isin(structures, CORTEX)
    holds = np.stack([
        mostly(INFRATENTORIAL),
        anywhere(near(voxels, ventricles, spacing, PERIVENTRICULAR_MM)),
        mostly(DEEP_GREY),
        mostly(CORTEX),
        anywhere(near(voxels, cortex, spacing, JUXTACORTICAL_MM)),
        np.ones(count + 1, bool),
    ])
    return [REGIONS[first] for first in holds.argmax(axis=0)[1:]]


def lesions_by_region(labelled: np.ndarray, structures: np.ndarray,
                      spacing: Spacing) -> dict[str, RegionLoad]:
    """Count and volume of the lesions of each of the six regions; they sum to the totals."""
    volumes = np.bincount(labelled.ravel())[1:] * voxel_ml(spacing)
    found = regions(labelled, structures, spacing)
    return {
        region: RegionLoad(found.count(region), float(volumes[np.array(found, object) == region].sum()))
        for region in REGIONS
    }


def dissemination_in_space(by_region: Mapping[str, RegionLoad | int]) -> bool:
    """Lesions in at least two of the five regions of McDonald 2024 that a brain scan shows.

    Periventricular, cortical or juxtacortical, infratentorial; spinal cord and optic nerve are not assessed.
    """
    def seen(*names: str) -> bool:
        return any((load.count if isinstance(load, RegionLoad) else load) > 0
                   for load in (by_region.get(name, 0) for name in names))

    return seen("periventricular") + seen("cortical", "juxtacortical") + seen("infratentorial") >= 2


def black_hole(darkness: Real, mm3: Real, visibility: Real = 1.0) -> bool:
    """Whether an old lesion is one: it has lost BLACK_HOLE_LOSS of what T1 can lose, and is large enough to be seen."""
    return bool(darkness >= BLACK_HOLE_LOSS and mm3 >= BLACK_HOLE_MM3 and visibility >= 0.5)


# Between two visits


class Changes(NamedTuple):
    """Lesions that changed between two visits: their numbers in `components` of that visit's mask."""

    new: np.ndarray           # of the later visit
    enlarging: np.ndarray     # of the later visit
    resolved: np.ndarray      # of the earlier visit

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many are new, enlarging, resolved."""
        return len(self.new), len(self.enlarging), len(self.resolved)


def changes(earlier_mask: np.ndarray, later_mask: np.ndarray, spacing: Spacing) -> Changes:
    """New, enlarging and resolved lesions between two masks on one grid.

    new: no overlap with an earlier lesion dilated by 1 mm. enlarging: volume up by >= 20 % and >= 10 mm3 over the
    earlier lesions that it overlaps (those that merged into it count together). resolved: an earlier lesion without
    later overlap.
    """
    earlier, earlier_count = components(earlier_mask, spacing)
    later, later_count = components(later_mask, spacing)
    voxels = np.argwhere(later)
    number = later[tuple(voxels.T)]
    old = np.bincount(number[near(voxels, earlier > 0, spacing, NEW_MM, touching=False)], minlength=later_count + 1) > 0
    old[0] = True

    cubic_mm = voxel_ml(spacing) * 1000.0
    size_earlier = np.bincount(earlier.ravel(), minlength=earlier_count + 1) * cubic_mm
    size_later = np.bincount(number, minlength=later_count + 1) * cubic_mm
    both = (later > 0) & (earlier > 0)
    pairs = np.unique(np.stack([later[both], earlier[both]], axis=1), axis=0)
    before = np.bincount(pairs[:, 0], weights=size_earlier[pairs[:, 1]], minlength=later_count + 1)
    larger = (size_later >= ENLARGING_RATIO * before - 1e-6) & (size_later - before >= ENLARGING_MM3 - 1e-6)

    remains = np.zeros(earlier_count + 1, bool)
    remains[pairs[:, 1]] = True
    remains[0] = True
    return Changes(np.flatnonzero(~old), np.flatnonzero(larger & (before > 0)), np.flatnonzero(~remains))


def annualised_percent(v1: Real, v2: Real, years: Real) -> float | None:
    """Compound change per year in percent, ((v2 / v1)^(1 / years) - 1) x 100; None: nothing was, or no time passed."""
    if v1 <= 0 or years <= 0:
        return None
    return float(((max(v2, 0.0) / v1) ** (1.0 / years) - 1.0) * 100.0)
