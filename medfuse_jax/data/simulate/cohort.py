"""Simulated cohorts on disk, as prepared folders that train: many people at once, equal for any number of processes."""

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from medfuse_jax.cache import cache_folder
from medfuse_jax.data import grid, labels
from medfuse_jax.data.files import GrowingArray, room
from medfuse_jax.data.prepared import Example, splits, writing
from medfuse_jax.data.simulate import label_maps, lesion_masks
from medfuse_jax.data.simulate.person import SIMULATOR_VERSION, CohortSettings, Visit, simulate_person
from medfuse_jax.errors import MedFuseError
from medfuse_jax.progress import Progress

THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def people(settings: CohortSettings, jobs: int = 1, progress: bool = True) -> Iterator[list[Visit]]:
    """The visits of person 0, 1, 2 ... in order, drawn by `jobs` processes, with progress on stderr."""
    label_maps.derived(settings.label_maps)     # once here, so that the workers find all in the cache
    if settings.lesion_masks is not None:
        lesion_masks.measured(settings.lesion_masks)
    draw = partial(simulate_person, settings.seed, settings=settings)
    yield from each_person(draw, settings, jobs, f"simulating people at {settings.spacing:g} mm", progress)


def each_person(draw: partial, settings: CohortSettings, jobs: int, task: str, progress: bool = True) -> Iterator[Any]:
    """What `draw` makes of person 0, 1, 2 ... of a cohort, in order, by `jobs` processes, with progress on stderr."""
    with Progress(task, settings.subjects, "person", shows=progress) as told:
        for number, made in enumerate(drawn(draw, settings.subjects, min(jobs, settings.subjects)), start=1):
            yield made
            told.tell(number)


def drawn(draw: partial, subjects: int, jobs: int) -> Iterator[Any]:
    """draw(0), draw(1) ... in order, made by `jobs` processes."""
    if jobs <= 1:
        yield from map(draw, range(subjects))
        return
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    waiting: list[Future] = []
    try:
        for index in range(subjects):
            with _inherited():
                waiting.append(pool.submit(draw, index))
            if len(waiting) > jobs:             # few ahead: a bound on memory, and on what Ctrl-C waits for
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    except BrokenProcessPool as error:
        raise MedFuseError("a process that draws people was ended, for want of memory? Use fewer --jobs") from error
    finally:
        if waiting:                             # stopped, or given up by who reads: nobody waits for people half drawn
            for worker in multiprocessing.active_children():
                worker.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _inherited() -> Iterator[None]:
    """What workers that start in the block inherit: one thread each for numpy, and no ear for Ctrl-C."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(THREADS)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _end_with_parent() -> None:
    """A worker does not outlive the command that started it, even when that was killed."""
    def follow() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def prepared(folder: str | Path, settings: CohortSettings, jobs: int = 1, progress: bool = True) -> Path:
    """Write a simulated cohort as a prepared folder (d h w); it is there whole or not at all."""
    names = [f"sub-{index + 1:04d}" for index in range(settings.subjects)]
    split = held_apart(names, settings)
    with writing(folder, settings.spacing, "simulated", told(settings)) as writer:
        shape = (*grid.standard(settings.spacing).shape[::-1], len(labels.CONTRASTS))
        room(folder, settings.subjects * settings.visits * writer.row_bytes)
        writer.arrays["clean"] = clean = GrowingArray(writer.folder / "clean.npy", shape, np.float16)
        with closing(people(settings, jobs, progress)) as drawn:
            for person, visits in zip(names, drawn, strict=True):
                for number, visit in enumerate(visits):
                    writer.add(Example(_line(person, number, split[person], visit), _channels(visit.images),
                                       visit.structures.transpose(2, 1, 0), visit.lesions.transpose(2, 1, 0)))
                    # Training never looks at the truth behind the noise, so only those who judge get it.
                    if split[person] != "train" or settings.subjects < 3:
                        writer.lines[-1]["clean_row"] = clean.length
                        clean.append(_channels(visit.clean))
    return Path(folder)


def held_apart(names: list[str], settings: CohortSettings) -> dict[str, str]:
    """train | valid | test of each person; who is made of one label map stays together, if there are three maps."""
    if settings.label_maps is None:
        return splits(names, settings.seed)
    maps = label_maps.found(settings.label_maps)
    source = {name: label_maps.one_of(maps, settings.seed, index).name for index, name in enumerate(names)}
    if len(set(source.values())) < 3:
        logging.warning("%s: fewer than three label maps: some are in training and held out", settings.label_maps)
        return splits(names, settings.seed)
    by_map = splits(list(source.values()), settings.seed)
    return {name: by_map[source[name]] for name in names}


def told(settings: CohortSettings) -> dict[str, Any]:
    """What prepared.json says of how the people were drawn."""
    return _told(settings) | {"simulator_version": SIMULATOR_VERSION}


def _told(settings: CohortSettings) -> dict[str, Any]:
    """The settings; label maps and lesion masks by what they hold, not by where they lie."""
    known = asdict(settings)
    for name, held in (("label_maps", label_maps.digests), ("lesion_masks", lesion_masks.digest)):
        folder = known.pop(name)
        known |= {} if folder is None else {name: held(folder)}
    return known


def _channels(images: np.ndarray) -> np.ndarray:
    """Contrasts (x, y, z, 4) as float16 (d, h, w, 4)."""
    return np.ascontiguousarray(images.transpose(2, 1, 0, 3), np.float16)


def _line(person: str, number: int, split: str, visit: Visit) -> dict[str, Any]:
    """One line of studies.jsonl."""
    findings, session = visit.findings, f"ses-{number + 1:02d}"
    present = [int(contrast in visit.present) for contrast in labels.CONTRASTS]
    return dict(study=f"{person}_{session}", person=person, session=session, split=split, present=present,
                structures_known=True, lesions_known=True, findings=findings.to_json(), date_years=visit.date_years,
                counterfactual=visit.counterfactual, age=findings.age, sex=findings.sex, phenotype=findings.phenotype)


def home(settings: CohortSettings) -> Path:
    """Where in the user's cache folder the prepared folder of these settings lies, or will lie."""
    told = json.dumps([_told(settings), SIMULATOR_VERSION], sort_keys=True)
    digest = hashlib.sha256(told.encode()).hexdigest()[:10]
    return cache_folder() / "cohorts" / f"{settings.subjects}x{settings.visits}-{settings.spacing:g}mm-{digest}"
