"""The prepared folder: what trains, simulated and real alike. Plain .npy arrays, one JSON line a study.

    prepared.json    format, spacing, shape (d h w), contrasts, structures, source, code_version, settings, people
                     (how many train, valid, test), valid_is_train, contents (study -> digest of its files and facts)
    studies.jsonl    a line a study in array order: study, person, session, split, present, structures_known, ...
    volumes.npy      float16 (n, d, h, w, 4): per contrast divided by the brain's median, background 0, at most 4
    structures.npy   uint8 (n, d, h, w) classes        lesions.npy  uint8 (n, d, h, w) 255 x lesion fraction
    clean.npy        float16 (m, d, h, w, 4): noise-free truth, for the studies whose clean_row says so
    provenance/, quality/    of real scans: STUDY.json, where it comes from; STUDY.png, its brain mask to look at
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

import medfuse_jax
from medfuse_jax.data import grid, labels
from medfuse_jax.data.files import GrowingArray, kept_folder, whole_folder

FORMAT = 1


class Example(NamedTuple):
    """One study as arrays and a line."""

    line: dict[str, Any]
    volume: np.ndarray                     # d h w c
    structures: np.ndarray                 # d h w, classes; zeros when unknown
    lesions: np.ndarray                    # d h w, fraction 0 .. 1; zeros when unknown


def is_prepared(path: str | Path) -> bool:
    """Whether `path` is a prepared folder (and not, say, a BIDS tree)."""
    return (Path(path) / "prepared.json").is_file()


class Writer:
    """Takes examples one by one; memory does not grow with their number."""

    def __init__(self, folder: Path, shape: tuple[int, int, int]):
        self.folder, self.shape, self.lines = folder, shape, []
        self.contents: dict[str, str] = {}             # study -> digest; empty: the settings say all
        volume = (*shape, len(labels.CONTRASTS))
        self.arrays = {"volumes": GrowingArray(folder / "volumes.npy", volume, np.float16),
                       "structures": GrowingArray(folder / "structures.npy", shape, np.uint8),
                       "lesions": GrowingArray(folder / "lesions.npy", shape, np.uint8)}

    def add(self, example: Example) -> None:
        """Append one study."""
        self.arrays["volumes"].append(example.volume.astype(np.float16))
        self.arrays["structures"].append(example.structures.astype(np.uint8))
        self.arrays["lesions"].append(np.rint(255 * example.lesions).astype(np.uint8))
        self.lines.append(example.line | {"clean_row": None})

    @property
    def rows(self) -> int:
        """How many studies the arrays hold."""
        return self.arrays["volumes"].length

    @property
    def row_bytes(self) -> int:
        """What the arrays take of one study."""
        return sum(array.row_bytes for array in self.arrays.values())

    def hold_out(self, seed: int) -> None:
        """Deal the people who were taken to train, valid and test."""
        split = splits([line["person"] for line in self.lines], seed)
        self.lines = [line | {"split": split[line["person"]]} for line in self.lines]


@contextmanager
def writing(out: str | Path, spacing: float, source: str, settings: Mapping[str, Any],
            draft: str = "") -> Iterator[Writer]:
    """A Writer whose folder becomes `out` when the block ends well, and vanishes otherwise.

    With a key for a draft it does not vanish: who comes with the same key later goes on from what is there.
    """
    x, y, z = grid.standard(spacing).shape
    with (kept_folder(out, draft) if draft else whole_folder(out)) as folder:
        writer = Writer(folder, (z, y, x))
        try:
            yield writer
        finally:
            for array in writer.arrays.values():
                array.close()
        lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in writer.lines)
        (folder / "studies.jsonl").write_text(lines, encoding="utf-8")
        information = dict(format=FORMAT, spacing=float(spacing), shape=[z, y, x], contrasts=list(labels.CONTRASTS),
                           structures=list(labels.NAMES), source=source, code_version=medfuse_jax.__version__,
                           settings=dict(settings), people=people(writer.lines),
                           valid_is_train=valid_is_train(writer.lines), contents=writer.contents)
        text = json.dumps(information, indent=1, ensure_ascii=False)
        (folder / "prepared.json").write_text(text + "\n", encoding="utf-8")


def people(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many people train, are validated on, and are kept for the test."""
    split = {line["person"]: line["split"] for line in lines}
    return {name: list(split.values()).count(name) for name in ("train", "valid", "test")}


def valid_is_train(lines: Iterable[Mapping[str, Any]]) -> bool:
    """Whether nobody is held out, so that validation is on the training people."""
    return people(lines)["valid"] == 0


def splits(people: Sequence[str], seed: int) -> dict[str, str]:
    """train | valid | test for each person, 80 : 10 : 10 with at least one in each; below three people all train."""
    people = sorted(set(people))
    if len(people) < 3:
        logging.warning("%d person(s): all train, and validation is on the training data", len(people))
        return dict.fromkeys(people, "train")
    held_out = max(1, round(0.1 * len(people)))
    order = np.random.default_rng(seed).permutation(len(people))
    names = ["valid"] * held_out + ["test"] * held_out + ["train"] * (len(people) - 2 * held_out)
    return {people[place]: name for place, name in zip(order, names, strict=True)}
