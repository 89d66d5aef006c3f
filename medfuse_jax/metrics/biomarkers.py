"""The measurer: a Findings record from label maps, exactly by `data.definitions`.

Simulator's truth, a sample's check against its sentence, an analysis and a report all come through here.
"""

from typing import Any, NamedTuple

import numpy as np

from medfuse_jax.data import definitions, labels
from medfuse_jax.data.findings import ATROPHY, Change, Findings

CHANGING = ("whole_brain", "thalamus", "caudate")


class Visit(NamedTuple):
    """An earlier visit on the same grid."""

    structures: np.ndarray    # x y z: classes
    lesions: np.ndarray       # x y z: mask
    years: float              # how long before the visit that is measured


def volume_ml(structures: np.ndarray, structure: str, spacing_mm: definitions.Spacing) -> float:
    """Volume of a structure (left and right) or of `whole_brain`: hard labels times the voxel's volume."""
    counts = definitions.voxel_counts(structures)
    return float(counts[definitions.classes_of(structure)].sum()) * definitions.voxel_ml(spacing_mm)


def measure(structures: np.ndarray | None, lesions: np.ndarray | None, spacing_mm: definitions.Spacing, *,
            age: definitions.Real | None = None, sex: str | None = None, earlier: Visit | tuple | None = None,
            source: str = "", **covariates: Any) -> Findings:
    """Everything that a visit's label maps tell.

    structures: x y z classes of `labels.STRUCTURES` that know no lesion, so a structure's volume counts the lesion
    voxels that cover it. lesions: x y z, bool or fraction 0..1 of the voxel (lesion where above one half).
    earlier: (structures, lesions, years). covariates: further fields of Findings (phenotype, edss, contrasts, ...).
    An age that is not known is taken as 40 for the deviations, and stays None in the record. Structures that are not
    known (None, or a map without any) leave volumes, deviations and regions empty, lesions that are not known (None)
    leave them None; `not_assessed` lists "structures" and "lesions" then.
    """
    spacing = definitions.spacing_of(spacing_mm)
    structures = structures if structures is not None and structures.any() else None
    missing = [name for name, known in (("structures", structures), ("lesions", lesions)) if known is None]
    mask = None if lesions is None else np.asarray(lesions) > 0.5
    return Findings(
        **_anatomy(structures, spacing, age, sex),
        **_lesions(mask, structures, spacing),
        change=None if earlier is None or missing else change(structures, mask, spacing, Visit(*earlier)),
        age=age,
        sex=sex,
        spacing_mm=tuple(float(side) for side in spacing),
        source=source,
        not_assessed=(*Findings.not_assessed, *missing),
        **covariates,
    )


def _anatomy(structures: np.ndarray | None, spacing: np.ndarray, age: definitions.Real | None,
             sex: str | None) -> dict[str, Any]:
    """The fields of Findings that structures tell."""
    if structures is None:
        return dict(structures_ml={}, deviation_percent={}, brain_parenchymal_fraction=None,
                    intracranial_volume_ml=None)
    voxel, counts = definitions.voxel_ml(spacing), definitions.voxel_counts(structures)
    head = definitions.intracranial_volume_ml(structures, spacing)
    return dict(
        structures_ml={name: float(counts[k]) * voxel for k, name in enumerate(labels.NAMES) if k},
        deviation_percent={name: _deviation(counts, name, voxel, age, sex, head) for name in ATROPHY},
        brain_parenchymal_fraction=definitions.brain_parenchymal_fraction(structures), intracranial_volume_ml=head)


def _lesions(mask: np.ndarray | None, structures: np.ndarray | None, spacing: np.ndarray) -> dict[str, Any]:
    """The fields of Findings that a lesion mask tells; of their places only where structures are known."""
    if mask is None:
        return dict(lesion_count=None, lesion_volume_ml=None, lesions_by_region={}, dissemination_in_space=None)
    labelled, count = definitions.components(mask, spacing)
    placed = {} if structures is None else definitions.lesions_by_region(labelled, structures, spacing)
    return dict(
        lesion_count=count, lesion_volume_ml=float(np.count_nonzero(labelled)) * definitions.voxel_ml(spacing),
        lesions_by_region=placed,
        dissemination_in_space=None if structures is None else definitions.dissemination_in_space(placed))


def change(structures: np.ndarray, lesions: np.ndarray, spacing_mm: definitions.Spacing, earlier: Visit) -> Change:
    """What happened since an earlier visit: new, enlarging, resolved lesions and volume change a year.

    A rate that is not defined (no time passed, or nothing was there) is left out.
    """
    new, enlarging, resolved = definitions.changes(np.asarray(earlier.lesions) > 0.5, lesions, spacing_mm).counts
    before, after = definitions.voxel_counts(earlier.structures), definitions.voxel_counts(structures)
    percent = {
        name: definitions.annualised_percent(before[classes].sum(), after[classes].sum(), earlier.years)
        for name, classes in ((name, definitions.classes_of(name)) for name in CHANGING)
    }
    return Change(new, enlarging, resolved, {name: rate for name, rate in percent.items() if rate is not None})


def _deviation(counts: np.ndarray, structure: str, voxel: float,
               age: definitions.Real | None, sex: str | None, head: float) -> float:
    measured = float(counts[definitions.classes_of(structure)].sum()) * voxel
    return definitions.deviation_percent(measured, definitions.expected_ml(structure, age, sex, head))
