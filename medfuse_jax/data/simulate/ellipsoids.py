"""Where the structures lie in MNI space, measured on real label maps: numbers that shape the atlas."""

from typing import NamedTuple

import numpy as np


class Ellipsoid(NamedTuple):
    """Where a structure lies in MNI space, mm: centre, deviations along its axes, longest axis, volume."""

    centre: tuple[float, float, float]
    deviations: tuple[float, float, float]
    axis: tuple[float, float, float]
    ml: float                      # in template space, which is inflated by about 1.28


# Means over six label maps (structures.tsv of the project's science notes) [data].
ELLIPSOIDS: dict[str, Ellipsoid] = {
    "thalamus_left": Ellipsoid((-13.9, -17.8, 5.8), (9.0, 5.5, 4.5), (0.43, 0.90, -0.04), 9.43),
    "thalamus_right": Ellipsoid((14.5, -17.5, 5.9), (8.8, 5.4, 4.3), (-0.46, 0.89, -0.01), 8.62),
    "caudate_left": Ellipsoid((-17.1, 9.0, 8.3), (13.1, 5.5, 2.5), (-0.14, -0.74, 0.66), 4.49),
    "caudate_right": Ellipsoid((17.7, 9.2, 7.9), (12.9, 5.4, 2.5), (0.15, -0.73, 0.66), 4.46),
    "putamen_left": Ellipsoid((-28.0, -0.1, -0.9), (10.2, 6.0, 3.2), (0.35, 0.89, -0.30), 6.15),
    "putamen_right": Ellipsoid((28.3, 0.8, -1.9), (9.9, 5.9, 3.1), (-0.36, 0.90, -0.26), 5.88),
    "pallidum_left": Ellipsoid((-22.5, -3.5, -2.6), (6.2, 3.1, 2.1), (0.51, 0.86, -0.10), 1.62),
    "pallidum_right": Ellipsoid((22.8, -3.7, -2.8), (6.3, 3.1, 2.2), (-0.53, 0.84, -0.11), 1.76),
    "hippocampus_left": Ellipsoid((-27.2, -21.6, -15.0), (12.8, 5.4, 2.3), (0.01, 0.80, -0.60), 4.18),
    "hippocampus_right": Ellipsoid((27.1, -21.6, -15.8), (12.6, 5.3, 2.3), (0.0, 0.78, -0.63), 3.92),
    "amygdala_left": Ellipsoid((-26.0, -4.1, -20.8), (5.3, 3.7, 1.9), (0.38, -0.29, 0.88), 1.50),
    "amygdala_right": Ellipsoid((26.3, -4.6, -21.0), (5.4, 3.9, 2.0), (-0.28, -0.35, 0.89), 1.66),
    "accumbens_left": Ellipsoid((-10.4, 10.8, -8.3), (4.0, 3.0, 1.4), (-0.43, 0.90, 0.06), 0.56),
    "accumbens_right": Ellipsoid((10.7, 10.3, -8.5), (4.0, 3.1, 1.3), (0.24, 0.97, 0.08), 0.52),
    "lateral_ventricle_left": Ellipsoid((-15.7, -15.6, 14.8), (26.7, 9.1, 5.7), (0.25, 0.97, 0.02), 29.93),
    "lateral_ventricle_right": Ellipsoid((16.4, -17.3, 14.8), (26.7, 9.3, 5.9), (-0.25, 0.97, 0.02), 34.36),
    "third_ventricle": Ellipsoid((0.5, -8.8, -2.6), (9.4, 4.2, 2.2), (-0.01, 0.96, -0.29), 2.59),
    "fourth_ventricle": Ellipsoid((0.4, -46.5, -32.2), (8.5, 4.5, 3.1), (0.0, 0.43, 0.90), 2.27),
    "brainstem": Ellipsoid((0.2, -31.4, -30.0), (15.4, 7.3, 6.9), (0.01, 0.34, 0.94), 27.87),
    "cerebellum_white_matter_left": Ellipsoid((-17.6, -53.5, -31.6), (11.6, 10.3, 5.8), (0.36, 0.85, 0.38), 19.66),
    "cerebellum_white_matter_right": Ellipsoid((17.4, -53.9, -31.9), (11.7, 10.4, 5.6), (-0.40, 0.83, 0.39), 19.75),
    "cerebellum_cortex_left": Ellipsoid((-24.3, -62.5, -36.7), (15.0, 13.3, 11.7), (0.71, -0.58, 0.40), 64.80),
    "cerebellum_cortex_right": Ellipsoid((23.7, -64.2, -36.7), (14.8, 13.6, 12.1), (0.76, 0.37, -0.54), 67.66),
}
# The table holds the longest axis only; of the other two, the shorter one is taken as close to left-right as may be
# for sheets that stand upright (caudate, putamen, ventricles) and to up-down for those that lie (hippocampus) [assume].
LYING = ("hippocampus", "amygdala", "accumbens", "cerebellum_white_matter")


def precision(structure: str) -> tuple[np.ndarray, np.ndarray]:
    """Centre (3,) and inverse covariance (3, 3) of a structure's ellipsoid, template mm."""
    shape = ELLIPSOIDS[structure]
    first = np.array(shape.axis) / np.linalg.norm(shape.axis)
    short = np.array([0.0, 0.0, 1.0] if structure.startswith(LYING) else [1.0, 0.0, 0.0])
    third = short - first * (short @ first)
    third /= np.linalg.norm(third)
    axes = np.stack([first, np.cross(third, first), third])
    return np.array(shape.centre), (axes.T / np.square(shape.deviations)) @ axes


def mahalanobis(points: np.ndarray, structure: str) -> np.ndarray:
    """Distance of points (..., 3) from a structure, in standard deviations; a full ellipsoid ends at sqrt(5)."""
    centre, inverse = precision(structure)
    offset = points - centre.astype(points.dtype)
    return np.sqrt(np.einsum("...i,ij,...j->...", offset, inverse.astype(points.dtype), offset, optimize=True))
