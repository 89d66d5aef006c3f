"""One visit on the standard grid: its brain found, moved to MNI152, sampled, and in one scale of intensity."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from absl import logging

from medfuse_jax.data import brain, grid, labels, registration
from medfuse_jax.data.nifti import Scan
from medfuse_jax.data.registration import Registration
from medfuse_jax.data.resampling import resample
from medfuse_jax.errors import MedFuseError

BRIGHTEST = 4.0                            # medians of the brain
LEAST_COVER = 0.5                          # of the brain that a contrast must show
FULL_COVER = 0.9                           # below this it is told
DARK = ("no image is brighter than 0 where the brain is: give MR images whose background is 0, and a brain mask of the "
        "same space")
LEAST_SHARED = 0.85                        # Dice of a given brain mask and a skull-stripped image
LEAST_KEPT = 0.7                           # of the brain that must fit the standard box


@dataclass(frozen=True)
class Placed:
    """How a scan came onto the standard grid: what is needed to go back, and to be told."""

    grid: grid.Grid                        # the standard grid
    registration: Registration
    brain: np.ndarray                      # d h w, bool
    brain_origin: str                      # given, or how it was found
    medians: dict[str, float]              # contrast -> intensity that became 1
    fixups: list[str]

    @property
    def transform(self) -> np.ndarray:
        """4 x 4: scanner mm -> standard mm; rigid unless an affine registration was asked for."""
        return self.registration.transform

    def back(self, array: np.ndarray, like: Scan, order: int = 1) -> np.ndarray:
        """An array d h w on the standard grid, on `like`'s own grid: x y z."""
        affine = np.linalg.inv(self.transform) @ self.grid.affine
        return resample(np.ascontiguousarray(np.transpose(array)), affine, like.grid, order)


def brain_median(array: np.ndarray, mask: np.ndarray, path: str = "the image") -> float:
    """The intensity that becomes 1."""
    median = float(np.median(array[mask])) if mask.any() else 0.0
    if not median > 0:
        raise MedFuseError(f"{path}: half of the brain is not brighter than 0: give an MR image whose background is 0, "
                           "and check that its brain mask lies on the brain")
    return median


def normalise(array: np.ndarray, mask: np.ndarray, median: float) -> np.ndarray:
    """Intensities in medians of the brain: float32, 0 outside the mask, at most 4."""
    return np.where(mask, np.clip(array / median, 0.0, BRIGHTEST), 0.0).astype(np.float32)


def arranged(array: np.ndarray) -> np.ndarray:
    """(x, y, z) as d h w."""
    return np.ascontiguousarray(np.transpose(array))


def to_grid(scans: Mapping[str, Scan], spacing: float, brain_mask: np.ndarray | None = None,
            register: str = "auto") -> tuple[np.ndarray, np.ndarray, Placed]:
    """One visit on the standard grid: volume float32 (d h w c), present float32 (c), and how it was placed.

    `brain_mask` (bool) lies on the first scan's grid; without one it is estimated. Scans are matched by world position
    and share one move, which `registration.register` finds on the first: none | rigid | affine | auto.
    """
    fixups: list[str] = []
    reference = next(iter(scans.values()))
    origin = "given"
    if brain_mask is None:
        brain_mask, origin = brain.estimate(reference)
        fixups.append(origin)
    elif (shared := brain.overlap(reference, brain_mask)) < LEAST_SHARED:
        fixups.append(f"the brain mask and the skull-stripped image overlap by {shared:.0%} only (Dice): give a mask "
                      "of the same space")
    if not brain_mask.any():
        raise MedFuseError(f"{reference.path}: its brain mask is empty: give another, or none to have it estimated")
    if not (reference.array[brain_mask] > 0).any():
        raise MedFuseError(f"{reference.path}: {DARK}")
    moved = registration.register(reference.array, brain_mask, reference.affine, register)
    transform, standard = moved.transform, grid.standard(spacing)
    inside = arranged(resample(brain_mask.astype(np.float32), transform @ reference.affine, standard) > 0.5)
    _check_whole(inside, spacing, brain_mask, reference, abs(np.linalg.det(transform[:3, :3])), fixups)
    volume = np.zeros((*inside.shape, len(labels.CONTRASTS)), np.float32)
    present, medians = np.zeros(len(labels.CONTRASTS), np.float32), {}
    for contrast, scan in scans.items():
        image = arranged(resample(np.maximum(scan.array, 0), transform @ scan.affine, standard))
        cover = float(np.mean(image[inside] != 0))
        if cover < LEAST_COVER:
            fixups.append(f"{contrast}: shows {cover:.0%} of the brain only: left out")
            continue
        if cover < FULL_COVER:
            fixups.append(f"{contrast}: shows {cover:.0%} of the brain only: does it lie where the first one does?")
        channel, medians[contrast] = labels.CONTRASTS.index(contrast), brain_median(image, inside, scan.path)
        volume[..., channel], present[channel] = normalise(image, inside, medians[contrast]), 1
    if not medians:
        raise MedFuseError(f"{reference.path}: {DARK}")
    fixups += filter(None, [moved.sentence, moved.doubt])
    for line in fixups:
        logging.info("%s: %s", reference.path, line)
    return volume, present, Placed(standard, moved, inside, origin, medians, fixups)


def _check_whole(inside: np.ndarray, spacing: float, mask: np.ndarray, reference: Scan, growth: float,
                 fixups: list[str]) -> None:
    """Refuse, or tell of, a brain that does not fit the standard box. growth: what the move makes of a volume."""
    kept = inside.sum() * spacing**3 / (mask.sum() * np.prod(reference.spacing) * growth)
    if kept < LEAST_KEPT:
        raise MedFuseError(f"{reference.path}: only {kept:.0%} of its brain fits the standard box: is it a head, "
                           "upright by its affine? If so give a better *_desc-brain_mask.nii.gz")
    if kept < 0.95:
        fixups.append(f"{1 - kept:.0%} of the brain mask lies outside the standard box or is finer than its voxels")
