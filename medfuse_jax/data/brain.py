"""Where the brain is when nobody said: exact for skull-stripped images, the template's outline for others."""

import numpy as np
from scipy import ndimage

from medfuse_jax.data import registration
from medfuse_jax.data.nifti import Scan
from medfuse_jax.data.resampling import coarser, resample
from medfuse_jax.errors import MedFuseError

PLAUSIBLE_ML = (500.0, 2300.0)             # brain with its CSF, newborns excluded
BORDER_SHARE = 0.98                        # of the outermost voxels that hold the background of a stripped image
COARSE_MM = 3.0                            # grid of the rough estimate
HEAD_MM = 165.0                            # from the top of the scalp to below the cerebellum: no neck
MOST_BENT = 1.5                            # longest to shortest stretch of the template that is believed
LEAST_EXPLAINED = 0.35                     # R2 of a brain that was found by itself
CURE = ("is it a whole head, upright by its affine? If so give a skull-stripped image, or in a BIDS tree a "
        "*_desc-brain_mask.nii.gz")
SKULL_MM = 6.0                             # what is eroded between brain and scalp


def estimate(scan: Scan) -> tuple[np.ndarray, str]:
    """A brain mask on the scan's grid (bool, x y z) and the fix-up that says how it was found.

    Of a whole head it is the template's brain, laid twice onto a rough estimate. Dice with the truth, three label maps
    painted as T1w, T2w and FLAIR with skull, scalp and neck: 0.78 to 0.94, median 0.92 (rough: 0.68 to 0.94, 0.90).
    """
    stripped = _stripped(scan)
    if stripped is not None:
        return stripped, "brain mask from the skull-stripped image: what is not background"
    mask = _rough(scan)
    volume = mask.sum() * np.prod(scan.spacing) / 1000
    if not PLAUSIBLE_ML[0] <= volume <= PLAUSIBLE_ML[1]:
        raise MedFuseError(f"{scan.path}: no brain was found in it (an estimate gives {volume:.0f} ml): {CURE}")
    for _ in range(2):
        found = registration.register(scan.array, mask, scan.affine, "affine")
        mask = registration.brain(found, scan.grid)
    stretch = np.linalg.svd(found.affine[:3, :3])[1]
    if not mask.any() or found.after < LEAST_EXPLAINED or stretch.max() > MOST_BENT * stretch.min():
        raise MedFuseError(f"{scan.path}: no brain was found in it (that of MNI152 does not fit): {CURE}")
    volume = mask.sum() * np.prod(scan.spacing) / 1000
    return mask, f"brain mask is MNI152's, laid onto a rough estimate ({volume:.0f} ml): a *_desc-brain_mask is better"


def check(marks: Scan, what: str) -> None:
    """Refuse a brain that somebody gave (x y z, nonzero: brain) when it is not as large as one."""
    volume = np.count_nonzero(marks.array) * np.prod(marks.spacing) / 1000
    least, most = PLAUSIBLE_ML
    if not least <= volume <= most:
        raise MedFuseError(f"{marks.path}: {what} is of {volume:.0f} ml, and a brain with its CSF of {least:.0f} to "
                           f"{most:.0f}: give one of the whole brain, without skull and scalp, in mm")


def overlap(scan: Scan, mask: np.ndarray) -> float:
    """Dice of a given mask and the brain of a skull-stripped image; 1 for an image whose skull is still there."""
    stripped = _stripped(scan)
    return 1.0 if stripped is None else float(2 * (stripped & mask).sum() / max(stripped.sum() + mask.sum(), 1))


def _stripped(scan: Scan) -> np.ndarray | None:
    """What is not background, when the background is one number all around and the rest is as large as a brain."""
    array = scan.array
    border = np.concatenate([np.take(array, end, axis=axis).ravel() for axis in range(3) for end in (0, -1)])
    background = np.median(border)
    if np.mean(border == background) < BORDER_SHARE:
        return None
    mask = ndimage.binary_fill_holes(_largest(array != background))
    volume = mask.sum() * np.prod(scan.spacing) / 1000
    return mask if PLAUSIBLE_ML[0] <= volume <= PLAUSIBLE_ML[1] else None


def _rough(scan: Scan) -> np.ndarray:
    """Otsu's threshold, the scalp cut off by an opening, holes filled; on a coarse grid, for speed and smoothness."""
    small = coarser(scan.grid, COARSE_MM)
    coarse = resample(scan.array, scan.affine, small)
    foreground = coarse > otsu(np.minimum(coarse, np.percentile(coarse[coarse > coarse.mean()], 98)))
    height = small.spacing[2] * (np.flatnonzero(ndimage.binary_opening(foreground).any(axis=(0, 1))).max(initial=0)
                                 - np.arange(small.shape[2]))                  # below the top of the head, mm
    foreground &= height < HEAD_MM
    radius = round(SKULL_MM / COARSE_MM)
    core = _largest(ndimage.binary_erosion(foreground, iterations=radius))
    brain = ndimage.binary_dilation(core, iterations=radius, mask=foreground)
    closed = ndimage.binary_closing(np.pad(brain, 2 * radius), iterations=2 * radius)
    brain = ndimage.binary_fill_holes(closed)[(slice(2 * radius, -2 * radius),) * 3]
    return resample(brain, small.affine, scan.grid, order=0)


def _largest(mask: np.ndarray) -> np.ndarray:
    labelled, count = ndimage.label(mask)
    if count == 0:
        return mask
    return labelled == 1 + np.argmax(np.bincount(labelled.ravel())[1:])


def otsu(values: np.ndarray, bins: int = 256) -> float:
    """The threshold that parts values into two classes of least variance within (Otsu, IEEE Trans. SMC 1979)."""
    counts, edges = np.histogram(values, bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    means = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * (means[0] - means[1]) ** 2
    return float(edges[1 + np.argmax(between)])
