"""Which contrasts and which structures there are, and their FreeSurfer numbers.

A *class* is the position of a structure in `STRUCTURES`: what networks and prepared folders hold.
An *index* is its FreeSurfer number: what label maps on disk hold.
"""

from typing import NamedTuple

import numpy as np

CONTRASTS = ("FLAIR", "T1w", "T2w", "ce-gadolinium_T1w")

LESION_LEFT, LESION_RIGHT = 25, 57


class Structure(NamedTuple):
    """One anatomical label."""

    index: int      # FreeSurfer number
    name: str       # as in JSON keys: thalamus_left
    group: str      # background white_matter cortex ventricle csf cerebellum brainstem deep_grey


def _pair(left: int, right: int, name: str, group: str) -> tuple[Structure, Structure]:
    return Structure(left, f"{name}_left", group), Structure(right, f"{name}_right", group)


STRUCTURES: tuple[Structure, ...] = (
    Structure(0, "background", "background"),
    *_pair(2, 41, "cerebral_white_matter", "white_matter"),
    *_pair(3, 42, "cerebral_cortex", "cortex"),
    *_pair(4, 43, "lateral_ventricle", "ventricle"),
    *_pair(7, 46, "cerebellum_white_matter", "cerebellum"),
    *_pair(8, 47, "cerebellum_cortex", "cerebellum"),
    *_pair(10, 49, "thalamus", "deep_grey"),
    *_pair(11, 50, "caudate", "deep_grey"),
    *_pair(12, 51, "putamen", "deep_grey"),
    *_pair(13, 52, "pallidum", "deep_grey"),
    *_pair(17, 53, "hippocampus", "deep_grey"),
    *_pair(18, 54, "amygdala", "deep_grey"),
    *_pair(26, 58, "accumbens", "deep_grey"),
    Structure(14, "third_ventricle", "ventricle"),
    Structure(15, "fourth_ventricle", "ventricle"),
    Structure(16, "brainstem", "brainstem"),
    Structure(24, "csf", "csf"),
)

NAMES = tuple(structure.name for structure in STRUCTURES)
INDEX = np.array([structure.index for structure in STRUCTURES], np.int16)       # class -> FreeSurfer
CLASS = {structure.name: position for position, structure in enumerate(STRUCTURES)}

# Labels of other atlases' detail that our set counts as something else (FreeSurfer -> FreeSurfer).
MERGED = {5: 4, 44: 43, 28: 2, 60: 41, 30: 2, 62: 41, 31: 4, 63: 43, 72: 14, 77: 2, 78: 2, 79: 41,
          80: 2, 85: 24, LESION_LEFT: 2, LESION_RIGHT: 41,
          **dict.fromkeys(range(251, 256), 2),                                      # corpus callosum
          **dict.fromkeys(range(170, 180), 16),                                     # parts of the brainstem
          **dict.fromkeys((*range(1000, 1036), *range(11100, 11176)), 3),           # gyri of aparc and aparc.a2009s
          **dict.fromkeys((*range(2000, 2036), *range(12100, 12176)), 42),
          **dict.fromkeys((*range(3000, 3036), *range(13100, 13176), 5001), 2),     # white matter of wmparc
          **dict.fromkeys((*range(4000, 4036), *range(14100, 14176), 5002), 41)}


# Skull, scalp, eyes and the like, which stay background: FreeSurfer's, and those of SynthSeg's training maps.
OUTSIDE = (165, 258, 259, *range(502, 531))


def right_side(structures: np.ndarray | None, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Which voxels (x y z) lie on the person's right: as their structure says, else as the middle plane does.

    The middle lies between the centres of the left and of the right structures along world x; without any, at 0.
    """
    index = np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)
    x = sum(step * at for step, at in zip(affine[0, :3], index, strict=True)) + affine[0, 3]
    if structures is None:
        return np.broadcast_to(x > 0, shape)
    names = np.array(NAMES)
    left, right = (np.char.endswith(names, side)[structures] for side in ("_left", "_right"))
    both = left.any() and right.any()
    middle = (np.mean(x[left]) + np.mean(x[right])) / 2 if both else 0.0
    return right | ~left & (x > middle)


def classes_in(*groups: str) -> np.ndarray:
    """Classes whose group is one of `groups`, ascending."""
    return np.array([k for k, structure in enumerate(STRUCTURES) if structure.group in groups])


def to_classes(indices: np.ndarray) -> np.ndarray:
    """FreeSurfer numbers to classes (uint8, same shape); numbers that we do not know become background."""
    most = max(int(INDEX.max()), *MERGED)
    table = np.zeros(most + 2, np.uint8)                   # the last is for all larger numbers
    table[INDEX] = np.arange(len(INDEX))
    for merged, kept in MERGED.items():
        table[merged] = table[kept]
    return table[np.clip(np.asarray(indices).astype(np.int64), 0, most + 1)]


def unknown(indices: np.ndarray) -> tuple[list[int], float]:
    """The numbers of a label map, none of OUTSIDE, that have no class here, and their share of what is labelled."""
    values, counts = np.unique(np.asarray(indices)[np.asarray(indices) != 0].astype(np.int64), return_counts=True)
    strange = ~np.isin(values, [*INDEX, *MERGED, *OUTSIDE])
    return values[strange].tolist(), float(counts[strange].sum() / max(counts.sum(), 1))


def to_indices(classes: np.ndarray) -> np.ndarray:
    """Classes to FreeSurfer numbers (int16, same shape)."""
    return INDEX[classes]
