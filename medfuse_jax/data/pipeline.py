"""From a prepared folder to batches: deterministic by seed and step, sharded by process, resumable at any step.

Step k of a run sees the same examples in the same order whatever the number of processes, threads and restarts: the
rows are permutation(seed, epoch)[k * batch ...] and every random choice comes from (seed, step, place in the batch).
"""

import copy
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import grain
import numpy as np
from absl import logging

from medfuse_jax.data import contents, language, tokens
from medfuse_jax.data.findings import Findings, Statement
from medfuse_jax.data.prepared import valid_is_train
from medfuse_jax.errors import MedFuseError

EPOCHS = 2**31            # more than are ever seen; grain counts the examples of all, and without end overflows
MOST_REPEATED = 64        # times that a batch may hold a study
LANGUAGES = {"en": ("en",), "fr": ("fr",), "both": ("en", "fr")}


@runtime_checkable
class Tokenizer(Protocol):
    """What makes words of sentences: see tokens.Tokenizer."""

    def encode(self, texts: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]: ...

    def decode(self, words: np.ndarray) -> list[str]: ...


class Cohort:
    """An opened prepared folder: its studies and their arrays, memory-mapped."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        try:
            self.info: dict[str, Any] = json.loads((self.folder / "prepared.json").read_text())
            lines = (self.folder / "studies.jsonl").read_text().splitlines()
        except (OSError, json.JSONDecodeError) as error:
            raise MedFuseError(f"{folder}: not a prepared folder ({error}): make one with launch/prepare.py") from error
        self.studies: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self.arrays: dict[str, np.ndarray] = {
            name: np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in ("volumes", "structures", "lesions")}
        if (self.folder / "clean.npy").exists():
            self.arrays["clean"] = np.load(self.folder / "clean.npy", mmap_mode="r")
        lengths = {len(self.arrays[name]) for name in ("volumes", "structures", "lesions")} | {len(self.studies)}
        if len(lengths) != 1:
            raise MedFuseError(f"{folder}: arrays and studies.jsonl disagree in length: prepare the folder again")

    def rows(self, split: str) -> np.ndarray:
        """Rows of a split, ascending; without people of its own a split borrows the training rows."""
        chosen = [row for row, study in enumerate(self.studies) if study["split"] == split]
        return np.array(chosen) if chosen or split == "train" else self.rows("train")

    @property
    def contents(self) -> str:
        """A digest of what the folder was made from."""
        return contents.of_prepared(self.info)

    @property
    def valid_is_train(self) -> bool:
        """Whether nobody is held out: what is said of validation is then said of the training people."""
        return valid_is_train(self.studies)

    @cached_property
    def visits(self) -> dict[str, list[int]]:
        """Rows of each person."""
        people: dict[str, list[int]] = {}
        for row, study in enumerate(self.studies):
            people.setdefault(study["person"], []).append(row)
        return people

    @cached_property
    def findings(self) -> list[Findings | None]:
        """Measured findings of each study; None where the truth is not known."""
        return [Findings.from_json(study["findings"]) if study.get("findings") else None for study in self.studies]

    def seen(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Images and labels of some rows: volume, present, structures, lesion, structures_known, lesions_known."""
        studies = [self.studies[row] for row in rows]
        flag = lambda name: np.array([study[name] for study in studies], np.float32)        # noqa: E731
        return dict(
            volume=self.arrays["volumes"][rows].astype(np.float32), present=flag("present"),
            structures=self.arrays["structures"][rows].astype(np.int32),
            lesion=self.arrays["lesions"][rows].astype(np.float32) / 255.0,
            structures_known=flag("structures_known"), lesions_known=flag("lesions_known"))

    def clean(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The noise-free truth of simulated studies of valid and test; the volume itself where there is none."""
        places = [self.studies[row].get("clean_row") for row in rows]
        return dict(clean=np.stack([self.arrays["volumes"][row] if place is None else self.arrays["clean"][place]
                                    for row, place in zip(rows, places, strict=True)]).astype(np.float32))

    def statement(self, row: int | np.integer, random: np.random.Generator) -> Statement:
        """What a sentence says of a study: a truthful choice of its findings, or its covariates when it has none."""
        findings, study = self.findings[row], self.studies[row]
        if findings is not None:
            return language.state(findings, random)
        return Statement(age=study.get("age"), sex=study.get("sex"), phenotype=study.get("phenotype"))


class Examples:
    """The batches of one stage. `reads` names the kinds it wants: image, clean, text, latent, reference."""

    def __init__(self, cohort: Cohort, reads: Sequence[str], *, seed: int = 0, languages: str = "both",
                 tokenizer: Tokenizer | None = None, length: int = 64, shard: tuple[int, int] = (0, 1)):
        self.cohort, self.reads, self.seed, self.shard = cohort, tuple(reads), seed, shard
        self.languages, self.tokenizer, self.length = LANGUAGES[languages], tokenizer, length
        self.represented: dict[str, np.ndarray] = {}        # name -> (n, ...), one row a study

    def whole(self) -> "Examples":
        """The same examples with no share left to other processes."""
        everything = copy.copy(self)
        everything.shard = (0, 1)
        return everything

    def train(self, batch: int, first_step: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """Endless batches (this process' rows of them) from step `first_step` on, made ahead by threads."""
        rows = self.cohort.rows("train")
        if batch > MOST_REPEATED * len(rows):
            raise MedFuseError(f"{self.cohort.folder}: a batch of {batch} would hold each of the {len(rows)} training "
                               f"studies {batch // len(rows)} times: give --config.batch={len(rows)} or less")
        if batch > len(rows):
            logging.warning("%s: a batch of %d holds some of the %d training studies more than once: give "
                            "--config.batch=%d or less, or more data", self.cohort.folder, batch, len(rows), len(rows))
        steps = grain.MapDataset.source(rows).seed(self.seed).shuffle().repeat(EPOCHS).batch(batch)
        local = slice(self.shard[0] * batch // self.shard[1], (self.shard[0] + 1) * batch // self.shard[1])
        made = steps.map_with_index(
            lambda step, chosen: self.batch(np.asarray(chosen)[local], (self.seed, step, local.start)))
        iterator = iter(made.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)))
        iterator.set_state({"next_index": first_step})
        return iterator

    def valid(self, batch: int, split: str = "valid") -> Iterator[dict[str, np.ndarray]]:
        """Each study of the split once; the last batch is filled up with weight 0."""
        rows = self.cohort.rows(split)
        for start in range(0, len(rows), batch):
            chosen = rows[start:start + batch]
            filled = np.concatenate([chosen, np.repeat(rows[:1], batch - len(chosen))])
            weight = (np.arange(batch) < len(chosen)).astype(np.float32)
            local = slice(self.shard[0] * batch // self.shard[1], (self.shard[0] + 1) * batch // self.shard[1])
            yield self.batch(filled[local], (self.seed, 2**31, start + local.start)) | {"weight": weight[local]}

    def batch(self, rows: np.ndarray, key: tuple[int, int, int]) -> dict[str, np.ndarray]:
        """The arrays of some rows; what is random in row i comes from (seed, step, first place + i)."""
        seed, step, first = key
        randoms = [np.random.default_rng((seed, step, first + place)) for place in range(len(rows))]
        made: dict[str, np.ndarray] = {"row": rows.astype(np.int32)}
        if "image" in self.reads:
            made |= self.cohort.seen(rows)
        if "clean" in self.reads:
            made |= self.cohort.clean(rows)
        if "text" in self.reads:
            made |= self.told(rows, randoms)
        if "latent" in self.reads:
            made |= {name: values[rows].astype(np.float32) for name, values in self.represented.items()
                     if name not in ("partial",)}
        if "reference" in self.reads:
            made |= self.reference(rows, randoms)
        return made

    def told(self, rows: np.ndarray, randoms: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """A sentence per row, as words and as facts."""
        statements = [self.cohort.statement(row, random) for row, random in zip(rows, randoms, strict=True)]
        texts = [language.write(statement, self.languages[random.integers(len(self.languages))], random)
                 for statement, random in zip(statements, randoms, strict=True)]
        words, mask = self.tokenizer.encode(texts, self.length)
        return dict(words=words, words_mask=mask, facts=np.stack([tokens.facts(statement) for statement in statements]))

    def facts(self, rows: np.ndarray, draws: int) -> np.ndarray:
        """What sentences may state of some studies, several draws of each: n, draws, 3 numbers for each of s facts."""
        said = []
        for row in rows:
            randoms = (np.random.default_rng((self.seed, 2**31 + 1, int(row), draw)) for draw in range(draws))
            said.append([tokens.facts(self.cohort.statement(row, random)) for random in randoms])
        return np.array(said, np.float32).reshape(len(rows), draws, -1)

    def reference(self, rows: np.ndarray, randoms: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """Another visit of the same person (the scan itself when there is none) as a subset of its contrasts shows it.

        reference: b z y x f;  reference_years: from it to the scan asked for;  reference_same: 1 for the scan itself.
        """
        others, subset = [], []
        for row, random in zip(rows, randoms, strict=True):
            visits = [other for other in self.cohort.visits[self.cohort.studies[row]["person"]] if other != row]
            others.append(random.choice(visits) if visits else row)
            subset.append(random.integers(self.represented["partial"].shape[1]))
        years = [self.cohort.studies[row]["date_years"] - self.cohort.studies[other]["date_years"]
                 for row, other in zip(rows, others, strict=True)]
        return dict(reference=self.represented["partial"][others, subset].astype(np.float32),
                    reference_years=np.array(years, np.float32),
                    reference_same=(rows == np.array(others)).astype(np.float32))

    def describe(self) -> dict[str, Any]:
        """What the order of examples depends on: goes into the checkpoint."""
        return dict(contents=self.cohort.contents, spacing=self.cohort.info["spacing"],
                    studies=len(self.cohort.studies), valid_is_train=self.cohort.valid_is_train,
                    reads=list(self.reads), seed=self.seed, languages=list(self.languages))
