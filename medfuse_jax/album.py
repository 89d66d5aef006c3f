"""Pictures of a BIDS tree that people look at: some of its people beside each other, and one of them over time."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medfuse_jax import figures, planes
from medfuse_jax.data import bids, definitions
from medfuse_jax.data.nifti import Scan, read_mask, read_volume
from medfuse_jax.errors import MedFuseError

AXIAL = planes.PLANES[0]
SHOWN = ("FLAIR", "T1w", "T2w", "ce-gadolinium_T1w")
NEW = "#ffd23f"                            # the outline of lesions that an earlier visit does not have
SIDE_INCHES, MOST_VISITS, RIM_MM = 2.6, 5, 4.0


def album(tree: str | Path, path: str | Path, number: int = 4, synthetic: bool = True) -> Path:
    """One page: `number` people of a BIDS tree in one axial slice each, below them the person with most new lesions.

    Lesions are outlined in red, those without overlap with an earlier visit's in yellow. MedFuseError without images.
    """
    studies = [study for study in bids.index(tree) if study.contrasts and not study.problem]
    if not studies:
        raise MedFuseError(f"{tree}: no image to show: give a BIDS tree with sub-*/ses-*/anat/*.nii.gz")
    first = {study.person: study for study in reversed(studies)}
    people = [first[person] for person in sorted(first)][:number]
    course = _most_changed([[study for study in studies if study.person == one.person] for one in people])
    shown = [name for name in SHOWN if any(name in study.contrasts for study in people)]
    across = max(len(shown) + 1, len(course.visits) if course else 0)
    figure = Figure(figsize=(SIDE_INCHES * across, SIDE_INCHES * 1.22 * (len(people) + bool(course)) + 0.5),
                    facecolor=figures.SHEET)
    grid = figure.subplots(len(people) + bool(course), across, squeeze=False, gridspec_kw=dict(
        left=0.01, right=0.99, bottom=0.02, top=1 - 0.45 / figure.get_figheight(), wspace=0.03, hspace=0.16))
    for axes in grid.flat:
        axes.set_facecolor(figures.TILE)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_visible(False)
    for row, study in zip(grid, people, strict=False):
        _person(row, study, shown)
    if course:
        _draw_course(grid[-1], course)
    if synthetic:
        figure.text(0.99, 0.005, figures.NOTICE, color=figures.WARNING, fontsize=8, ha="right")
    return figures.write(figure, path, 110, synthetic)


def _person(row: np.ndarray, study: bids.Study, shown: Sequence[str]) -> None:
    """A person's contrasts, and the first of them with the lesions outlined, in the slice with most lesion."""
    scans = {name: read_volume(path) for name, path in study.contrasts.items() if name in shown}
    like = next(iter(scans.values()))
    lesions = _lesions(study, like)
    at = planes.best_cuts(like.array > 0, lesions)[AXIAL.normal]
    for axes, name in zip(row, shown, strict=False):
        if name in scans:
            _slice(axes, scans[name], like, at)
            axes.set_title(name, color=figures.QUIET, fontsize=9)
    outlined = row[len(shown)]
    _slice(outlined, like, like, at)
    if lesions is not None:
        _outline(outlined, lesions, at, planes.LESION)
    facts = [study.person, *(f"{study.row[name]}" for name in ("sex", "age", "phenotype") if study.row.get(name))]
    if lesions is not None:
        facts.append(f"{lesions.sum() * definitions.voxel_ml(like.spacing):.1f} ml")
    row[0].set_title(" ".join(facts) + f"\n{row[0].get_title()}", color=figures.INK, fontsize=9)


class _Course(NamedTuple):
    """The visits of one person, read, and what is new at each since the one before: scans, masks, masks."""

    visits: list[bids.Study]
    scans: list[Scan]
    masks: list[np.ndarray]
    news: list[np.ndarray]


def _draw_course(row: np.ndarray, course: _Course) -> None:
    """One slice of one person at each visit; what is new since the visit before is outlined in yellow."""
    seen = sum(new.astype(np.float32) for new in course.news)
    like = course.scans[0]
    at = planes.best_cuts(like.array > 0, seen if seen.any() else course.masks[0])[AXIAL.normal]
    for axes, visit, scan, mask, new in zip(row, *course, strict=False):
        _slice(axes, scan, like, at)
        _outline(axes, mask & ~new, at, planes.LESION)
        _outline(axes, new, at, NEW)
        _, count = definitions.components(new, scan.spacing)
        when = f"{visit.person}, {visit.date_years or 0.0:.1f} years"
        axes.set_title(f"{when}: {count} new", color=figures.INK, fontsize=9)


def _most_changed(people: Sequence[Sequence[bids.Study]]) -> _Course | None:
    """Of people with FLAIR and lesion masks at several visits, the one with most new lesion; nobody: None."""
    best, most = None, -1
    for visits in people:
        visits = [one for one in visits if "FLAIR" in one.contrasts and one.lesion_mask is not None][:MOST_VISITS]
        if len(visits) < 2:
            continue
        scans = [read_volume(one.contrasts["FLAIR"]) for one in visits]
        masks = [_lesions(one, scan) for one, scan in zip(visits, scans, strict=True)]
        if len({mask.shape for mask in masks}) > 1:
            continue
        news = [np.zeros_like(masks[0]), *(_new(before, after, scans[0].spacing) for before, after in pairwise(masks))]
        found = sum(int(new.sum()) for new in news)
        best, most = (_Course(visits, scans, masks, news), found) if found > most else (best, most)
    return best


def _lesions(study: bids.Study, like: Scan) -> np.ndarray | None:
    """The lesion mask on a scan's grid, bool."""
    return None if study.lesion_mask is None else read_mask(study.lesion_mask, like=like)


def _new(before: np.ndarray, after: np.ndarray, spacing: definitions.Spacing) -> np.ndarray:
    """The voxels of a later visit's lesions that are new, as `definitions.changes` counts them."""
    return np.isin(definitions.components(after, spacing)[0], definitions.changes(before, after, spacing).new)


def _slice(axes: Axes, scan: Scan, like: Scan, at: int) -> None:
    """An axial slice, close to the head, at the place of slice `at` of another scan of the same space."""
    axes.set_visible(True)
    height = like.affine[2, 3] + at * like.affine[2, 2]
    own = int(np.clip(round((height - scan.affine[2, 3]) / scan.affine[2, 2]), 0, scan.array.shape[2] - 1))
    picture = planes.cut(scan.array, AXIAL, own)
    rows, columns = (np.flatnonzero((planes.cut(like.array, AXIAL, at) > 0).any(axis=axis)) for axis in (1, 0))
    axes.imshow(picture, cmap="gray", vmin=0, vmax=planes.window(scan.array, scan.array > 0), interpolation="bicubic",
                extent=(0, picture.shape[1], 0, picture.shape[0]), aspect=scan.spacing[1] / scan.spacing[0])
    if len(rows) and scan.array.shape == like.array.shape:          # closer to the head
        rim = RIM_MM / scan.spacing[0]
        axes.set(xlim=(columns[0] - rim, columns[-1] + 1 + rim),
                 ylim=(len(picture) - rows[-1] - 1 - rim, len(picture) - rows[0] + rim))


def _outline(axes: Axes, mask: np.ndarray, at: int, colour: str) -> None:
    picture = planes.cut(mask, AXIAL, at)
    if picture.any() and not picture.all():
        rows, columns = picture.shape
        axes.contour(np.arange(columns) + 0.5, rows - np.arange(rows) - 0.5, picture, levels=[0.5], colors=[colour],
                     linewidths=0.9)
