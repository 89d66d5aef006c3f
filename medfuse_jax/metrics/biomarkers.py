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


def measure(structures: np.ndarray, lesions: np.ndarray, spacing_mm: definitions.Spacing, *,
            age: definitions.Real | None = None, sex: str | None = None, earlier: Visit | tuple | None = None,
            source: str = "", **covariates: Any) -> Findings:
    """Everything that a visit's label maps tell.

    structures: x y z classes of `labels.STRUCTURES` that know no lesion, so a structure's volume counts the lesion
    voxels that cover it. lesions: x y z, bool or fraction 0..1 of the voxel (lesion where above one half).
    earlier: (structures, lesions, years). covariates: further fields of Findings (phenotype, edss, contrasts, ...).
    An age that is not known is taken as 40 for the deviations, and stays None in the record. Where a map has no
    structures at all, volumes and deviations stay empty and "structures" is listed under `not_assessed`.
    """
    spacing = definitions.spacing_of(spacing_mm)
    mask = np.asarray(lesions) > 0.5
    labelled, count = definitions.components(mask, spacing)
    by_region = definitions.lesions_by_region(labelled, structures, spacing)
    voxel = definitions.voxel_ml(spacing)
    counts = definitions.voxel_counts(structures)
    head = definitions.intracranial_volume_ml(structures, spacing)
    if head:
        structures_ml = {name: float(counts[k]) * voxel for k, name in enumerate(labels.NAMES) if k}
        deviations = {name: _deviation(counts, name, voxel, age, sex, head) for name in ATROPHY}
    else:
        structures_ml, deviations = {}, {}
        covariates["not_assessed"] = (*Findings.not_assessed, "structures")
    return Findings(
        lesion_count=count,
        lesion_volume_ml=float(np.count_nonzero(labelled)) * voxel,
        lesions_by_region=by_region,
        structures_ml=structures_ml,
        deviation_percent=deviations,
        brain_parenchymal_fraction=definitions.brain_parenchymal_fraction(structures),
        intracranial_volume_ml=head,
        dissemination_in_space=definitions.dissemination_in_space(by_region),
        change=None if earlier is None else change(structures, mask, spacing, Visit(*earlier)),
        age=age,
        sex=sex,
        spacing_mm=tuple(float(side) for side in spacing),
        source=source,
        **covariates,
    )


def change(structures: np.ndarray, lesions: np.ndarray, spacing_mm: definitions.Spacing, earlier: Visit) -> Change:
    """What happened since an earlier visit: new, enlarging, resolved lesions and volume change a year."""
    new, enlarging, resolved = definitions.changes(np.asarray(earlier.lesions) > 0.5, lesions, spacing_mm).counts
    before, after = definitions.voxel_counts(earlier.structures), definitions.voxel_counts(structures)
    percent = {
        name: definitions.annualised_percent(before[classes].sum(), after[classes].sum(), earlier.years)
        for name, classes in ((name, definitions.classes_of(name)) for name in CHANGING)
    }
    return Change(new, enlarging, resolved, percent)


def _deviation(counts: np.ndarray, structure: str, voxel: float,
               age: definitions.Real | None, sex: str | None, head: float) -> float:
    measured = float(counts[definitions.classes_of(structure)].sum()) * voxel
    return definitions.deviation_percent(measured, definitions.expected_ml(structure, age, sex, head))
