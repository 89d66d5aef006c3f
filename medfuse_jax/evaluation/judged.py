"""What a suite judges: a finished stage with those it borrows, and people whom it has not seen."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from medfuse_jax import family
from medfuse_jax.data.pipeline import Cohort, Examples
from medfuse_jax.errors import MedFuseError
from medfuse_jax.stages.stage import Borrowed, Stage


@dataclass(frozen=True)
class Judged:
    """A stage, its people, and how often it is asked."""

    workdir: Path
    name: str
    members: Mapping[str, Borrowed]         # the stage and those that it borrows
    stage: Stage
    cohort: Cohort                          # the people judged, and no others
    training: Path                          # the prepared folder that the family was trained on, for baselines
    number: int                             # samples a sentence
    seed: int

    @property
    def config(self) -> Any:
        """The stage's resolved config."""
        return self.members[self.name].config

    @property
    def params(self) -> Any:
        """The stage's averaged weights."""
        return self.members[self.name].params

    @property
    def people(self) -> np.ndarray:
        """The person of each study."""
        return np.array([study["person"] for study in self.cohort.studies])

    def examples(self, reads: Sequence[str]) -> Examples:
        """The studies as the stage reads them, with sentences and latents where it wants any."""
        length = self.members["alignment"].config.text.length if "text" in reads else 0
        words = family.words(self.config, self.workdir / self.name) if "text" in reads else None
        made = Examples(self.cohort, reads, seed=self.seed, languages=self.config.data.language, tokenizer=words,
                        length=length)
        if self.stage.represent is not None:
            made.represented = family.represent(self.stage, self.cohort, self.name)
        return made

    def batches(self, examples: Examples) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """(how many rows count, batch), each study once; the last batch is filled up with studies that do not count."""
        count = len(self.cohort.studies)
        size = min(self.config.batch, count)
        for start in range(0, count, size):
            rows = (start + np.arange(size)) % count
            yield min(size, count - start), examples.batch(rows, (self.seed, 2**31, start))


class Chosen:
    """Some rows of an array on disk, in an order of their own; read when they are asked for."""

    def __init__(self, array: np.ndarray, rows: np.ndarray):
        self.array, self.rows = array, rows

    def __getitem__(self, which: Any) -> np.ndarray:
        return self.array[self.rows[which]]


def opened(workdir: Path, name: str, data: Path | None, out: Path, number: int, seed: int) -> Judged:
    """A finished stage and the people on whom it is judged: the family's own held-out ones, or all of other data."""
    own = family.borrow(workdir / name)
    lent = {each: family.borrow(Path(folder or workdir / each)) for each, folder in own.config.borrow.items()}
    for each in (*lent.values(), own):
        family.same_network(each, lent)
    training = family.prepared(own.config, workdir, trusted=True)
    familiar = data is None or data.resolve() in (training.resolve(), Path(own.config.data.source).resolve())
    cohort = held_out(training) if familiar else chosen(Cohort(elsewhere(own.config, data, out)))
    logging.info("%s: judged on %d studies of %s", name, len(cohort.studies), cohort.folder)
    stage = family.STAGES[name].build(own.config, lent)
    return Judged(workdir, name, lent | {name: own}, stage, cohort, training, number, seed)


def elsewhere(config: Any, data: Path, out: Path) -> Path:
    """The prepared folder of data that the family has not seen; made under `out` from a BIDS tree."""
    if not data.exists():
        raise MedFuseError(f"{data} does not exist: check --data")
    config = copy.deepcopy(config)
    config.data.source = str(data)
    folder = family.prepared(config, out)
    spacing = Cohort(folder).info["spacing"]
    if float(spacing) != float(config.data.spacing):
        raise MedFuseError(f"{folder}: prepared at {spacing:g} mm but the family is at {config.data.spacing:g} mm: "
                           f"prepare it again with --spacing={config.data.spacing:g}")
    return folder


def held_out(folder: Path) -> Cohort:
    """The people of the family's own folder on whom it was not trained: valid and test."""
    cohort = Cohort(folder)
    if cohort.valid_is_train:
        logging.warning("%s: too few people to hold any out: judged on those it was trained on", folder)
        return chosen(cohort)
    return chosen(cohort, without="train")


def chosen(cohort: Cohort, without: str = "") -> Cohort:
    """A cohort without one of its splits.

    First visits come first, then second ones: neighbours are different people, so that a sentence from the neighbour is
    another patient's.
    """
    rows = [row for row, study in enumerate(cohort.studies) if study["split"] != without]
    rows = np.array(sorted(rows, key=lambda row: (str(cohort.studies[row]["session"]), row)))
    cohort.studies = [cohort.studies[row] for row in rows]
    cohort.arrays = {name: array if name == "clean" else Chosen(array, rows) for name, array in cohort.arrays.items()}
    return cohort
