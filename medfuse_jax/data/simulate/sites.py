"""Where in a brain lesions are likely: along the veins that leave the outer walls of the ventricles, rarely in between.

A likelihood is relative, 0 to 1, at a point in mm of MNI space, of a head that was moved there and not scaled. It
weighs where the lesions of a region start and how they grow.
"""

import numpy as np

from medfuse_jax.data import grid

LEAST = 0.10                           # elsewhere
# Where lesions of patients lie most often: |x|, y, z and how often, beside the first [data].
BEDS = (((18.0, -13.0, 30.0), 1.0), ((28.0, -48.0, 15.0), 0.7), ((18.0, 26.0, 8.0), 0.6), ((36.0, -31.0, -6.0), 0.5))
BED_MM = 10.0                          # standard deviation [assume]
LEFT = 1.15                             # the left bed, beside the right one [data]
MIDLINE_MM, SPARED = 8.0, 0.8          # the corpus callosum between the ventricles: how wide, how much less [data]


def likelihood(points: np.ndarray) -> np.ndarray:
    """How likely a lesion is at points (3, ...), float32 (...)."""
    x, y, z = points
    found = np.zeros(x.shape, np.float32)
    for (aside, along, up), often in BEDS:
        square = (np.abs(x) - aside)**2 + (y - along)**2 + (z - up)**2
        bed = often * np.exp(-square / (2 * BED_MM**2))
        found = np.maximum(found, np.where(x < 0, bed, bed / LEFT))
    found = LEAST + (1 - LEAST) * found
    return (found * (1 - SPARED * np.exp(-(x / MIDLINE_MM)**2 / 2))).astype(np.float32)


def true_size(points: np.ndarray, shrink: float) -> np.ndarray:
    """Points (3, ...) of the inflated template as those of a head of true size."""
    centre = np.array(grid.CENTRE_MM, np.float32).reshape(3, *[1] * (points.ndim - 1))
    return centre + np.float32(shrink) * (points - centre)
