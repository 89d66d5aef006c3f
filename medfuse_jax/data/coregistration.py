"""Two scans of one head, laid on one another: what the brightness of one explains of the other, whatever the contrasts.

The moving scan is cut into classes of brightness, which take the place of the atlas's tissues (`similarity`). From
where the headers say that it lies, the pose is climbed to, coarse before fine: heads up to 30 mm and 30 degrees apart
are caught.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from medfuse_jax.data.grid import Grid
from medfuse_jax.data.nifti import Scan
from medfuse_jax.data.poses import angle, apply, displacement
from medfuse_jax.data.resampling import resample
from medfuse_jax.data.similarity import Maps, Points, climbed, explained, maps, points

LEVELS_MM = (8.0, 4.0)
THIN = 5                                   # of the fine points every fifth: moves the pose by less than 0.1 mm
CLASSES = 8                                # of brightness
LEAST_MM = 1.5                             # apart, below which scans are left: aligned ones measure 0.2 to 1.0
LEAST_GAIN = 1.15                          # how much more is left unexplained where a scan lies than where it is put
LEAST_FIT = 0.5                            # R2 of scans that show the same head; real ones have 0.8 to 0.97
MOST_MM, MOST_DEGREES = 30.0, 30.0         # between the contrasts of one session, that are believed


class Laid(NamedTuple):
    """How a scan lies to another one of the same head."""

    move: np.ndarray                       # 4 x 4: mm of the moving scan -> mm of the fixed one, rigid
    off_mm: float                          # how far apart they lay, mean over the brain
    degrees: float
    before: float                          # R2 where they lay
    after: float                           # R2 under `move`

    @property
    def clear(self) -> bool:
        """Whether they lay apart without doubt."""
        gain = (1 - self.before) / max(1 - self.after, 1e-6)
        return self.off_mm >= LEAST_MM and gain >= LEAST_GAIN and self.after >= LEAST_FIT

    @property
    def plausible(self) -> bool:
        """Whether a head may have moved so far within a session."""
        return self.off_mm <= MOST_MM and self.degrees <= MOST_DEGREES

    def told(self) -> dict[str, Any]:
        """For the record of a study."""
        return dict(off_mm=round(self.off_mm, 2), degrees=round(self.degrees, 2), similarity=dict(
            before=round(self.before, 4), after=round(self.after, 4)), found=self.move.round(4).tolist())


def look(scan: Scan, mask: np.ndarray) -> tuple[Points, ...]:
    """What is looked at of the fixed scan, coarse and fine; mask: bool, its brain."""
    coarse, fine = (points(scan.array, mask, scan.affine, spacing, bare=False) for spacing in LEVELS_MM)
    return coarse, fine.thinned(THIN)


def lay(seen: tuple[Points, ...], moving: Scan, begin: Iterable[np.ndarray] = ()) -> Laid:
    """Where `moving` lies to the scan that was looked at.

    begin: poses (fixed mm -> moving mm) to try beside the headers' own; the best is followed.
    """
    fine = brightness(moving)
    levels = halved(fine), fine
    home = np.eye(4)
    pose = max([home, *begin], key=lambda tried: explained(seen[0], levels[0], tried))
    for level, known in zip(seen, levels, strict=True):
        pose = climbed(level, known, pose, 6)
    return Laid(np.linalg.inv(pose), displacement(pose, home, seen[1].places), angle(pose),
                explained(seen[1], fine, home), explained(seen[1], fine, pose))


def aligned(scans: Mapping[str, Scan], seen: tuple[Points, ...]) -> tuple[dict[str, Laid], list[str]]:
    """How each contrast lies to the first, which was looked at; and what is done about it, as fix-ups."""
    first, *others = scans
    laid, lines = {}, []
    for contrast in others:
        if not (scans[contrast].array > 0).any():
            continue                       # nothing to see; told where it is put onto the grid
        found = laid[contrast] = lay(seen, scans[contrast])
        told = (f"{contrast}: lies {found.off_mm:.1f} mm and {found.degrees:.0f} degrees off {first}, explains "
                f"{found.before:.0%} of it there and {found.after:.0%} where it fits best")
        if found.clear and found.plausible:
            lines.append(f"{told}: laid onto it")
        elif found.clear:
            lines.append(f"{told}: too far to be believed, left: look at its picture in quality/")
    return laid, lines


def moves(laid: Mapping[str, Laid]) -> dict[str, np.ndarray]:
    """Of the contrasts that are to be moved: their mm -> mm of the first."""
    return {contrast: found.move for contrast, found in laid.items() if found.clear and found.plausible}


def moved(scan: Scan, move: np.ndarray | None) -> Scan:
    """The same voxels at another place, if there is a move."""
    return scan if move is None else replace(scan, affine=move @ scan.affine)


def brightness(scan: Scan) -> Maps:
    """A scan, somewhere above 0, as classes of brightness that overlap: hats between quantiles of what is not 0.

    The first class is what is 0.
    """
    grid = _upright(scan.grid, LEVELS_MM[-1])
    shown = np.maximum(scan.array, 0)
    image, filled = resample(shown, scan.affine, grid), resample(shown > 0, scan.affine, grid)
    there = filled > min(0.5, filled.max() / 2)
    knots = np.quantile(image[there], np.linspace(0.01, 0.99, CLASSES))
    place = np.interp(image, knots, np.arange(CLASSES))
    hats = np.maximum(1 - np.abs(place - np.arange(CLASSES)[:, None, None, None]), 0) * filled
    return maps(grid, np.concatenate([1 - filled[None], hats]).astype(np.float32))


def halved(fine: Maps) -> Maps:
    """The same classes on voxels twice as large."""
    shape = [count // 2 * 2 for count in fine.grid.shape]
    even = fine.shares[:, :shape[0], :shape[1], :shape[2]]
    pairs = even.reshape(len(even), *(part for count in shape for part in (count // 2, 2)))
    affine = fine.grid.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] += fine.grid.spacing / 2
    return maps(Grid(tuple(count // 2 for count in shape), affine), pairs.mean(axis=(2, 4, 6)))


def _upright(grid: Grid, spacing: float) -> Grid:
    """A grid parallel to the axes of the world that holds another one."""
    corners = np.stack(np.meshgrid(*[(-0.5, count - 0.5) for count in grid.shape]), axis=-1).reshape(-1, 3)
    corners = apply(grid.affine, corners)
    low, size = corners.min(axis=0), np.ptp(corners, axis=0)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low + spacing / 2
    return Grid(tuple(int(count) for count in 2 * np.ceil(size / spacing / 2)), affine)
