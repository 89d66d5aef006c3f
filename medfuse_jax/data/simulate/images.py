"""What a scanner would show of a brain with lesions: FLAIR, T1w and T2w, with bias field and noise, and without."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medfuse_jax.data import labels
from medfuse_jax.data.simulate.anatomy import smooth_field

SHOWN = ("FLAIR", "T1w", "T2w")
CLIP = 4.0

# Mean intensity by tissue (FLAIR, T1w, T2w), relative to the brain's median; 3T, skull stripped [assume].
TISSUES: dict[str, tuple[float, float, float]] = {
    "background": (0.0, 0.0, 0.0), "csf": (0.30, 0.30, 2.30), "lateral_ventricle": (0.25, 0.28, 2.45),
    "third_ventricle": (0.28, 0.30, 2.35), "fourth_ventricle": (0.30, 0.30, 2.30),
    "cerebral_white_matter": (0.97, 1.20, 0.86), "cerebral_cortex": (1.16, 0.84, 1.18),
    "cerebellum_white_matter": (0.96, 1.14, 0.86), "cerebellum_cortex": (1.10, 0.86, 1.12),
    "brainstem": (0.96, 1.10, 0.92), "thalamus": (1.06, 1.02, 0.98), "caudate": (1.12, 0.88, 1.06),
    "putamen": (1.08, 0.93, 0.98), "pallidum": (0.90, 1.08, 0.74), "hippocampus": (1.20, 0.85, 1.20),
    "amygdala": (1.20, 0.85, 1.18), "accumbens": (1.12, 0.88, 1.08),
}
STEP = (-0.19, 0.36, -0.32)            # from grey to white matter: what a step of texture is worth
HALO, EDGE = 0.6, 0.35                 # how far a lesion shows beyond its mask, and fades at its rim [assume]
LESION = ((1.30, 1.40), (0.85, 0.97), (1.40, 1.65))     # lesion / brain median [data]


class Scanner(NamedTuple):
    """What one session's scanner does to every contrast."""

    means: np.ndarray                  # classes x 3
    lesion: np.ndarray                 # 3
    bias_percent: float
    noise: np.ndarray                  # 3, in units of the brain's median


def scanner(random: np.random.Generator) -> Scanner:
    """Draw a scanner: tissue contrasts vary by a few per cent, lesions inside their measured ranges."""
    means = np.array([TISSUES[_stem(name)] for name in labels.NAMES])
    means = means * (1 + 0.02 * random.standard_normal((1, 3))) * (1 + 0.012 * random.standard_normal(means.shape))
    paired = [labels.CLASS[name] for name in labels.NAMES if name.endswith("_left")]
    means[np.array(paired) + 1] = means[paired]           # both sides of a structure look alike
    lesion = np.array([random.uniform(low, high) for low, high in LESION])
    return Scanner(means, lesion, random.uniform(3.0, 6.0), random.uniform(0.015, 0.045, 3))


def _stem(name: str) -> str:
    return name.removesuffix("_left").removesuffix("_right")


def block_mean(volume: np.ndarray, factor: int) -> np.ndarray:
    """Mean over blocks of factor^3 voxels of (x, y, z, ...)."""
    if factor == 1:
        return volume
    volume = volume.astype(np.float32, copy=False)
    for axis in range(3):                                       # strided sums: four times faster than mean over axes
        strides = (volume[(slice(None),) * axis + (slice(start, None, factor),)] for start in range(factor))
        volume = sum(strides)
    return volume / np.float32(factor**3)


def ideal(structures: np.ndarray, texture: np.ndarray, lesions: list[np.ndarray], machine: Scanner,
          random: np.random.Generator, blur: bool = False) -> np.ndarray:
    """Noise-free contrasts (x, y, z, 3) on the working grid; lesions: voxels (n, 3) of each.

    blur: soften tissue borders here, where no averaging to a coarser grid will do it.
    """
    inside = structures > 0
    brain = machine.means.astype(np.float32)[structures[inside]]
    brain += texture[inside][:, None] * np.array(STEP, np.float32)
    middle = np.median(brain, axis=0)
    images = np.zeros((*structures.shape, len(SHOWN)), np.float32)
    images[inside] = np.maximum(brain, 0.02)
    if blur:
        images = np.stack([ndimage.gaussian_filter(images[..., c], 0.45) for c in range(3)], axis=-1)
    if any(len(voxels) for voxels in lesions):
        _paint(images, inside, lesions, middle, machine, random)
    images[~inside] = 0
    return images


def _paint(images: np.ndarray, inside: np.ndarray, lesions: list[np.ndarray], middle: np.ndarray, machine: Scanner,
           random: np.random.Generator) -> None:
    """Lesions into the contrasts, in place: each of its own brightness, uneven, with a faint halo around it."""
    mask = np.zeros(inside.shape, np.float32)
    for voxels in lesions:
        mask[tuple(voxels.T)] = 1
    around = ndimage.uniform_filter(mask, 3)
    halo = np.flatnonzero((around.reshape(-1) > 0.01) & (mask.reshape(-1) == 0) & inside.reshape(-1))
    flat = images.reshape(-1, 3)
    mild = np.array((1, 1, 0.4), np.float32) * HALO * around.reshape(-1)[halo, None]
    target = (middle * machine.lesion).astype(np.float32)
    change = target - flat[halo]
    change[flat[halo, 2] > 1.5 * middle[2]] = 0                 # not into CSF
    flat[halo] += mild * change
    for voxels in filter(len, lesions):
        value = machine.lesion * (1 + 0.025 * random.standard_normal(3))
        value[1] -= 0.12 * (random.random() < 0.15)             # a chronic black hole on T1
        edge = 1 - (1 - around[tuple(voxels.T)]) * EDGE         # the rim is weaker than the core
        grain = 0.02 * random.standard_normal((len(voxels), 3))
        images[tuple(voxels.T)] = middle * (1 + (value - 1) * edge[:, None] / max(edge.mean(), 0.1) + grain)


def acquired(clean: np.ndarray, brain: np.ndarray, spacing: float, machine: Scanner,
             random: np.random.Generator) -> np.ndarray:
    """The clean contrasts (x, y, z, 3; brain median 1) through a bias field and Rician noise; background exactly 0."""
    shape = brain.shape
    extent = np.array(shape) * spacing
    fields = smooth_field(random, extent, shape, 80.0, spacing, channels=3)
    seen = clean * np.exp(machine.bias_percent / 100 * np.moveaxis(fields, 0, -1))
    noise = machine.noise.astype(np.float32)
    real = seen + noise * random.standard_normal(seen.shape, dtype=np.float32)
    imaginary = noise * random.standard_normal(seen.shape, dtype=np.float32)
    return normalised(np.hypot(real, imaginary), brain)


def normalised(images: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Each contrast divided by its median over the brain mask, clipped to [0, 4], background exactly 0."""
    images = images / np.median(images[brain], axis=0)
    images[~brain] = 0
    return np.clip(images, 0, CLIP, out=images)
