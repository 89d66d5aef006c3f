"""One picture a study: do head, brain mask and contrasts lie where they should? A row a contrast, three slices each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from threading import Lock

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from medfuse_jax import figures, planes
from medfuse_jax.data import grid, registration
from medfuse_jax.data.grid import Grid
from medfuse_jax.data.nifti import Scan
from medfuse_jax.data.placement import Placed
from medfuse_jax.data.resampling import resample

PIXEL_MM = 1.0
WINDOW = 99.7                              # percentile of what is not background that is shown white
BRAIN, LESIONS, TEMPLATE = figures.LINES[0], planes.LESION, figures.LINES[1]
DRAWING = Lock()                           # matplotlib is not made for several threads
GAP_MM, HEAD_MM, LINE_MM = 6.0, 30.0, 14.0             # on the sheet: around slices, above them, a line below them
AROUND_MM = 8.0                            # of the brain that is shown
INCHES = 0.015                             # a mm of the head on the sheet
LETTERS = 125                              # of a line below the slices
SCALE_MM = 50.0                            # of the bar


def slices(placed: Placed, lesions: np.ndarray | None) -> dict[str, Grid]:
    """The three planes (by name) through the brain's middle, or where most lesion is; lesions: d h w, fraction."""
    brain = placed.brain.T
    cuts = planes.best_cuts(brain, None if lesions is None else lesions.T)
    box = _around(placed)
    sheets = {}
    for plane in planes.PLANES:
        shape, affine = list(box.shape), box.affine.copy()
        shape[plane.normal] = 1
        affine[plane.normal, 3] = placed.grid.affine[plane.normal, 3] + (cuts[plane.normal]
                                                                         * placed.grid.spacing[plane.normal])
        sheets[plane.name] = Grid(tuple(shape), affine)
    return sheets


def _around(placed: Placed) -> Grid:
    """The part of the standard box that holds the brain, and the template's where it is drawn, in pixels."""
    inside = placed.brain.T
    if placed.registration.before is not None:
        inside = inside | (_template(placed, placed.grid) > 0.5)
    whole, voxels = grid.standard(PIXEL_MM), np.argwhere(inside)
    low, high = (placed.grid.affine[:3, 3] + placed.grid.spacing * (end + side / 2) + side * AROUND_MM
                 for end, side in ((voxels.min(axis=0), -1), (voxels.max(axis=0), 1)))
    first = np.maximum(np.floor((low - whole.affine[:3, 3]) / PIXEL_MM), 0).astype(int)
    last = np.minimum(np.ceil((high - whole.affine[:3, 3]) / PIXEL_MM).astype(int), whole.shape)
    affine = whole.affine.copy()
    affine[:3, 3] += PIXEL_MM * first
    return Grid(tuple(int(count) for count in last - first), affine)


def _template(placed: Placed, on: Grid) -> np.ndarray:
    """The share of each voxel that is MNI152's brain (x y z), which is given the size of this one."""
    known = registration.template(registration.LEVELS_MM[-1])
    sized = placed.transform @ np.linalg.inv(placed.registration.affine)
    return resample(1 - known.shares[0], sized @ known.grid.affine, on)


def _outlines(placed: Placed, marks: Scan | None, sheet: Grid) -> list[tuple[np.ndarray, str, float, str]]:
    """What is drawn on one plane of every contrast: shares (x y z), colour, width and style of the line."""
    drawn = [(resample(placed.brain.T.astype(np.float32), placed.grid.affine, sheet), BRAIN, 1.0, "solid")]
    if placed.registration.before is not None:
        drawn.append((_template(placed, sheet), TEMPLATE, 0.8, "dotted"))
    if marks is not None:
        drawn.append((resample(marks.array.astype(np.float32), placed.transform @ marks.affine, sheet), LESIONS, 0.8,
                      "solid"))
    return drawn


def draw(path: Path, scans: Mapping[str, Scan], placed: Placed, marks: Scan | None, lesions: np.ndarray | None,
         title: str, lines: Sequence[str]) -> Path:
    """Write the figure: a row a contrast, as it was put into the standard box, with the outlines of its brain mask, of
    the lesions and, where the head was registered, of the template's brain. lines: what is told below.
    """
    sheets = slices(placed, lesions)
    outlines = {name: _outlines(placed, marks, sheet) for name, sheet in sheets.items()}
    told = [part for line in lines for part in wrap(line, LETTERS, subsequent_indent="    ")]
    sides = [(sheets[plane.name].shape[plane.across] * PIXEL_MM, sheets[plane.name].shape[plane.up] * PIXEL_MM)
             for plane in planes.PLANES]
    height, foot = max(up for _, up in sides), GAP_MM + LINE_MM * (len(told) + 0.5)
    sheet = np.array([sum(across for across, _ in sides) + 4 * GAP_MM,
                      HEAD_MM + len(scans) * (height + GAP_MM) + foot])
    with DRAWING:
        figure = Figure(figsize=sheet * INCHES, facecolor=figures.SHEET)
        for row, (contrast, scan) in enumerate(scans.items()):
            left = GAP_MM
            for plane, (across, up) in zip(planes.PLANES, sides, strict=True):
                low = sheet[1] - HEAD_MM - row * (height + GAP_MM) - (height + up) / 2
                axes = figure.add_axes((*np.array([left, low]) / sheet, *np.array([across, up]) / sheet),
                                       facecolor=figures.TILE)
                left += across + GAP_MM
                _tile(axes, scan, placed, plane, sheets[plane.name])
                for inside, *line in outlines[plane.name]:
                    _outline(axes, inside, plane, *line)
                if row == 0:
                    at = sheets[plane.name].affine[plane.normal, 3]
                    _say(axes, 0.5, 0.985, f"{plane.name}, {'xyz'[plane.normal]} = {at:.0f} mm", ha="center", va="top")
                if plane is planes.PLANES[0]:
                    _say(axes, 0.02, 0.985, contrast, ha="left", va="top", color=figures.INK, weight="bold")
            if row == 0:                       # `axes` is the last tile of the row
                axes.plot([across - SCALE_MM, across], [up + 7, up + 7], color=figures.INK, linewidth=2, clip_on=False)
                _say(axes, 1 - (SCALE_MM + 4) / across, -7 / up, f"{SCALE_MM:.0f} mm", ha="right", va="center")
        figure.text(GAP_MM / sheet[0], 1 - HEAD_MM / 2 / sheet[1], title, color=figures.INK, fontsize=11,
                    weight="bold", va="center", parse_math=False)
        for row, line in enumerate(told):
            figure.text(GAP_MM / sheet[0], (foot - LINE_MM * (row + 1)) / sheet[1], line, color=figures.QUIET,
                        fontsize=8, va="center", parse_math=False)
        return figures.write(figure, path, 100, synthetic=False)


def _tile(axes, scan: Scan, placed: Placed, plane: planes.Plane, sheet: Grid) -> None:
    """One slice of one contrast, from its own voxels."""
    seen = scan.array[scan.array > 0] if (scan.array > 0).any() else scan.array.ravel()
    white = float(np.percentile(seen[:: max(len(seen) // 100_000, 1)], WINDOW))
    picture = planes.cut(resample(scan.array, placed.transform @ scan.affine, sheet), plane, 0)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=white, interpolation="bilinear", aspect="auto")
    axes.set(xticks=[], yticks=[], xlim=(-0.5, picture.shape[1] - 0.5), ylim=(picture.shape[0] - 0.5, -0.5))
    axes.spines[:].set_visible(False)
    for place, letter, side in zip((0.02, 0.98), plane.sides, ("left", "right"), strict=True):
        _say(axes, place, 0.5, letter, ha=side, va="center")


def _say(axes, across: float, up: float, text: str, **style) -> None:
    axes.text(across, up, text, transform=axes.transAxes, parse_math=False, **dict(color=figures.QUIET, fontsize=8)
              | style)


def _outline(axes, inside: np.ndarray, plane: planes.Plane, colour: str, width: float, style: str) -> None:
    picture = ndimage.gaussian_filter(planes.cut(inside, plane, 0), 0.5)
    if picture.max() > 0.5 > picture.min():
        axes.contour(picture, levels=[0.5], colors=[colour], linewidths=width, linestyles=style)
