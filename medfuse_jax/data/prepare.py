"""A BIDS tree becomes a prepared folder: scans on the standard grid, in one scale of intensity, with their labels."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

from absl import logging

import medfuse_jax
from medfuse_jax.config import GRIDS
from medfuse_jax.data import bids, contents, files, machine, registration
from medfuse_jax.data.bids import Study
from medfuse_jax.data.draft import Draft
from medfuse_jax.data.placement import Placed, brain_median, normalise, to_grid
from medfuse_jax.data.prepared import Writer, is_prepared, people, writing
from medfuse_jax.data.tables import write_table
from medfuse_jax.data.visits import PROVENANCE, QUALITY, Making
from medfuse_jax.errors import MedFuseError
from medfuse_jax.progress import Progress

__all__ = ["Making", "Placed", "brain_median", "is_prepared", "normalise", "prepare", "to_grid"]

VERSION = 4                                # of what is made of a study: a draft of another one is not gone on with
STUDY_BYTES = 2e9                          # of memory while it is made; 0.4 GB for four contrasts on a grid of 2 mm
RECORD_BYTES = 500_000                     # of a study's line, record and picture, rather too many
PRESETS = {settings["spacing"]: preset for preset, settings in GRIDS.items()}


def prepare(source: str | Path, out: str | Path, spacing: float = 1.0, jobs: int = 1, seed: int = 0,
            register: str = "auto") -> Path:
    """Write the prepared folder `out` from the BIDS tree `source`; bad studies are listed in its rejected.tsv.

    jobs: studies made at the same time (0: one a core, if memory holds them). register: auto | rigid | affine | none,
    see `registration`.
    A prepared folder already at `out` is replaced, at the end. One that was stopped goes on with what is not finished.
    """
    source, out = Path(source), Path(out)
    _check(source, out, spacing, register)
    studies = bids.index(source)
    settings = dict(register=register, registered_with=registration.TOOL)
    key = contents.digest_of([VERSION, medfuse_jax.__version__, float(spacing), settings])
    with writing(out, spacing, source.resolve().name, settings | dict(seed=seed), draft=key) as writer:
        draft = Draft(writer)
        visits = {person: list(theirs) for person, theirs in groupby(studies, lambda study: study.person)}
        _fill(draft, out, Making(source, writer.folder, spacing, register, visits), studies, jobs)
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


def _fill(draft: Draft, out: Path, making: Making, studies: list[Study], jobs: int) -> None:
    """Make what is not finished yet, in the order of the tree, if the disk can hold it."""
    jobs = machine.jobs(jobs, machine.usable_cores(), STUDY_BYTES)
    with ThreadPoolExecutor(jobs) as readers:
        begun = studies[:len(draft.finished)]
        first = draft.keep(list(readers.map(lambda study: contents.of_study(study, making.source), begun)))
    if first:
        logging.info("%d of %d studies are finished already: going on from there", first, len(studies))
    files.room(out, (len(studies) - first) * (draft.writer.row_bytes + RECORD_BYTES))
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
