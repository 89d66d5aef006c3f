"""Domains that no scanner has: tissue contrast, resolution, noise and bias field at random (SynthSeg, Billot 2023).

A network that has seen them has no sequence to rely on, and reads real scans of any.
"""

import numpy as np

from medfuse_jax.data import labels
from medfuse_jax.data.simulate.acquisition import Protocol
from medfuse_jax.data.simulate.images import Appearance, alike

MEANS = (0.2, 2.2)                     # of tissues, in any unit: what is seen is divided by the brain's median
APART = (0.25, 0.6)                    # by how much of the white matter's mean lesions differ from it
GRAIN = (0.0, 0.12)
VOXEL_MM, SLICE_MM = (1.0, 2.5), (1.0, 6.0)
NOISE, BIAS_PERCENT = (0.005, 0.12), (0.0, 30.0)
GAMMA_SPREAD = 0.3                     # of the exponent's logarithm


def appearance(random: np.random.Generator) -> Appearance:
    """Draw tissue means of each contrast independently, both sides alike; lesions stay apart from white matter."""
    contrasts = len(labels.CONTRASTS)
    means = alike(random.uniform(*MEANS, (len(labels.NAMES), contrasts)))
    white = means[labels.CLASS["cerebral_white_matter_left"]]
    step = white - means[labels.CLASS["cerebral_cortex_left"]]
    apart = 1 + random.choice((-1, 1), contrasts) * random.uniform(*APART, contrasts)
    grain = random.choice((-1, 1), contrasts) * random.uniform(*GRAIN, contrasts)
    gamma = np.exp(GAMMA_SPREAD * random.standard_normal(contrasts).clip(-2, 2))
    return Appearance(means, apart, step, grain, gamma, unit=white)


def protocol(random: np.random.Generator) -> Protocol:
    """Draw any resolution, with slices across any axis, and more noise and bias than a scanner has."""
    voxel = np.full(3, random.uniform(*VOXEL_MM))
    slices = int(random.integers(3))
    voxel[slices] = max(random.uniform(*SLICE_MM), voxel[slices])
    return Protocol(
        tuple(voxel.tolist()), tuple(random.random(3).tolist()), bool(random.random() < 0.5),
        phase_axis=(slices + int(random.integers(1, 3))) % 3, ghost=random.uniform(0, 0.06),
        ghost_shift=random.uniform(0.1, 0.5), kept=random.uniform(0.6, 1.0), sharpened=random.uniform(0, 0.2),
        noise=random.uniform(*NOISE),
        centre_noise=random.uniform(0, 2), uneven_slices=random.uniform(0, 0.05),
        bias_percent=random.uniform(*BIAS_PERCENT))
