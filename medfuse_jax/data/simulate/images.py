"""What tissue and lesions look like in FLAIR, T1w, T2w and T1w after gadolinium, before a scanner blurs and adds noise.

Intensities are in medians of the brain. A scan of them is drawn by `acquisition`.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medfuse_jax.data import labels
from medfuse_jax.data.definitions import FLUID, LATERAL_VENTRICLES
from medfuse_jax.data.simulate.anatomy import smooth_field

SHOWN = ("FLAIR", "T1w", "T2w")
FLAIR, GADOLINIUM = labels.CONTRASTS.index("FLAIR"), labels.CONTRASTS.index("ce-gadolinium_T1w")
DARKEST = 0.02                         # of tissue and CSF: the noise floor of an image in magnitudes [assume]

# Mean intensity by tissue (FLAIR, T1w, T2w), relative to the brain's median; 3T, skull stripped [assume].
TISSUES: dict[str, tuple[float, float, float]] = {
    "background": (0.25, 0.30, 0.60), "csf": (0.30, 0.30, 2.30), "lateral_ventricle": (0.25, 0.28, 2.60),
    "third_ventricle": (0.28, 0.30, 2.35), "fourth_ventricle": (0.30, 0.30, 2.30),
    "cerebral_white_matter": (0.93, 1.20, 0.82), "cerebral_cortex": (1.14, 0.84, 1.18),
    "cerebellum_white_matter": (0.93, 1.14, 0.84), "cerebellum_cortex": (1.08, 0.86, 1.12),
    "brainstem": (0.93, 1.10, 0.90), "thalamus": (1.04, 1.02, 0.98), "caudate": (1.10, 0.88, 1.06),
    "putamen": (1.06, 0.93, 0.98), "pallidum": (0.90, 1.08, 0.74), "hippocampus": (1.18, 0.85, 1.20),
    "amygdala": (1.18, 0.85, 1.18), "accumbens": (1.10, 0.88, 1.08),
}
STEP = (-0.19, 0.36, -0.32)            # from grey to white matter: what a step of texture is worth
# Sequences differ in contrast between tissues, from spin echo to magnetisation prepared, and in signal of CSF [data].
CONTRAST = ((0.60, 1.05), (0.50, 0.85), (0.50, 0.90))
CSF = ((0.25, 1.10), (0.40, 1.50), (0.90, 1.15))
GRAIN = (0.6, -0.5, 1.3)               # how the contrasts follow the water content that varies within a tissue [assume]
GRAIN_MM, GRAIN_PERCENT = (1.2, 8.0), (4.0, 8.0)
LESION = ((1.30, 1.40), (0.85, 0.97), (1.40, 1.65))     # lesion / brain median [data]
# Water is even in the ventricles, but sulci hold vessels and membranes: multiples of a tissue's grain [assume].
GRAIN_FLUID = np.ones(len(labels.NAMES), np.float32)
GRAIN_FLUID[FLUID], GRAIN_FLUID[labels.CLASS["csf"]] = 0.3, 3.5
HALO, EDGE = 0.6, 0.35                 # how far a lesion shows beyond its mask, and fades at its rim [assume]
MILD = (1.0, 0.4, 1.0, 0.4)            # the halo by contrast: oedema and gliosis hardly darken T1 [assume]
BLACK_HOLE = 1 / 3                     # T1 signal that the darkest hole has lost: 0.9 of the median becomes 0.6
OVERSHOOT = (1.1, 1.35, 1.25, 1.35)     # of a lesion's difference, so that a scan that blurs it shows LESION
# T1w after gadolinium, in medians: lesions, of which those above RING_MM3 enhance as rings, vessels, plexus [assume].
ENHANCED, RING_MM3, RIM = (1.45, 1.90), 300.0, 0.75
VESSEL, VESSEL_SHARE, PLEXUS_SHARE = (1.5, 2.4), 0.05, 0.06


class Look(NamedTuple):
    """A lesion as a scanner sees it."""

    voxels: np.ndarray                 # (n, 3) of the head's box
    darkness: float = 0.0              # on T1: 0 like any lesion, 1 a black hole
    enhancing: bool = False            # takes up gadolinium
    visibility: float = 1.0            # 1 in white matter, down to 0.2 where it is intracortical


class Appearance(NamedTuple):
    """How bright tissues and lesions are in one session, in medians of the brain; the last axis is labels.CONTRASTS."""

    means: np.ndarray                  # classes x 4
    lesion: np.ndarray                 # 4, in medians of the drawn brain, or multiples of `unit`
    step: np.ndarray                   # 4: from grey to white matter
    grain: np.ndarray                  # 4: standard deviation within a tissue
    gamma: np.ndarray                  # 4: exponent of the intensity, 1 but in randomised domains
    unit: np.ndarray | None = None     # 4


def appearance(random: np.random.Generator) -> Appearance:
    """Draw a session: tissues contrast by sequence and vary by a few per cent, lesions inside their measured ranges."""
    means = np.array([TISSUES[stem(name)] for name in labels.NAMES])
    fluid = np.r_[0, FLUID]
    contrast = random.uniform(*np.transpose(CONTRAST))
    csf = means[fluid] * random.uniform(*np.transpose(CSF))
    means = 1 + (means - 1) * contrast
    means[fluid] = csf
    means = means * (1 + 0.02 * random.standard_normal((1, 3))) * (1 + 0.015 * random.standard_normal(means.shape))
    means = alike(means)
    lesion = random.uniform(*np.transpose(LESION))
    grain = np.array(GRAIN) * random.uniform(*GRAIN_PERCENT) / 100

    def with_gadolinium(values: np.ndarray) -> np.ndarray:      # tissue hardly takes it up: as T1w, a little flatter
        return np.concatenate([values, values[..., 1:2]], axis=-1)

    means = with_gadolinium(means)
    means[..., GADOLINIUM] = 1 + 0.9 * (means[..., GADOLINIUM] - 1)
    return Appearance(means, with_gadolinium(lesion), with_gadolinium(np.array(STEP) * contrast),
                      with_gadolinium(grain), np.ones(4))


def alike(means: np.ndarray) -> np.ndarray:
    """Both sides of a structure look alike: the right takes over the left's mean; (classes, ...)."""
    left = [labels.CLASS[name] for name in labels.NAMES if name.endswith("_left")]
    means[np.array(left) + 1] = means[left]
    return means


def stem(name: str) -> str:
    """A structure's name without its side."""
    return name.removesuffix("_left").removesuffix("_right")


def present(random: np.random.Generator, gadolinium: float, missing: float) -> tuple[str, ...]:
    """Which contrasts a visit has: gadolinium in that share of visits, about a share `missing` of all left out.

    FLAIR is left out half as often as that, for no protocol of multiple sclerosis does without; at least one stays.
    """
    planned = [*SHOWN, *labels.CONTRASTS[GADOLINIUM:][:random.random() < gadolinium]]
    share = np.full(len(planned), missing * (len(planned) - 0.5) / (len(planned) - 1))
    share[FLAIR] = missing / 2
    drawn = random.random(len(planned)) - share
    return tuple(name for name, left in zip(planned, drawn, strict=True) if left >= 0 or left == drawn.max())


def block_mean(volume: np.ndarray, factor: int) -> np.ndarray:
    """Mean over blocks of factor^3 voxels of (x, y, z, ...)."""
    if factor == 1:
        return volume
    volume = volume.astype(np.float32, copy=False)
    for axis in range(3):                                       # strided sums: four times faster than mean over axes
        strides = (volume[(slice(None),) * axis + (slice(start, None, factor),)] for start in range(factor))
        volume = sum(strides)
    return volume / np.float32(factor**3)


def ideal(structures: np.ndarray, texture: np.ndarray, lesions: Sequence[Look], look: Appearance, spacing: float,
          random: np.random.Generator, channels: Sequence[int]) -> Iterator[np.ndarray]:
    """Noise-free contrasts float32 (x, y, z) on the working grid, one after another, so that memory holds only one.

    structures, texture: of the head's box, voxels of `spacing` mm; channels: which of labels.CONTRASTS.
    """
    shape, inside = structures.shape, np.flatnonzero(structures)
    classes, texture = structures.reshape(-1)[inside], texture.reshape(-1)[inside]
    extent = np.array(shape) * spacing
    grain = sum(smooth_field(random, extent, shape, max(knot, 1.5 * spacing), spacing)[0] for knot in GRAIN_MM)
    grain = grain.reshape(-1)[inside] / np.float32(np.sqrt(len(GRAIN_MM)))
    grain *= GRAIN_FLUID[classes]
    at, weight, value = _spots(structures, lesions, look, spacing, random)
    for channel in channels:
        mean = look.means[:, channel].astype(np.float32)
        brain = mean[classes] * (1 + np.float32(look.grain[channel]) * grain)
        brain += np.float32(look.step[channel]) * texture
        np.maximum(brain, DARKEST, out=brain)
        unit = np.median(brain[::7]) if look.unit is None else look.unit[channel]
        image = np.full(shape, mean[0], np.float32)             # the skull, until it is stripped
        flat = image.reshape(-1)
        flat[inside] = brain
        if channel == GADOLINIUM:
            _vessels(image, structures, spacing, random)
        flat[at] += weight[:, channel] * (np.float32(unit) * value[:, channel] - flat[at])
        yield image


def _spots(structures: np.ndarray, lesions: Sequence[Look], look: Appearance, spacing: float,
           random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where lesions show (flat voxels, n), how strongly (n, 4) and how bright (n, 4; in medians of the brain).

    Each lesion has a brightness of its own, is uneven, weaker at its rim, and has a faint halo in the tissue around it.
    """
    lesions = [lesion for lesion in lesions if len(lesion.voxels)]
    if not lesions:
        return np.zeros(0, int), np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32)
    mask, seen = np.zeros((2, *structures.shape), np.float32)
    for lesion in lesions:
        mask[tuple(lesion.voxels.T)] = 1
        seen[tuple(lesion.voxels.T)] = lesion.visibility
    around = ndimage.uniform_filter(mask, 3)
    shown = around if (mask == seen).all() else ndimage.uniform_filter(seen, 3)
    halo = np.flatnonzero((around > 0.01) & (mask == 0))
    halo = halo[~np.isin(structures.reshape(-1)[halo], np.r_[0, FLUID])]
    places, weights = [halo], [HALO * shown.reshape(-1)[halo, None] * np.array(MILD)]
    values = [np.broadcast_to(look.lesion, (len(halo), 4))]
    for lesion in lesions:
        core = around[tuple(lesion.voxels.T)]
        value = look.lesion * (1 + 0.03 * random.standard_normal(4))
        value = np.repeat(value[None], len(core), axis=0) + 0.03 * random.standard_normal((len(core), 4))
        edge = 1 - (1 - core) * EDGE                            # about 1 on average, so that the mean is kept
        value = 1 + np.array(OVERSHOOT) * (value - 1) * (edge / max(edge.mean(), 0.1))[:, None]
        value[:, [1, GADOLINIUM]] *= 1 - BLACK_HOLE * lesion.darkness
        value = np.maximum(value, DARKEST)                      # randomised lesions may be as dark as air
        if lesion.enhancing:
            rim = core < RIM if len(core) * spacing**3 > RING_MM3 else np.ones(len(core), bool)
            value[rim, GADOLINIUM] = random.uniform(*ENHANCED)
        places.append(np.ravel_multi_index(tuple(lesion.voxels.T), structures.shape))
        weights.append(np.full((len(core), 4), lesion.visibility))
        values.append(value)
    return np.concatenate(places), np.concatenate(weights).astype(np.float32), np.concatenate(values).astype(np.float32)


def _vessels(image: np.ndarray, structures: np.ndarray, spacing: float, random: np.random.Generator) -> None:
    """Gadolinium in the blood, in place: vessels in the CSF, and the choroid plexus in the lateral ventricles."""
    extent = np.array(structures.shape) * spacing
    blobs, sheets = (smooth_field(random, extent, structures.shape, max(knot, 1.5 * spacing), spacing)[0]
                     for knot in (4.0, 10.0))
    bright = random.uniform(*VESSEL)
    for classes, thin, share in ((LATERAL_VENTRICLES, -blobs, PLEXUS_SHARE),
                                 ([labels.CLASS["csf"]], np.abs(sheets), VESSEL_SHARE)):
        fluid = np.isin(structures, classes)
        if fluid.any():
            image[fluid & (thin < np.quantile(thin[fluid], share))] = bright
