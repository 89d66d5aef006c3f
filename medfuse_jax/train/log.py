"""What a run tells: metrics.jsonl, TensorBoard, and JSON files that are never half written."""

import json
import math
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.utils import figure_to_image

from medfuse_jax.data.files import write_arrays
from medfuse_jax.errors import MedFuseError

FLUSH_EVERY_S = 20.0


def plain(value: Any) -> Any:
    """A value as JSON knows it: numpy numbers and arrays become Python's, what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if hasattr(value, "tolist"):
        return plain(np.asarray(value).tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8") as file:
            file.write(json.dumps(plain(value), indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise MedFuseError(f"{path}: cannot be written ({error.strerror}): "
                           "free space or choose another --workdir") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file as written; {} when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def write_statistics(folder: Path, told: Mapping[str, Any]) -> None:
    """What a stage concludes: arrays in statistics.npz, the rest in statistics.json."""
    arrays = {name: value for name, value in told.items() if isinstance(value, np.ndarray)}
    write_arrays(folder / "statistics.npz", arrays)
    write_json(folder / "statistics.json", {name: value for name, value in told.items() if name not in arrays})


def read_statistics(folder: Path) -> dict[str, Any]:
    """The inverse of `write_statistics`; empty where nothing was concluded."""
    told, path = read_json(folder / "statistics.json"), folder / "statistics.npz"
    try:
        if path.exists():
            with np.load(path) as arrays:
                told |= dict(arrays)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise MedFuseError(f"{path} is damaged ({error}): restore it from a copy, or train this stage again") from error
    return told


def cut(path: Path, step: int) -> None:
    """Forget the lines of steps after `step`, and a half-written one: the run goes on from there."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text("".join(kept), encoding="utf-8")
    draft.replace(path)


class Journal:
    """The diary of a run, kept by one process; the others' is silent."""

    def __init__(self, folder: Path, first: int, writes: bool = True):
        self.folder, self.writes, self.flushed = folder, writes, time.monotonic()
        if not writes:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            cut(folder / "metrics.jsonl", first)
            self.lines = (folder / "metrics.jsonl").open("a", encoding="utf-8")
            # Written in this thread: tensorboardX' own writer hangs when its queue's thread dies of a full disk.
            self.events = EventsWriter(str(folder / "events"))
        except OSError as error:
            raise MedFuseError(f"{folder}: cannot be written ({error.strerror}): choose another --workdir") from error
        if first:
            self.events.write_event(Event(wall_time=time.time(), step=first + 1,
                                          session_log=SessionLog(status=SessionLog.START)))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *failure: object) -> None:
        if self.writes:
            try:
                self.lines.close()
                self.events.close()
            except OSError as error:
                logging.warning("%s: the last lines of the log were lost (%s)", self.folder, error.strerror)

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """One line of numbers; pictures and text go to TensorBoard only."""
        if not self.writes or not values:
            return
        numbers = {name: value for name, value in values.items() if np.ndim(value) == 0 and not shown(value)}
        try:
            self.lines.write(json.dumps(plain({"step": step} | numbers)) + "\n")
            self.lines.flush()
            for name, value in values.items():
                self.event(step, drawn(name, value))
            if time.monotonic() - self.flushed > FLUSH_EVERY_S:
                self.events.flush()
                self.flushed = time.monotonic()
        except OSError as error:
            raise MedFuseError(f"{self.folder}/metrics.jsonl: cannot be written ({error.strerror}): "
                               "free space and run again; it goes on from the last checkpoint") from error

    def event(self, step: int, drawing: Any) -> None:
        """One event for TensorBoard."""
        if drawing is not None:
            self.events.write_event(Event(wall_time=time.time(), step=step, summary=drawing))


def shown(value: Any) -> bool:
    """True for figures and text, which are looked at and not averaged."""
    return isinstance(value, str) or hasattr(value, "savefig")


def drawn(name: str, value: Any) -> Any:
    """TensorBoard's form of a number, text, figure, or image (h w, h w 1|3; 0..1 or uint8); None for anything else.

    A number that is not finite has no place on a curve; metrics.jsonl keeps it as null.
    """
    if isinstance(value, str):
        return summary.text(name, value)
    if hasattr(value, "savefig"):
        return summary.image(name, figure_to_image(value), dataformats="CHW")
    array = np.asarray(value)
    if array.ndim == 0 and array.dtype.kind in "biuf":
        return summary.scalar(name, float(array)) if np.isfinite(array) else None
    if array.ndim in (2, 3) and array.dtype.kind in "uf":
        return summary.image(name, array, dataformats="HW" if array.ndim == 2 else "HWC")
    return None
