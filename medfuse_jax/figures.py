"""Pictures that people look at: the preview of a study and the curve of a report, as PNG on a dark sheet."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import cycle
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from numpy.typing import ArrayLike

from medfuse_jax import planes
from medfuse_jax.captions import Captions, Row
from medfuse_jax.data import definitions
from medfuse_jax.data.findings import Findings
from medfuse_jax.metrics.obedience import Verdict

NOTICE = "SYNTHETIC - research only"         # in the file's description; the page says it in its own language
INK, QUIET, SHEET, TILE, WARNING = "#e8eaf0", "#8b93a7", "#0d1017", "#000000", "#ffb454"
VERDICTS = {"obeyed": "#7fd962", "not obeyed": "#ff7a93", "not measurable": QUIET}
LINES = ("#5cc8ff", "#ffb454", "#7fd962", "#ff7a93", "#c79bff", "#f2e34c", "#5ad1b3", "#b0b8c8")
LEGEND = {"cortex": "cerebral_cortex", "ventricles": "lateral_ventricle", "thalamus": "thalamus", "caudate": "caudate",
          "putamen": "putamen", "pallidum": "pallidum", "hippocampus": "hippocampus", "brainstem": "brainstem",
          "cerebellum": "cerebellum_cortex"}
COLUMNS = (0.0, 0.40, 0.60, 0.85)            # where the columns of the table begin, as a share of its width
EDGES = (-0.75, 1.75)                        # of the scale on which a target's band is 0 to 1
LETTERS = 132                                # of a line of the table, or of the lines under it


def preview(volumes: Mapping[str, np.ndarray], path: str | Path, *, spacing: definitions.Spacing,
            structures: np.ndarray | None = None, lesions: np.ndarray | None = None, title: str = "",
            findings: Findings | None = None, verdicts: Sequence[Verdict] = (), language: str = "en",
            made_mm: definitions.Real | None = None, synthetic: bool = True) -> Path:
    """A study on one page: each contrast and its labels in three planes, what was asked and whether it was obeyed.

    volumes: contrast -> x y z. structures: x y z classes. lesions: x y z, bool or fraction of the voxel.
    title: the sentence, in `language` (en | fr), as is the rest of the page. made_mm: the grid on which a model made
    it, when it is shown on a finer one. synthetic: prints the notice, on the sheet and in the file's description.
    """
    shown, say = planes.study(volumes, spacing, structures, lesions, made_mm), Captions(language)
    rows = [*shown.volumes, *(["labels"] if shown.labelled else [])]
    page = Sheet(shown, len(rows), say, title, say.rows(verdicts), say.summary(findings) if findings else [])
    page.foot(made_mm, synthetic)
    if verdicts:
        page.judge(say.rows(verdicts), say.tally(verdicts))
    for row, name in enumerate(rows):
        for column, plane in enumerate(planes.PLANES):
            axes = page.tile(row, column)
            draw(axes, shown, name if name in shown.volumes else next(iter(shown.volumes)), plane)
            if name not in shown.volumes:
                paint(axes, shown, plane)
            page.dress(axes, plane, shown.sides(plane), name if name in shown.volumes else say["labels"], row, column)
    return write(page.figure, path, 120, synthetic)


def draw(axes: Axes, shown: planes.Study, name: str, plane: planes.Plane) -> None:
    """One slice of one contrast, in mm from its lower left corner."""
    width, height = shown.sides(plane)
    picture = planes.cut(shown.volumes[name], plane, shown.cuts[plane.normal])
    axes.imshow(picture, cmap="gray", vmin=0, vmax=shown.windows[name], interpolation="bicubic",
                extent=(0, width, 0, height))


def paint(axes: Axes, shown: planes.Study, plane: planes.Plane, pixel_mm: float = 0.5) -> None:
    """Structures in colour and the lesions' outline, over a slice."""
    at, factors = shown.cuts[plane.normal], planes.factors(shown, plane, pixel_mm)
    width, height = shown.sides(plane)
    if shown.structures is not None:
        colours = planes.painted(planes.cut(shown.structures, plane, at), factors, shown.blurred(plane))
        axes.imshow(colours, interpolation="bilinear", extent=(0, width, 0, height))
    if shown.lesions is not None:
        inside = planes.outlined(planes.cut(shown.lesions, plane, at), factors, shown.blurred(plane))
        if inside.max() > 0.5 > inside.min():
            down, across = inside.shape
            x = (np.arange(across) + 0.5) * width / across
            y = height - (np.arange(down) + 0.5) * height / down
            axes.contourf(x, y, inside, levels=[0.5, 2.0], colors=[planes.LESION], alpha=0.45)
            axes.contour(x, y, inside, levels=[0.5], colors=[planes.LESION], linewidths=1.2)


@cache
def known_characters() -> frozenset[int]:
    """Code points that the font of the pages has."""
    return frozenset(FT2Font(findfont(FontProperties())).get_charmap())


def printable(text: str) -> str:
    """A text in which a sign stands for each character that the font lacks (emoji, other scripts)."""
    return "".join(letter if ord(letter) in known_characters() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def balanced(letters: int, most: int) -> int:
    """The width at which a text of so many letters fills its lines evenly, none longer than `most`."""
    lines = max(-(-letters // most), 1)
    return most if lines == 1 else min(most, letters // lines + 12)


def cells(row: Row) -> list[list[str]]:
    """The four cells of a row, each as the lines that it takes."""
    ends = (*COLUMNS[1:], 1.0)
    texts = (row.asked, row.wanted, row.found, row.said)
    return [wrap(text, int((end - start) * LETTERS) - 2) or [""]
            for text, start, end in zip(texts, COLUMNS, ends, strict=True)]


class Sheet:
    """A dark page of tiles, all on one scale in mm, with words above and below; places are mm from the lower left."""

    gap, margin, inches = 3.0, 9.0, 10.0

    def __init__(self, shown: planes.Study, rows: int, say: Captions, title: str, table: Sequence[Row],
                 below: Sequence[str]):
        self.shown, self.say = shown, say
        self.widths = [shown.sides(plane)[0] for plane in planes.PLANES]
        self.height = max(shown.sides(plane)[1] for plane in planes.PLANES)
        self.across = sum(self.widths) + 2 * self.gap + 2 * self.margin
        self.word = word = self.across / 57.0          # the height of a line: words keep their size on any head
        title = printable(title)
        above = wrap(title, balanced(len(title), 92), max_lines=3, placeholder=" ...")
        below = [part for line in below for part in wrap(line, LETTERS)]
        table_lines = sum(max(map(len, cells(row))) for row in table)
        self.top = (2.4 + 1.6 * len(above)) * word
        self.table_top = (2.4 + 1.4 * len(below) + (1.5 * table_lines + 2.0) * bool(table)) * word
        bottom = self.table_top + 2.3 * word * (shown.structures is not None)
        self.down = self.top + rows * self.height + (rows - 1) * self.gap + bottom
        self.figure = Figure(figsize=(self.inches, self.inches * self.down / self.across), facecolor=SHEET)
        for line, text in enumerate(above):
            self.write(self.margin, self.down - (1.5 + 1.6 * line) * word, text, fontsize=12, weight="bold", color=INK)
        for line, text in enumerate(below):
            self.write(self.margin, (1.4 + 1.4 * (len(below) - line)) * word, text, fontsize=9.5, color=QUIET)
        if shown.structures is not None:
            self.name_colours(bottom - 1.1 * word)

    def foot(self, made_mm: definitions.Real | None, synthetic: bool) -> None:
        """Which side is which, how fine the grid is, and that nothing here is real."""
        spacing = self.shown.spacing
        sides = " x ".join(f"{side:.3g}" for side in (spacing if np.ptp(spacing) > 1e-3 else spacing[:1]))
        told = [self.say["sides"], self.say["grid"].format(sides.replace(".", self.say.lexicon.decimal))]
        if made_mm and made_mm > 1.01 * spacing.min():
            told.append(self.say["made"].format(f"{made_mm:g}"))
        self.write(self.margin, 1.1 * self.word, self.say["then"].join(told), fontsize=8.5, color=QUIET)
        if synthetic:
            self.write(self.across - self.margin, 1.1 * self.word, self.say["notice"], fontsize=10, weight="bold",
                       color=WARNING, ha="right")

    def judge(self, table: Sequence[Row], tally: str) -> None:
        """The table of verdicts: what was asked, what would do, what was measured, and whether that is it."""
        width, height = self.across - 2 * self.margin, self.table_top - 0.9 * self.word
        places = [self.margin + start * width for start in COLUMNS]
        self.write(places[0], height, tally, fontsize=11, weight="bold", color=INK)
        for place, name in zip(places[1:], ("wanted", "found", "verdict"), strict=True):
            self.write(place, height, self.say[name], fontsize=9.5, color=QUIET)
        for row in table:
            written, colour = cells(row), VERDICTS[row.verdict]
            height -= 1.5 * self.word
            for place, lines, ink in zip(places, written, (INK, QUIET, INK, colour), strict=True):
                weight = "bold" if ink is colour else "normal"
                for line, text in enumerate(lines):
                    self.write(place, height - 1.5 * line * self.word, text, fontsize=10, color=ink, weight=weight)
            height -= 1.5 * (max(map(len, written)) - 1) * self.word

    def write(self, x: float, y: float, text: str, **style) -> None:
        """Words at a place."""
        self.figure.text(x / self.across, y / self.down, text, parse_math=False, va="center", **style)

    def left(self, column: int) -> float:
        """The left edge of a column."""
        return self.margin + sum(self.widths[:column]) + column * self.gap

    def tile(self, row: int, column: int) -> Axes:
        """A black tile without ticks."""
        low = self.down - self.top - (row + 1) * self.height - row * self.gap
        axes = self.figure.add_axes((self.left(column) / self.across, low / self.down,
                                     self.widths[column] / self.across, self.height / self.down), facecolor=TILE)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    def dress(self, axes: Axes, plane: planes.Plane, sides: tuple[float, float], name: str,
              row: int, column: int) -> None:
        """Centre the slice in its tile and write the sides' letters, the row's and the column's name, the legend."""
        middle = sides[1] / 2
        axes.set(xlim=(0, sides[0]), ylim=(middle - self.height / 2, middle + self.height / 2), aspect="auto")
        words = {"transform": axes.transAxes, "parse_math": False}
        for place, letter, side in zip((0.02, 0.98), plane.sides, ("left", "right"), strict=True):
            axes.text(place, 0.5, self.say[letter], color=QUIET, fontsize=9.5, va="center", ha=side, **words)
        if column == 0:
            axes.text(0.03, 0.97, name, color=INK, fontsize=11, weight="bold", va="top", **words)
        if row == 0:
            self.write(self.left(column) + self.widths[column] / 2, self.down - self.top + self.across / 95,
                       self.say[plane.name], fontsize=10, color=QUIET, ha="center")

    def name_colours(self, height: float) -> None:
        """The colours' names, each in its colour, in one line under the tiles."""
        entries = [*LEGEND.items(), ("lesion", "")]
        step = (self.across - 2 * self.margin) / len(entries)
        for place, (word, structure) in enumerate(entries):
            colour = planes.COLOURS.get(structure, planes.LESION)
            self.write(self.margin + step * (place + 0.5), height, self.say[word], fontsize=8.5, weight="bold",
                       color=colour, ha="center")


def curve(lines: Mapping[str, tuple[ArrayLike, ArrayLike]], path: str | Path, *, title: str = "", x_label: str = "",
          y_label: str = "", bands: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
          log_y: bool = False) -> Path:
    """Lines over one axis, name -> (x, y), each named at its end; bands: name -> (low, high) around that line."""
    figure = Figure(figsize=(8.0, 4.6), facecolor=SHEET)
    axes = figure.add_axes((0.10, 0.14, 0.70, 0.70), facecolor=SHEET)
    ends = []
    for colour, (name, (x, y)) in zip(cycle(LINES), lines.items(), strict=False):
        x, y = np.asarray(x, float), np.asarray(y, float)
        axes.plot(x, y, color=colour, lw=2.0, solid_capstyle="round", marker="o" if len(x) < 12 else None, ms=4)
        if bands and name in bands:
            axes.fill_between(x, *bands[name], color=colour, alpha=0.18, lw=0)
        if np.isfinite(y).any():
            ends.append((float(y[np.isfinite(y)][-1]), name, colour))
    if log_y:
        axes.set_yscale("log")
    axes.grid(True, color=INK, alpha=0.08, lw=0.8)
    axes.tick_params(which="both", colors=QUIET, labelsize=9, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(x_label, color=QUIET, fontsize=10, parse_math=False)
    axes.set_ylabel(y_label, color=QUIET, fontsize=10, parse_math=False)
    figure.text(0.10, 0.91, title, color=INK, fontsize=13, weight="bold", parse_math=False)
    name_ends(axes, ends)
    return write(figure, path, 150, synthetic=False)


def targets(rows: Sequence[tuple[str, float, float, float, tuple[float, float]]], path: str | Path,
            title: str = "") -> Path:
    """What was reached beside what was asked: (name, low, high, value, interval), each on its own scale.

    The band from low to high has the same place in every row; a point outside is drawn in a warning colour.
    """
    down = 1.2 + 0.27 * len(rows)
    figure = Figure(figsize=(9.0, down), facecolor=SHEET)
    axes = figure.add_axes((0.40, 0.5 / down, 0.52, 1 - 1.1 / down), facecolor=SHEET)
    axes.axvspan(0, 1, color=VERDICTS["obeyed"], alpha=0.14, lw=0)
    for place, (_, low, high, value, ends) in enumerate(rows):
        at, (left, right) = ((np.asarray(some) - low) / (high - low) for some in (value, ends))
        colour = VERDICTS["obeyed"] if 0 <= at <= 1 else VERDICTS["not obeyed"]
        axes.plot(np.clip((left, right), *EDGES), (place, place), color=colour, lw=2.0, alpha=0.6)
        axes.plot(np.clip(at, *EDGES), place, "o", color=colour, ms=6)
        axes.text(EDGES[1] + 0.05, place, f"{value:.3g}", color=INK, fontsize=8.5, va="center", parse_math=False)
    axes.set(xlim=EDGES, ylim=(len(rows) - 0.4, -0.6), xticks=(0, 1), yticks=range(len(rows)))
    axes.set_xticklabels(("least", "most"), color=QUIET, fontsize=9)
    axes.set_yticklabels([row[0] for row in rows], color=INK, fontsize=8.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.text(0.02, 1 - 0.35 / down, title, color=INK, fontsize=12, weight="bold", parse_math=False)
    return write(figure, path, 130, synthetic=False)


def name_ends(axes: Axes, ends: list[tuple[float, str, str]], room: float = 0.06) -> None:
    """Write each line's name beside its last value, from below upwards, pushed apart where they would touch."""
    lowest = -np.inf
    for value, name, colour in sorted(ends):
        corner = axes.transData.transform((axes.get_xlim()[0], value))
        lowest = max(float(axes.transAxes.inverted().transform(corner)[1]), lowest + room)
        axes.text(1.02, lowest, name, transform=axes.transAxes, color=colour, fontsize=10, weight="bold", va="center",
                  parse_math=False)


def write(figure: Figure, path: str | Path, dpi: int, synthetic: bool) -> Path:
    """Save as PNG; what is synthetic says so inside the file too."""
    path = Path(path)
    told = {"Description": f"{NOTICE}, medfuse_jax"} if synthetic else {}
    figure.savefig(path, format="png", dpi=dpi, facecolor=figure.get_facecolor(), metadata=told)
    return path
