"""What a healthy person of this age and head size would have: the volumes from which atrophy is a deviation.

Sources: [data] whole-brain label maps of mixed adults, [paper] as cited, [assume] a working value.
"""

from typing import NamedTuple

import numpy as np

from medfuse_jax.errors import MedFuseError

Real = int | float | np.number


class Norm(NamedTuple):
    """Expected volume: ml * (head / reference head)^power * (1 + percent_per_year / 100)^(age - 40).

    The power law in head size is that of Liu 2014 (Frontiers in Neuroscience 8:356); its exponents here are [assume].
    """

    ml: float                 # left + right, at 40 years in a head of REFERENCE_INTRACRANIAL_ML
    percent_per_year: float
    power: float              # 1: grows as the head does; less: larger heads have a smaller share


REFERENCE_AGE = 40.0                              # also stands in for an age that is not known
REFERENCE_INTRACRANIAL_ML = 1450.0                # [assume] adult mean of both sexes
MEAN_INTRACRANIAL_ML = {"F": 1370.0, "M": 1530.0}     # [assume] stands in for a head size that is not known
NORMS: dict[str, Norm] = {
    "whole_brain": Norm(1148.0, -0.2, 1.0),       # older adults' 1099 ml [data] 22 years ago; controls, review [paper]
    "thalamus": Norm(14.3, -0.28, 0.75),          # ml [data]; controls of Azevedo 2018 [paper]; power [assume]
    "caudate": Norm(7.3, -0.3, 0.75),             # ml [data]; slope, power [assume]
    "putamen": Norm(10.2, -0.4, 0.75),            # ml [data]; slope, power [assume]
    "hippocampus": Norm(7.6, -0.3, 0.75),         # 2 x 3.81 ml, 302 people, Turk J Med Sci 49(5) [paper]; [assume]
    "lateral_ventricle": Norm(20.0, 2.2, 1.0),    # half of the older adults' 41 ml [data]; reached in 33 years [assume]
}


def expected_ml(structure: str, age: Real | None, sex: str | None, intracranial_ml: Real | None) -> float:
    """Volume expected of a healthy person, left + right, from age (years), sex (F, M) and head size (ml).

    Sex enters through head size alone: it stands in, as the mean of the sex, for a head that was not measured.
    """
    norm = NORMS.get(structure)
    if norm is None:
        raise MedFuseError(f"structure {structure!r} has no expected volume: take one of {', '.join(NORMS)}")
    head = intracranial_ml or MEAN_INTRACRANIAL_ML.get(sex or "", REFERENCE_INTRACRANIAL_ML)
    years = (REFERENCE_AGE if age is None else age) - REFERENCE_AGE
    scale = (head / REFERENCE_INTRACRANIAL_ML) ** norm.power
    return float(norm.ml * scale * (1.0 + norm.percent_per_year / 100.0) ** years)


def deviation_percent(measured_ml: Real, expected_ml: Real) -> float:
    """How far a volume lies from the expected one, in percent of it; negative is smaller."""
    return float(100.0 * (measured_ml / expected_ml - 1.0)) if expected_ml > 0 else 0.0
