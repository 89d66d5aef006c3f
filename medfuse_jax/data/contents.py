"""What a data set is: its contents, wherever it lies and whatever its folder is called."""

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from medfuse_jax.data import bids, machine
from medfuse_jax.data.bids import Study
from medfuse_jax.errors import MedFuseError

LETTERS = 16


def of_study(study: Study, root: Path) -> str:
    """A digest of what a visit consists of: names, sizes and bytes of its files, and what the tables say of it."""
    files = {path.relative_to(root).as_posix(): of_file(path) for path in study.files}
    return digest_of([study.name, study.problem.replace(str(root), ""), study.told, files])


def of_prepared(information: Mapping[str, Any]) -> str:
    """A digest of what a prepared folder is made from: a simulator's settings, or a tree's visits and our settings."""
    return digest_of([information["source"] == "simulated", information["settings"], information.get("contents", {})])


def same_tree(folder: Path, source: Path, jobs: int = 0) -> None:
    """MedFuseError unless the prepared `folder` was made from the BIDS tree `source`, or from a copy of it.

    A source that is not there any more is known by its name alone.
    """
    made = json.loads((folder / "prepared.json").read_text(encoding="utf-8"))
    cure = "choose another --workdir (or --out)"
    if not source.is_dir() or "contents" not in made:
        if made["source"] != source.resolve().name:
            raise MedFuseError(f"{folder} was prepared from {made['source']}, not from {source.name}: {cure}")
        return
    studies = bids.index(source)
    with ThreadPoolExecutor(jobs or machine.usable_cores()) as workers:
        found = dict(zip([study.name for study in studies],
                         workers.map(lambda study: of_study(study, source), studies), strict=True))
    others = [name for name in sorted(found.keys() | made["contents"].keys())
              if found.get(name) != made["contents"].get(name)]
    if others:
        raise MedFuseError(f"{folder} was prepared from other contents than {source} has now ({len(others)} of "
                           f"{len(found)} studies differ; the first: {others[0]}): {cure}, or prepare it again")


def of_file(path: Path) -> str:
    """A file's size and the SHA-256 of its bytes, or why it cannot be read."""
    try:
        known = path.stat()
        return _of_bytes(path, known.st_size, known.st_mtime_ns)
    except OSError as error:
        return f"unreadable: {error.strerror}"


@cache
def _of_bytes(path: Path, size: int, changed: int) -> str:
    """Read once a process, as long as the file stays what it is."""
    with open(path, "rb") as file:
        return f"{size} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def digest_of(value: Any) -> str:
    """A short digest of anything that JSON can say."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:LETTERS]
