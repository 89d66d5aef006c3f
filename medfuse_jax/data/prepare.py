"""A BIDS tree becomes a prepared folder: scans on the standard grid, in one scale of intensity, with their labels.

Each study gets a record of where it comes from (provenance/STUDY.json) and a picture to look at (quality/STUDY.png).
"""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

import medfuse_jax
from medfuse_jax.config import GRIDS
from medfuse_jax.data import bids, contents, labels, nifti, quality, registration
from medfuse_jax.data.bids import Study
from medfuse_jax.data.draft import Draft
from medfuse_jax.data.files import whole_file
from medfuse_jax.data.findings import TREATMENTS
from medfuse_jax.data.nifti import Scan, same_grid
from medfuse_jax.data.placement import Placed, arranged, brain_median, normalise, to_grid
from medfuse_jax.data.prepared import Example, Writer, is_prepared, people, writing
from medfuse_jax.data.resampling import fraction, resample
from medfuse_jax.data.tables import write_table
from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics import biomarkers
from medfuse_jax.progress import Progress

__all__ = ["Placed", "brain_median", "is_prepared", "normalise", "prepare", "to_grid"]

VERSION = 2                                # of what is made of a study: a draft of another one is not gone on with
PRESETS = {settings["spacing"]: preset for preset, settings in GRIDS.items()}
LEAST_INSIDE = 0.5                         # of a lesion mask that must lie in the brain
THALAMUS = (10, 49)                        # FreeSurfer; a label map without them counts in other numbers
MOST_UNKNOWN = 0.02                        # of a label map that may have numbers which are not known here
PROVENANCE, QUALITY = "provenance", "quality"


def prepare(source: str | Path, out: str | Path, spacing: float = 1.0, jobs: int = 1, seed: int = 0,
            register: str = "auto") -> Path:
    """Write the prepared folder `out` from the BIDS tree `source`; bad studies are listed in its rejected.tsv.

    jobs: studies made at the same time (0: one a core). register: auto | rigid | affine | none, see `registration`.
    A prepared folder already at `out` is replaced, at the end. One that was stopped goes on with what is not finished.
    """
    source, out = Path(source), Path(out)
    _check(source, out, spacing, register)
    studies = bids.index(source)
    settings = dict(register=register, registered_with=registration.TOOL)
    key = contents.digest_of([VERSION, medfuse_jax.__version__, float(spacing), settings])
    with writing(out, spacing, source.resolve().name, settings | dict(seed=seed), draft=key) as writer:
        draft = Draft(writer)
        _fill(draft, Making(source, writer.folder, spacing, register), studies, jobs)
        rejected = draft.rejected
        draft.close()
        if not writer.lines:
            why = f"; the first: {rejected[0]['reason']}" if rejected else ": give sub-*/[ses-*/]anat/*_FLAIR.nii.gz"
            raise MedFuseError(f"{source}: none of {len(studies)} studies can be used{why}")
        _tidy(writer)
        writer.hold_out(seed)
        write_table(rejected, writer.folder / "rejected.tsv", columns=("path", "reason"))
    _tell(out, writer.lines, len(studies), len(rejected))
    return out


def _fill(draft: Draft, making: "Making", studies: list[Study], jobs: int) -> None:
    """Make what is not finished yet, in the order of the tree."""
    jobs = jobs or os.cpu_count() or 1
    with ThreadPoolExecutor(jobs) as readers:
        begun = studies[:len(draft.finished)]
        first = draft.keep(list(readers.map(lambda study: contents.of_study(study, making.source), begun)))
    if first:
        logging.info("%d of %d studies are finished already: going on from there", first, len(studies))
    with Progress("prepare", len(studies), "study", first) as progress, \
            closing(_in_order(making.made, studies[first:], jobs)) as results:
        for done, (study, (digest, result)) in enumerate(zip(studies[first:], results, strict=True), first + 1):
            if isinstance(result, MedFuseError):
                logging.warning("%s is left out: %s", study.name, result)
            draft.add(study.name, digest, result, str(Path(study.person, study.session)))
            progress.tell(done)


def _in_order(made: Callable[[Study], Any], studies: list[Study], jobs: int) -> Iterator[Any]:
    """Results in the order of the studies, few at a time; what has not begun is given up when the reader stops."""
    workers, waiting = ThreadPoolExecutor(jobs), deque()
    try:
        for study in studies:
            waiting.append(workers.submit(made, study))
            if len(waiting) > jobs + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        workers.shutdown(cancel_futures=True)


def _tidy(writer: Writer) -> None:
    """Take away records and pictures of studies that an earlier, stopped preparation knew and this one does not."""
    known = {line["study"] for line in writer.lines}
    for folder in (PROVENANCE, QUALITY):
        for file in (writer.folder / folder).iterdir():
            if file.stem not in known:
                file.unlink()


def _tell(out: Path, lines: list[dict[str, Any]], studies: int, rejected: int) -> None:
    logging.info("%s: lesions are known of %d studies, structures (and regions of lesions) of %d, neither of %d", out,
                 sum(line["lesions_known"] for line in lines), sum(line["structures_known"] for line in lines),
                 sum(line["findings"] is None for line in lines))
    dealt = people(lines)
    logging.info("%s: %d people train, %d are validated on, %d are kept for the test", out, dealt["train"],
                 dealt["valid"], dealt["test"])
    logging.info("%s: %d studies prepared, %d left out%s; look at %s", out, studies - rejected, rejected,
                 f": see {out / 'rejected.tsv'}" if rejected else "", out / QUALITY)


def _check(source: Path, out: Path, spacing: float, register: str) -> None:
    if spacing not in PRESETS:
        grids = ", ".join(f"{mm:g} ({preset})" for mm, preset in PRESETS.items())
        raise MedFuseError(f"--spacing={spacing:g}: nothing trains on such a grid: choose one of {grids} mm")
    if register not in registration.KINDS:
        raise MedFuseError(f"--register={register}: unknown: choose one of {', '.join(registration.KINDS)}")
    if is_prepared(source):
        raise MedFuseError(f"{source}: prepared already: train with --config.data.source={source}")
    if out.resolve().is_relative_to(source.resolve()):
        raise MedFuseError(f"{out}: lies inside the source, which is never changed: choose another folder")
    if out.exists() and not is_prepared(out) and not (out.is_dir() and not any(out.iterdir())):
        raise MedFuseError(f"{out}: exists and is no prepared folder: choose another, or delete it first")


@dataclass(frozen=True)
class Making:
    """How studies are made: may be called from several threads."""

    source: Path
    folder: Path
    spacing: float
    register: str

    def made(self, study: Study) -> tuple[str, Example | MedFuseError]:
        """A study's digest, and the study or the reason why it is refused."""
        digest = contents.of_study(study, self.source)
        try:
            return digest, self.example(study)
        except MedFuseError as error:
            return digest, error

    def example(self, study: Study) -> Example:
        """One visit, read and placed, with its record and its picture."""
        if study.problem:
            raise MedFuseError(study.problem)
        began = time.monotonic()
        scans = {contrast: nifti.read_volume(path) for contrast, path in study.contrasts.items()}
        reference = next(iter(scans.values()))
        marked = nifti.read_marks(study.lesion_mask) if study.lesion_mask else None
        structures = nifti.read_labels(study.structures) if study.structures else None
        fixups = [f"{contrast}: {line}" for contrast, scan in scans.items() for line in scan.fixups]
        if structures is not None and (why := _foreign(structures, study.structures.name, fixups)):
            fixups.append(why)
            structures = None
        mask, origin = _brain(study, reference, structures)
        volume, present, placed = to_grid(scans, self.spacing, mask, self.register)
        if study.date_years is None:
            fixups.append("dates of the visits are not known: date_years is 0 for all")
        lesions = None if marked is None else _lesions(marked, placed)
        findings = _findings(study, structures, marked, tuple(placed.medians), fixups)
        line = dict(
            study=study.name, person=study.person, session=study.session, findings=findings, **study.told,
            counterfactual=False, fixups=fixups + placed.fixups, present=[int(flag) for flag in present],
            structures_known=structures is not None, lesions_known=marked is not None, medians=placed.medians,
            transform=placed.transform.round(4).tolist(), dates_known=study.date_years is not None)
        empty = np.zeros(placed.brain.shape, np.uint8)
        classes = empty if structures is None else _classes(structures, placed)
        self._picture(study, reference, placed, marked, lesions)
        self._record(study, line, placed, origin or placed.brain_origin, began)
        return Example(line, volume.astype(np.float16), classes, empty if lesions is None else lesions)

    def _picture(self, study: Study, reference: Scan, placed: Placed, marked: Scan | None,
                 lesions: np.ndarray | None) -> None:
        place = placed.registration
        told = [f"{next(iter(placed.medians))} in the standard box, {self.spacing:g} mm; brain mask (blue): "
                f"{placed.brain_origin}, {placed.brain.sum() * self.spacing**3 / 1000:.0f} ml"
                + ("" if marked is None else "; lesions (red)"),
                place.sentence or ("not registered" if place.before is None else
                                   f"lies {place.off_mm:.1f} mm off MNI152: left there, tissues explain "
                                   f"{place.before:.0%} of it")]
        with whole_file(self.folder / QUALITY / f"{study.name}.png") as file:
            quality.draw(file, reference, placed, marked, lesions, study.name, told)

    def _record(self, study: Study, line: dict[str, Any], placed: Placed, brain_origin: str, began: float) -> None:
        """Write where the study comes from and what was done to it."""
        place = placed.registration
        files = {}
        for path in study.files:
            size, _, digest = contents.of_file(path).partition(" ")
            files[path.relative_to(self.source).as_posix()] = dict(bytes=int(size), sha256=digest)
        record = {name: line[name] for name in ("study", "person", "session", "fixups", "medians", "transform")} | dict(
            files=files, spacing=self.spacing, brain_mask=dict(
                origin=brain_origin, volume_ml=round(float(placed.brain.sum() * self.spacing**3 / 1000), 1)),
            registration=dict(asked=self.register, done=place.kind, using=place.using, similarity=dict(
                name="R2 of the intensities explained by tissues", before=place.before, after=place.after),
                off_mm=round(place.off_mm, 2)),
            code_version=medfuse_jax.__version__, prepared_at=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - began, 2), notice=nifti.NOTICE)
        with whole_file(self.folder / PROVENANCE / f"{study.name}.json") as file:
            file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


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


def _brain(study: Study, reference: Scan, structures: Scan | None) -> tuple[np.ndarray | None, str]:
    """The given brain mask, else what a label map names, else nothing; and where it comes from."""
    if study.brain_mask:
        return nifti.read_mask(study.brain_mask, like=reference), f"given: {study.brain_mask.name}"
    if structures is None:
        return None, ""
    labelled = resample(structures.array > 0, structures.affine, reference.grid, order=0)
    return labelled, f"what a label map names: {study.structures.name}"


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
    return biomarkers.measure(classes, lesions, own.spacing, contrasts=contrasts, source="masks", **told).to_json()
