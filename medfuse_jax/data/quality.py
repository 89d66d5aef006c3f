"""One picture a study, to see at a glance whether the brain mask fits and the head is upright: three slices."""

from pathlib import Path
from textwrap import shorten
from threading import Lock

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from medfuse_jax import figures, planes
from medfuse_jax.data import grid
from medfuse_jax.data.grid import Grid
from medfuse_jax.data.nifti import Scan
from medfuse_jax.data.placement import Placed
from medfuse_jax.data.resampling import resample

PIXEL_MM = 1.0
WINDOW = 99.7                              # percentile of what is not background that is shown white
BRAIN, LESIONS = figures.LINES[0], planes.LESION
DRAWING = Lock()                           # matplotlib is not made for several threads
TILE_MM, GAP_MM, FOOT_MM = 224.0, 8.0, 36.0            # the highest slice, the space around them, the words below
SHEET_MM = np.array([192.0 + 192.0 + 224.0 + 4 * GAP_MM, TILE_MM + FOOT_MM + 30.0])
INCHES = 0.015                             # a mm of the head on the sheet
LETTERS = 150                              # of a line below the slices


def slices(placed: Placed, lesions: np.ndarray | None) -> dict[str, Grid]:
    """The three planes (by name) through the brain's middle, or where most lesion is; lesions: d h w, fraction."""
    brain = placed.brain.T
    cuts = planes.best_cuts(brain, None if lesions is None else lesions.T)
    sheets = {}
    for plane in planes.PLANES:
        box = grid.standard(PIXEL_MM)
        shape, affine = list(box.shape), box.affine.copy()
        shape[plane.normal] = 1
        affine[plane.normal, 3] = placed.grid.affine[plane.normal, 3] + (cuts[plane.normal]
                                                                         * placed.grid.spacing[plane.normal])
        sheets[plane.name] = Grid(tuple(shape), affine)
    return sheets


def draw(path: Path, scan: Scan, placed: Placed, marks: Scan | None, lesions: np.ndarray | None, title: str,
         lines: list[str]) -> Path:
    """Write the figure: the scan as it was put into the standard box, the outlines of its brain mask and lesions."""
    sheets = slices(placed, lesions)
    seen = scan.array[scan.array > 0] if (scan.array > 0).any() else scan.array.ravel()
    white = float(np.percentile(seen[:: max(len(seen) // 100_000, 1)], WINDOW))
    pictures = [(plane, sheets[plane.name]) for plane in planes.PLANES]
    with DRAWING:
        figure, left = Figure(figsize=SHEET_MM * INCHES, facecolor=figures.SHEET), GAP_MM
        for plane, sheet in pictures:
            across, up = (sheet.shape[axis] * PIXEL_MM for axis in (plane.across, plane.up))
            low = FOOT_MM + (TILE_MM - up) / 2
            axes = figure.add_axes((*np.array([left, low]) / SHEET_MM, *np.array([across, up]) / SHEET_MM),
                                   facecolor=figures.TILE)
            left += across + GAP_MM
            picture = resample(scan.array, placed.transform @ scan.affine, sheet)
            axes.imshow(planes.cut(picture, plane, 0), cmap="gray", vmin=0, vmax=white, interpolation="bilinear")
            _outline(axes, resample(placed.brain.T.astype(np.float32), placed.grid.affine, sheet), plane, BRAIN, 1.0)
            if marks is not None:
                marked = resample(marks.array.astype(np.float32), placed.transform @ marks.affine, sheet)
                _outline(axes, marked, plane, LESIONS, 0.8)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            for place, letter, side in zip((0.02, 0.98), plane.sides, ("left", "right"), strict=True):
                axes.text(place, 0.5, letter, transform=axes.transAxes, color=figures.QUIET, fontsize=9, ha=side)
        figure.text(GAP_MM / SHEET_MM[0], 0.95, title, color=figures.INK, fontsize=11, weight="bold", va="center",
                    parse_math=False)
        for row, line in enumerate(lines):
            figure.text(GAP_MM / SHEET_MM[0], (FOOT_MM - 14 - 15 * row) / SHEET_MM[1], shorten(line, LETTERS),
                        color=figures.QUIET, fontsize=8, parse_math=False)
        return figures.write(figure, path, 100, synthetic=False)


def _outline(axes, inside: np.ndarray, plane: planes.Plane, colour: str, width: float) -> None:
    picture = ndimage.gaussian_filter(planes.cut(inside, plane, 0), 0.5)
    if picture.max() > 0.5 > picture.min():
        axes.contour(picture, levels=[0.5], colors=[colour], linewidths=width)
