"""What a scanner does to a contrast: voxels and slices, ringing, ghosts, noise, a bias field; the skull is stripped."""

from typing import NamedTuple

import numpy as np
from scipy import special

from medfuse_jax.data.simulate.anatomy import along_axes, smooth_field

CLIP = 4.0
BIAS_MM = 80.0
# Which protocols a contrast is acquired with: share, slice axis (None: 3D), slices in mm [assume].
PROTOCOLS: dict[str, tuple[tuple[float, int | None, tuple[float, ...]], ...]] = {
    "FLAIR": ((0.50, None, (1.0, 1.0, 1.2)), (0.40, 2, (3.0,)), (0.10, 0, (3.0,))),
    "T1w": ((0.40, None, (1.0, 1.0, 1.2)), (0.60, 2, (3.0, 3.0, 3.3, 4.0))),
    "T2w": ((0.10, None, (1.0, 1.0, 1.2)), (0.90, 2, (2.5, 3.0, 3.3))),
}
PROTOCOLS["ce-gadolinium_T1w"] = PROTOCOLS["T1w"]
# Noise in medians of the brain, of a voxel of 1 mm or of a slice: what flat parts of real scans show [data].
NOISE = {"FLAIR": (0.02, 0.06), "T1w": (0.015, 0.04), "T2w": (0.025, 0.055), "ce-gadolinium_T1w": (0.015, 0.04)}
# Scanners enhance edges in the plane, and read it finer than 1 mm: by how much, weight of each neighbour [assume].
SHARPENED = {"FLAIR": (0.0, 0.15), "T1w": (0.0, 0.05), "T2w": (0.10, 0.25), "ce-gadolinium_T1w": (0.0, 0.05)}
SOFT = 0.3                                            # working voxels: tissue borders are soft [assume]
UNEVEN_SLICES = (0.0, 0.015)                           # slices of 2D scans are read out apart [assume]
GHOSTS, GHOST = 0.35, (0.005, 0.03)                    # share of scans that moved, and how strongly they repeat
RINGS, KEPT = 0.3, (0.75, 0.95)                        # share of scans that ring, and how much of k-space they hold


class Protocol(NamedTuple):
    """How one contrast is acquired; axes are x, y, z."""

    voxel_mm: tuple[float, float, float]      # 2D scans: largest across the slices
    offset: tuple[float, float, float]        # where the first voxel begins, in voxels before the box
    smooth: bool                              # how it is brought back to the grid: by cubic or linear interpolation
    phase_axis: int                           # along which motion repeats the head
    ghost: float                              # how strongly
    ghost_shift: float                        # share of the field of view
    kept: float                               # share of k-space in the plane: below 1, edges ring
    sharpened: float                          # how much edges in the plane are enhanced: weight of each neighbour
    noise: float                              # standard deviation of each part of the signal, in medians of the brain
    centre_noise: float                       # by how much more in the middle, far from the coils
    uneven_slices: float                      # standard deviation of the slices' gain
    bias_percent: float


def protocol(contrast: str, random: np.random.Generator) -> Protocol:
    """Draw how a contrast is acquired."""
    kinds = PROTOCOLS[contrast]
    _, slices, thickness = kinds[random.choice(len(kinds), p=[kind[0] for kind in kinds])]
    thick = float(random.choice(thickness))
    plane = float(1.0 if random.random() < 0.85 else random.uniform(1.0, 1.2))
    voxel = [thick if slices is None else plane] * 3
    if slices is not None:
        voxel[slices] = thick
    return Protocol(
        tuple(voxel), tuple(random.random(3).tolist()), bool(random.random() < 0.7),
        phase_axis=int(random.choice([axis for axis in range(3) if axis != slices])),
        ghost=random.uniform(*GHOST) * (random.random() < GHOSTS), ghost_shift=random.uniform(0.15, 0.5),
        kept=random.uniform(*KEPT) if random.random() < RINGS else 1.0,
        sharpened=random.uniform(*SHARPENED[contrast]), noise=random.uniform(*NOISE[contrast]),
        centre_noise=random.uniform(0, 1.0),
        uneven_slices=0.0 if slices is None else random.uniform(*UNEVEN_SLICES),
        bias_percent=random.uniform(2.0, 6.0))


class Acquired(NamedTuple):
    """A contrast on the grid asked for (x, y, z), brain median 1, background 0."""

    seen: np.ndarray
    clean: np.ndarray                         # with the same voxels, without noise, ghosts and bias field


def acquire(fine: np.ndarray, brain: np.ndarray, working_mm: float, spacing: float, how: Protocol,
            random: np.random.Generator, gamma: float = 1.0) -> Acquired:
    """A noise-free contrast (x, y, z; voxels of working_mm) as a scan, resampled to the brain mask's grid of `spacing`.

    Voxels finer than the grid are as good as the grid's, with the noise of what they average to.
    """
    factor = round(spacing / working_mm)
    thinnest = min(how.voxel_mm)              # edges ring in the plane of the slices
    axes = [_axis(count, working_mm, factor, voxel, offset, how, in_plane=voxel == thinnest)
            for count, voxel, offset in zip(fine.shape, how.voxel_mm, how.offset, strict=True)]
    native = along_axes(fine, [axis.there for axis in axes])
    clean = along_axes(native, [axis.back for axis in axes])
    averaged = np.prod([max(size, spacing) for size in how.voxel_mm]) / np.prod(how.voxel_mm)
    noisy = _noisy(native, how.noise * np.median(clean[brain]) / np.sqrt(averaged), how, random)
    seen = along_axes(noisy, [axis.back for axis in axes])
    field = smooth_field(random, np.array(brain.shape) * spacing, brain.shape, BIAS_MM, spacing)[0]
    seen *= np.exp(np.float32(how.bias_percent / 100) * field)
    return Acquired(normalised(seen, brain, gamma), normalised(clean, brain, gamma))


class Axis(NamedTuple):
    """One axis of an acquisition as two matrices: resampling is linear, and apart for each axis."""

    there: np.ndarray                         # acquired x working: what a voxel integrates
    back: np.ndarray                          # grid x acquired


def _axis(count: int, working_mm: float, factor: int, voxel: float, offset: float, how: Protocol,
          in_plane: bool) -> Axis:
    """From `count` working voxels to voxels of a size (mm) that begin an offset before them, and back to the grid."""
    length, step = count * working_mm, factor * working_mm
    if voxel <= step:                         # the grid's own voxels
        acquired, first, size = count // factor, 0.0, step
    else:
        acquired, first, size = int(np.ceil(length / voxel)) + 1, -offset * voxel, voxel
    low = first + size * np.arange(acquired)[:, None]
    edges = working_mm * np.arange(count)[None]
    soft = SOFT * working_mm

    def before(ends: np.ndarray) -> np.ndarray:           # how much of a working voxel's signal lies before these ends
        reach = (ends - edges) / soft
        return soft * (reach * special.ndtr(reach) + np.exp(-reach**2 / 2) / np.sqrt(2 * np.pi))

    there = before(low + size) - before(low) - before(low + size - working_mm) + before(low - working_mm)
    there /= np.maximum(there.sum(axis=1, keepdims=True), 1e-6)
    if in_plane:                              # a coarse grid averages over what is finer
        there = _filter(acquired, how.kept * size / voxel, how.sharpened * voxel / size) @ there
    if voxel <= step:
        back = np.eye(acquired)
    else:
        centres = (working_mm * (np.arange(count) + 0.5) - first) / size - 0.5
        back = _interpolation(centres, acquired, how.smooth).reshape(count // factor, factor, acquired).mean(axis=1)
    return Axis(there.astype(np.float32), back.astype(np.float32))


def _filter(count: int, kept: float, sharpened: float) -> np.ndarray:
    """What reconstruction does along an axis (count, count): k-space is cut, so that edges ring; edges are enhanced."""
    frequency = np.fft.fftfreq(count)[:, None]
    passed = (np.abs(frequency) <= kept / 2) * (1 + 2 * sharpened * (1 - np.cos(2 * np.pi * frequency)))
    return np.fft.ifft(np.fft.fft(np.eye(count), axis=0) * passed, axis=0).real


def _interpolation(at: np.ndarray, count: int, smooth: bool) -> np.ndarray:
    """Interpolation (points, count) from values at 0, 1 ... to points, by cubic convolution (Keys 1981) or linear."""
    distance = np.abs(np.clip(at, 0, count - 1)[:, None] - np.arange(count))
    if not smooth:
        return np.clip(1 - distance, 0, None)
    inner = 1.5 * distance**3 - 2.5 * distance**2 + 1
    outer = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance < 1, inner, np.where(distance < 2, outer, 0))
    return weights / weights.sum(axis=1, keepdims=True)


def _noisy(native: np.ndarray, sigma: float, how: Protocol, random: np.random.Generator) -> np.ndarray:
    """The magnitude of acquired voxels with ghosts and complex Gaussian noise: Rician (Gudbjartsson & Patz 1995)."""
    bells = [np.exp(-np.linspace(-1.5, 1.5, n, dtype=np.float32) ** 2) for n in native.shape]
    middle = bells[0][:, None, None] * bells[1][:, None] * bells[2]
    spread = np.float32(sigma) * (1 + np.float32(how.centre_noise) * middle)
    real = random.standard_normal(native.shape, dtype=np.float32)
    real *= spread
    real += native
    if how.uneven_slices:
        slices = int(np.argmax(how.voxel_mm))
        gain = 1 + how.uneven_slices * random.standard_normal(native.shape[slices], dtype=np.float32)
        real *= np.expand_dims(gain, tuple({0, 1, 2} - {slices}))
    if how.ghost:
        shift = max(1, round(how.ghost_shift * native.shape[how.phase_axis]))
        for sign in (-1, 1):                  # the repeats have the head's phase or the opposite one
            real += np.float32(sign * how.ghost) * np.roll(native, sign * shift, axis=how.phase_axis)
    imaginary = random.standard_normal(native.shape, dtype=np.float32)
    imaginary *= spread
    return np.hypot(real, imaginary, out=real)


def normalised(image: np.ndarray, brain: np.ndarray, gamma: float = 1.0) -> np.ndarray:
    """A contrast divided by its median over the brain mask, to the power gamma, in [0, 4]; background exactly 0."""
    image = np.clip(image / np.median(image[brain]), 0, None)
    if gamma != 1:
        image **= np.float32(gamma)
    image[~brain] = 0
    return np.minimum(image, np.float32(CLIP), out=image)
