"""One visit of a person made: read, placed, labelled and measured, with its record and its picture.

Each study gets a record of where it comes from (provenance/STUDY.json) and a picture to look at (quality/STUDY.png).
"""

import json
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

import medfuse_jax
from medfuse_jax.data import brain, contents, coregistration, labels, nifti, quality
from medfuse_jax.data.bids import Study
from medfuse_jax.data.coregistration import Laid
from medfuse_jax.data.files import whole_file
from medfuse_jax.data.findings import TREATMENTS
from medfuse_jax.data.longitudinal import First
from medfuse_jax.data.nifti import Scan, same_grid
from medfuse_jax.data.placement import Placed, arranged, to_grid
from medfuse_jax.data.poses import apply
from medfuse_jax.data.prepared import Example
from medfuse_jax.data.resampling import fraction, resample
from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics import biomarkers

LEAST_INSIDE = 0.5                         # of a lesion mask that must lie in the brain
LEAST_MASKED, CHECKED_ONE_IN = 0.95, 7     # of the brain that the grid of a lesion mask must cover; voxels looked at
THALAMUS = (10, 49)                        # FreeSurfer; a label map without them counts in other numbers
MOST_UNKNOWN = 0.02                        # of a label map that may have numbers which are not known here
PROVENANCE, QUALITY = "provenance", "quality"
PEOPLE_AT_ONCE = 64                        # whose first visits are kept in mind: 4 MB each


class Visit(NamedTuple):
    """A visit, read and placed; the masks lie where their images do."""

    scans: dict[str, Scan]                 # contrast -> scan, laid onto the first one
    marked: Scan | None                    # lesions
    structures: Scan | None
    volume: np.ndarray                     # d h w c
    present: np.ndarray                    # c
    placed: Placed
    brain_origin: str
    fixups: list[str]


class Firsts:
    """The first visit that can be used of each person, as later ones need it; several threads may ask."""

    def __init__(self):
        self.kept: OrderedDict[str, First] = OrderedDict()
        self.turns: dict[str, Lock] = {}

    @contextmanager
    def turn(self, person: str) -> Iterator[None]:
        """One thread at a time for each person."""
        with self.turns.setdefault(person, Lock()):
            yield

    def keep(self, person: str, study: Study, visit: Visit) -> First:
        """Keep a visit in mind; the people who were not asked for longest are forgotten, and made again if need be."""
        first = self.kept[person] = First(study.name, visit.placed.seen, visit.placed.registration)
        while len(self.kept) > PEOPLE_AT_ONCE:
            self.kept.popitem(last=False)
        return first


@dataclass(frozen=True)
class Making:
    """How studies are made: may be called from several threads, in any order."""

    source: Path
    folder: Path
    spacing: float
    register: str
    visits: Mapping[str, Sequence[Study]] = field(default_factory=dict)              # person -> all visits, in order
    firsts: Firsts = field(default_factory=Firsts)

    def made(self, study: Study) -> tuple[str, Example | MedFuseError]:
        """A study's digest, and the study or the reason why it is refused."""
        digest = contents.of_study(study, self.source)
        try:
            return digest, self.example(study)
        except MedFuseError as error:
            return digest, error

    def example(self, study: Study) -> Example:
        """One visit, read and placed, with its record and its picture."""
        began = time.monotonic()
        visit = self._visit(study)
        placed, marked, structures, fixups = visit.placed, visit.marked, visit.structures, visit.fixups
        if study.date_years is None:
            fixups.append("dates of the visits are not known: date_years is 0 for all")
        lesions = None if marked is None else _lesions(marked, placed)
        if marked is not None:
            _covers(marked, placed)
        findings = _findings(study, structures, marked, tuple(placed.medians), fixups)
        line = dict(
            study=study.name, person=study.person, session=study.session, findings=findings, **study.told,
            counterfactual=False, fixups=fixups + placed.fixups, present=[int(flag) for flag in visit.present],
            structures_known=structures is not None, lesions_known=marked is not None, medians=placed.medians,
            transform=placed.transform.round(4).tolist(), dates_known=study.date_years is not None)
        empty = np.zeros(placed.brain.shape, np.uint8)
        classes = empty if structures is None else _classes(structures, placed)
        self._picture(study, visit, lesions)
        self._record(study, line, visit, began)
        return Example(line, visit.volume.astype(np.float16), classes, empty if lesions is None else lesions)

    def _visit(self, study: Study) -> Visit:
        """A visit placed as the person's first one is; the first that can be used is placed by itself."""
        theirs = self.visits.get(study.person, ())
        if len(theirs) < 2 or self.register == "none":
            return self._placed(study)
        with self.firsts.turn(study.person):
            first = self.firsts.kept.get(study.person)
            before = theirs[:theirs.index(study)] if first is None else ()
            for other in before:           # of an earlier run, or of a thread that has not come so far
                try:
                    first = self.firsts.keep(study.person, other, self._placed(other))
                    break
                except MedFuseError:       # told where that visit is made itself
                    continue
            if first is None or first.study == study.name:
                visit = self._placed(study)
                self.firsts.keep(study.person, study, visit)
                return visit
        return self._placed(study, first)

    def _placed(self, study: Study, first: First | None = None) -> Visit:
        if study.problem:
            raise MedFuseError(study.problem)
        scans = {contrast: nifti.read_volume(path) for contrast, path in study.contrasts.items()}
        marked = nifti.read_marks(study.lesion_mask) if study.lesion_mask else None
        structures = nifti.read_labels(study.structures) if study.structures else None
        fixups = [f"{contrast}: {line}" for contrast, scan in scans.items() for line in scan.fixups]
        if structures is not None and (why := _foreign(structures, study.structures.name, fixups)):
            fixups.append(why)
            structures = None
        mask, origin, masked = _brain(study, scans, structures)
        volume, present, placed = to_grid(scans, self.spacing, mask, self.register, first, masked)
        moves = coregistration.moves(placed.laid)
        marked, structures = (scan and coregistration.moved(scan, moves.get(_owner(scans, scan)))
                              for scan in (marked, structures))
        scans = {contrast: coregistration.moved(scan, moves.get(contrast)) for contrast, scan in scans.items()}
        return Visit(scans, marked, structures, volume, present, placed, origin or placed.brain_origin, fixups)

    def _picture(self, study: Study, visit: Visit, lesions: np.ndarray | None) -> None:
        placed, marked = visit.placed, visit.marked
        place = placed.registration
        registered = place.before is not None
        told = [f"blue: brain mask, {placed.brain.sum() * self.spacing**3 / 1000:.0f} ml ({visit.brain_origin})"
                + ("; dotted: MNI152's brain in this one's size" if registered else "")
                + ("" if marked is None else "; red: lesion mask") + "; mm are those of MNI152",
                f"made on a grid of {self.spacing:g} mm; shown as scanned, where the head was put. " + (
                    "Moved, see below" if place.kind != "none" else "Not registered: shown where it lay"
                    if not registered else f"Lies {place.off_mm:.1f} mm off MNI152 and was left there; tissues of "
                    f"MNI152 explain {place.before:.0%} of it (below 45 %: doubtful)"), *placed.fixups]
        if place.laid is not None and not place.laid.clear:
            told.append(f"lies {place.laid.off_mm:.1f} mm off {place.onto}, the first visit, and shares its transform")
        left_out = [contrast for contrast in visit.scans if contrast not in placed.medians]
        if left_out:
            told.append(f"shown, but not used: {', '.join(left_out)}")
        with whole_file(self.folder / QUALITY / f"{study.name}.png") as file:
            quality.draw(file, visit.scans, placed, marked, lesions, study.name, told)

    def _record(self, study: Study, line: dict[str, Any], visit: Visit, began: float) -> None:
        """Write where the study comes from and what was done to it."""
        placed, place, files = visit.placed, visit.placed.registration, {}
        for path in study.files:
            size, _, digest = contents.of_file(path).partition(" ")
            files[path.relative_to(self.source).as_posix()] = dict(bytes=int(size), sha256=digest)
        moves = coregistration.moves(placed.laid)
        record = {name: line[name] for name in ("study", "person", "session", "fixups", "medians", "transform")} | dict(
            files=files, spacing=self.spacing, brain_mask=dict(
                origin=visit.brain_origin, volume_ml=round(float(placed.brain.sum() * self.spacing**3 / 1000), 1),
                shown=round(place.shown, 3)),
            registration=dict(asked=self.register, done=place.kind, using=place.using, similarity=dict(
                name="R2 of the intensities explained by tissues", before=place.before, after=place.after),
                off_mm=round(place.off_mm, 2), onto=place.onto) | (
                    {} if place.laid is None else dict(to_first=_told(place.laid, place.laid.clear))),
            contrasts={contrast: _told(laid, contrast in moves) for contrast, laid in placed.laid.items()},
            code_version=medfuse_jax.__version__, prepared_at=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - began, 2), notice=nifti.NOTICE)
        with whole_file(self.folder / PROVENANCE / f"{study.name}.json") as file:
            file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _told(laid: Laid, moved: bool) -> dict[str, Any]:
    return dict(done="moved" if moved else "left") | laid.told()


def _owner(scans: Mapping[str, Scan], mask: Scan) -> str:
    """The contrast that a mask was drawn on: the first on whose grid it lies, else the first of all."""
    return next((contrast for contrast, scan in scans.items() if same_grid(scan, mask)), next(iter(scans)))


def _covers(marked: Scan, placed: Placed) -> None:
    """MedFuseError when the grid of a lesion mask leaves out a part of the brain: what lies there is not known."""
    into = np.linalg.inv(marked.affine) @ np.linalg.inv(placed.transform) @ placed.grid.affine
    points = apply(into, np.argwhere(placed.brain.T)[::CHECKED_ONE_IN])                          # x y z
    inside = ((points >= -0.5) & (points <= np.array(marked.array.shape) - 0.5)).all(axis=1)
    if inside.mean() < LEAST_MASKED:
        raise MedFuseError(f"{marked.path}: covers {100 * inside.mean():.0f} % of the brain: give a lesion mask of the "
                           "whole brain, or take it out of the tree")


def _foreign(structures: Scan, name: str, fixups: list[str]) -> str:
    """Why a label map does not count in FreeSurfer's numbers, if so; a few that are not known here are told."""
    if not np.isin(THALAMUS, structures.array).all():
        return f"{name}: no thalamus 10 and 49, so not FreeSurfer's numbers: left out"
    strange, share = labels.unknown(structures.array)
    some = ", ".join(map(str, strange[:5])) + (" ..." if len(strange) > 5 else "")
    if share > MOST_UNKNOWN:
        return f"{name}: {share:.0%} of it has numbers that FreeSurfer's aseg and aparc do not ({some}): left out"
    if strange:
        fixups.append(f"{name}: numbers {some} are not known here: background ({share:.2%} of it)")
    return ""


def _brain(study: Study, scans: Mapping[str, Scan], structures: Scan | None) -> tuple[np.ndarray | None, str, str]:
    """The given brain mask, else what a label map names, else nothing; where it comes from; the contrast it is of."""
    reference = next(iter(scans.values()))
    if study.brain_mask:
        marks = nifti.read_marks(study.brain_mask)
        brain.check(marks, "the brain mask")
        return nifti.on_grid(marks, reference), f"given: {study.brain_mask.name}", _owner(scans, marks)
    if structures is None:
        return None, "", ""
    named = replace(structures, array=labels.to_classes(structures.array) > 0)         # skull and scalp are none
    brain.check(named, "what the label map names")
    labelled = resample(named.array, named.affine, reference.grid, order=0)
    return labelled, f"what a label map names: {study.structures.name}", _owner(scans, structures)


def _classes(structures: Scan, placed: Placed) -> np.ndarray:
    moved = resample(structures.array, placed.transform @ structures.affine, placed.grid, order=0)
    return arranged(labels.to_classes(moved))


def _lesions(marked: Scan, placed: Placed) -> np.ndarray:
    lesions = arranged(fraction(marked.array, placed.transform @ marked.affine, placed.grid))
    inside = lesions[placed.brain].sum() * np.prod(placed.grid.spacing)
    marks = np.count_nonzero(marked.array) * np.prod(marked.spacing)
    if inside < LEAST_INSIDE * marks:
        raise MedFuseError(f"{marked.path}: only {inside / marks:.0%} of the lesion mask lies in the image's brain: "
                           "give a mask of the same space")
    return lesions


def _findings(study: Study, structures: Scan | None, marked: Scan | None, contrasts: tuple[str, ...],
              fixups: list[str]) -> dict[str, Any] | None:
    """What the masks tell, measured on their own grid; None without any."""
    if structures is None and marked is None:
        return None
    own = structures or marked
    classes = None if structures is None else labels.to_classes(structures.array)
    lesions = None if marked is None else marked.array
    if marked is not None and not same_grid(own, marked):
        fixups.append("lesions and structures on two grids: measured on that of the structures")
        lesions = fraction(lesions, marked.affine, own.grid)
    told = {name: value for name, value in study.told.items() if name != "treatment" or value in TREATMENTS}
    told["date_years"] = told["date_years"] if study.date_years is not None else None
    return biomarkers.measure(classes, lesions, own.spacing, contrasts=contrasts, source="masks", **told).to_json()
