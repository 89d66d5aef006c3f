"""A prepared folder on its way: which studies are finished, so that a stopped preparation goes on from there."""

import json
from collections.abc import Sequence
from typing import Any

from medfuse_jax.data.files import JOURNAL
from medfuse_jax.data.prepared import Example, Writer
from medfuse_jax.errors import MedFuseError


class Draft:
    """A journal beside the arrays, a line a study in the order of the tree: what it was, and what became of it.

    A line is written when the study's arrays are with the system: what a kill leaves half written has no line.
    """

    def __init__(self, writer: Writer):
        self.writer, self.path = writer, writer.folder / JOURNAL
        self.finished: list[dict[str, Any]] = []
        if self.path.exists():
            self.finished = _whole_lines(self.path.read_text(encoding="utf-8"))
        self._forget_after(self._complete())

    def _complete(self) -> int:
        """How many finished studies the arrays really hold."""
        rows = min(array.length for array in self.writer.arrays.values())
        return next((place for place, entry in enumerate(self.finished) if entry["row"] >= rows), len(self.finished))

    def keep(self, digests: Sequence[str]) -> int:
        """Keep the studies that are still what they were, up to the first that is not; how many those are."""
        same = [entry["digest"] == digest for entry, digest in zip(self.finished, digests, strict=False)]
        self._forget_after(same.index(False) if False in same else len(same))
        for entry in self.finished:
            self.writer.contents[entry["study"]] = entry["digest"]
        self.writer.lines = [entry["line"] for entry in self.finished if entry["line"] is not None]
        return len(self.finished)

    def _forget_after(self, count: int) -> None:
        self.finished = self.finished[:count]
        rows = sum(entry["line"] is not None for entry in self.finished)
        for array in self.writer.arrays.values():
            array.cut(rows)
        if self.path.exists():
            self.path.write_text("".join(map(_line, self.finished)), encoding="utf-8")

    def add(self, study: str, digest: str, result: Example | MedFuseError, place: str) -> None:
        """One more study is finished: made, or refused with its reason."""
        self.writer.contents[study] = digest
        entry = dict(study=study, digest=digest, place=place, line=None, reason=None, row=self.writer.rows - 1)
        if isinstance(result, MedFuseError):
            entry |= dict(reason=str(result))
        else:
            self.writer.add(result)
            entry |= dict(line=self.writer.lines[-1], row=self.writer.rows - 1)
        for array in self.writer.arrays.values():
            array.flush()
        self.finished.append(entry)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(_line(entry))

    @property
    def rejected(self) -> list[dict[str, str]]:
        """The refused studies, as in rejected.tsv."""
        return [dict(path=entry["place"], reason=entry["reason"]) for entry in self.finished if entry["reason"]]

    def close(self) -> None:
        """Nothing is to go on from here: the folder is done, or not worth keeping."""
        self.path.unlink(missing_ok=True)


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _whole_lines(text: str) -> list[dict[str, Any]]:
    """The entries of a journal; a last line that was cut short counts as not written."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
