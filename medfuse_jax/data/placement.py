"""One visit on the standard grid: its brain found, moved to MNI152, sampled, and in one scale of intensity."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from absl import logging

from medfuse_jax.data import brain, coregistration, grid, labels, longitudinal, registration
from medfuse_jax.data.coregistration import Laid
from medfuse_jax.data.longitudinal import First
from medfuse_jax.data.nifti import Scan
from medfuse_jax.data.registration import Registration
from medfuse_jax.data.resampling import resample
from medfuse_jax.data.similarity import Points
from medfuse_jax.errors import MedFuseError

BRIGHTEST = 4.0                            # medians of the brain
LEAST_COVER = 0.5                          # of the brain that a contrast must show
FULL_COVER = 0.9                           # below this it is told
DARK = ("no image is brighter than 0 where the brain is: give MR images whose background is 0, and a brain mask of the "
        "same space")
LEAST_SHARED = 0.85                        # Dice of a given brain mask and a skull-stripped image
LEAST_KEPT = 0.7                           # of the brain that must fit the standard box
LEAST_SHOWN, WHOLE = 0.7, 0.95             # of the template's brain that the field of view must show; below WHOLE: told


@dataclass(frozen=True)
class Placed:
    """How a scan came onto the standard grid: what is needed to go back, and to be told."""

    grid: grid.Grid                        # the standard grid
    registration: Registration
    brain: np.ndarray                      # d h w, bool
    brain_origin: str                      # given, or how it was found
    medians: dict[str, float]              # contrast -> intensity that became 1
    fixups: list[str]
    laid: dict[str, Laid] = field(default_factory=dict)        # how the other contrasts lay to the first
    seen: tuple[Points, ...] = ()                              # of the first contrast, for later visits

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


def to_grid(scans: Mapping[str, Scan], spacing: float, brain_mask: np.ndarray | None = None, register: str = "auto",
            first: First | None = None, masked: str = "") -> tuple[np.ndarray, np.ndarray, Placed]:
    """One visit on the standard grid: volume float32 (d h w c), present float32 (c), and how it was placed.

    `brain_mask` (bool) lies on the first scan's grid; without one it is estimated. Scans share one move, which
    `registration.register` finds on the first: none | rigid | affine | auto. Those that clearly lie off the first are
    laid onto it before, and it onto the person's `first` visit; with none all are matched by world position alone.
    masked: the contrast that the mask belongs to, and is moved with.
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
    seen, laid = (), {}
    if register != "none":
        seen = coregistration.look(reference, brain_mask)
        laid, told = coregistration.aligned(scans, seen)
        fixups += told
    moves = coregistration.moves(laid)
    scans = {contrast: coregistration.moved(scan, moves.get(contrast)) for contrast, scan in scans.items()}
    if masked in moves:
        brain_mask = resample(brain_mask, moves[masked] @ reference.affine, reference.grid, order=0)
    moved = registration.register(reference.array, brain_mask, reference.affine, register)
    _check_shown(moved, reference, fixups)
    if first is not None and register != "none":
        moved = longitudinal.follow(moved, first, reference, brain_mask)
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
    fixups += moved.lines
    for line in fixups:
        logging.info("%s: %s", reference.path, line)
    return volume, present, Placed(standard, moved, inside, origin, medians, fixups, laid, seen)


def _check_whole(inside: np.ndarray, spacing: float, mask: np.ndarray, reference: Scan, growth: float,
                 fixups: list[str]) -> None:
    """Refuse, or tell of, a brain that does not fit the standard box. growth: what the move makes of a volume."""
    kept = inside.sum() * spacing**3 / (mask.sum() * np.prod(reference.spacing) * growth)
    if kept < LEAST_KEPT:
        raise MedFuseError(f"{reference.path}: only {kept:.0%} of its brain fits the standard box: is it a head, "
                           "upright by its affine? If so give a better *_desc-brain_mask.nii.gz")
    if kept < 0.95:
        fixups.append(f"{1 - kept:.0%} of the brain mask lies outside the standard box or is finer than its voxels")


def _check_shown(found: registration.Registration, reference: Scan, fixups: list[str]) -> None:
    """Refuse, or tell of, a brain that the field of view cuts."""
    if found.shown < LEAST_SHOWN:
        raise MedFuseError(f"{reference.path}: shows {found.shown:.0%} of a brain only, {LEAST_SHOWN:.0%} are needed: "
                           f"the {found.cut} is cut off: give a scan of the whole brain, or a *_desc-brain_mask.nii.gz "
                           "of the whole brain if the mask is at fault")
    if found.shown < WHOLE:
        fixups.append(f"shows {found.shown:.0%} of a brain: the {found.cut} is cut off")
