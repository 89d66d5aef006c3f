"""Files that are either whole or not there, folders that outlive a stop, and arrays that grow on disk."""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medfuse_jax.errors import MedFuseError

JOURNAL = "journal.jsonl"                  # in a draft: a line for each thing that is finished
LOCK = "lock"                              # in a draft: held by the process that fills it


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary sibling to write to; it becomes `path` when the block ends well and vanishes otherwise."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")     # threads may race to it
    if path.exists() and not path.is_file():               # /dev/null, a socket, a folder: never to be replaced
        raise MedFuseError(f"{path}: not a file: choose another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise MedFuseError(f"{path}: cannot be written ({error.strerror or error}): "
                           "choose a folder with room that you may write to") from error
    finally:
        if temporary.exists():
            temporary.unlink()


def writable(folder: str | Path, flag: str) -> None:
    """MedFuseError when a flag's folder cannot be made or written, before long work begins; nothing is left behind."""
    folder = Path(folder).absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        raise MedFuseError(f"{there}: a file, not a folder: choose another {flag}")
    trial = there / f".{platform.node()}.{os.getpid()}.trial"
    try:
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        raise MedFuseError(f"{there}: cannot be written ({error.strerror}): choose another {flag}, or change its "
                           "permissions") from error


def digest(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal; MedFuseError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MedFuseError(f"{path}: cannot be read ({error.strerror}): check its permissions") from error


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Named arrays as a .npz that is whole or not there."""
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def kept_arrays(path: Path, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of a .npz, made first where it is not there; whoever makes them sees what later ones read."""
    if not path.is_file():
        write_arrays(path, make())
    with np.load(path) as arrays:
        return dict(arrays)


def room(folder: str | Path, needed: int | float) -> None:
    """MedFuseError when the disk of a folder (which need not be there yet) has not `needed` bytes free."""
    folder = Path(folder)
    free = shutil.disk_usage(next(each for each in folder.absolute().parents if each.is_dir())).free
    if needed > free:
        raise MedFuseError(f"{folder}: some {needed / 1e9:.1f} GB will be written, its disk has {free / 1e9:.1f} GB "
                           "free: make room, choose a folder on another disk, or a coarser --spacing")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """The only process of this machine that works in a folder; MedFuseError when another one does.

    The lock is the system's: it ends with the process, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise MedFuseError(f"{folder}: process {file.read().strip() or 'unknown'} is at work there: wait until it "
                               "ends, or choose another --workdir") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """A temporary sibling folder to fill; it becomes `path` when the block ends well and vanishes otherwise.

    A folder that stands at `path` already is replaced only then; whoever calls has asked whether it may be.
    What processes of this machine that were killed have left half made there is taken away first.
    """
    path = Path(path)
    own = f".{path.name}.{platform.node()}"                 # other machines may share the disk
    temporary, old = (path.with_name(f"{own}.{os.getpid()}.{ending}") for ending in ("part", "old"))
    try:
        for left in path.parent.glob(".*"):
            maker = re.fullmatch(re.escape(own) + r"\.(\d+)\.(part|old)", left.name)
            if maker and not running(int(maker[1])):
                shutil.rmtree(left, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        _into_place(temporary, path, old)
    except OSError as error:
        raise MedFuseError(f"{path}: cannot be written ({error.strerror or error}): "
                           "choose a folder with room that you may write to") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def kept_folder(path: str | Path, key: str) -> Iterator[Path]:
    """A sibling folder to fill that outlives a stop: the next call with the same `key` is given what is there already.

    It becomes `path` when the block ends well, and drafts of other keys that nobody fills are then taken away. A draft
    in which nothing is finished (no JOURNAL) vanishes when the block does not end well. One process at a time.
    """
    path = Path(path)
    draft, old = path.with_name(f".{path.name}.{key}.draft"), path.with_name(f".{path.name}.{key}.old")
    try:
        draft.mkdir(parents=True, exist_ok=True)
        with open(draft / LOCK, "wb") as lock:
            if not _locked(lock):
                raise MedFuseError(f"{path}: another process is making it: wait for that one, or stop it first")
            try:
                yield draft
                (draft / LOCK).unlink()
                _into_place(draft, path, old)
            finally:
                if draft.exists() and not (draft / JOURNAL).exists():
                    shutil.rmtree(draft, ignore_errors=True)
        for other in path.parent.glob(f".{path.name}.*.draft"):
            with open(other / LOCK, "wb") as lock:
                if _locked(lock):
                    shutil.rmtree(other, ignore_errors=True)
    except OSError as error:
        raise MedFuseError(f"{path}: cannot be written ({error.strerror or error}): choose a folder with room that you "
                           "may write to; what is finished is kept for the same command") from error
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _locked(file: BinaryIO) -> bool:
    """Take the lock of a file until it is closed (or its process ends, however); no when another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _into_place(made: Path, path: Path, old: Path) -> None:
    if path.exists():
        if not path.is_dir():                              # /dev/null, a socket, a file: never to be replaced
            raise MedFuseError(f"{path}: not a folder: choose another place")
        os.replace(path, old)
    os.replace(made, path)


def running(process: int) -> bool:
    """Whether a process of this number is alive."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:                                 # another user's
        return True
    return True


class GrowingArray:
    """A .npy file to which rows are appended; its length is known, and written, only at the end.

    Whole rows of a file that was left unfinished at `path` are there already.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.file = open(path, "r+b" if path.exists() else "w+b")
        self.length = 0
        self._header()
        self.start = self.file.tell()
        self.cut(max(self.file.seek(0, os.SEEK_END) - self.start, 0) // self.row_bytes)

    @property
    def row_bytes(self) -> int:
        """Of one row."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def cut(self, length: int) -> None:
        """Keep the first rows only."""
        self.length = length
        self.file.truncate(self.start + length * self.row_bytes)
        self.file.seek(0, os.SEEK_END)

    def _header(self) -> None:
        # numpy pads the header so that the first axis can grow to 21 digits: rewriting it never moves the data.
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, dict(
            descr=self.dtype.str, fortran_order=False, shape=(self.length, *self.shape)))

    def append(self, row: np.ndarray) -> None:
        """One more row of the array's shape."""
        if row.shape != self.shape:
            raise ValueError(f"a row of shape {row.shape} does not fit in an array of rows {self.shape}")
        self.file.write(np.ascontiguousarray(row, self.dtype).data)
        self.length += 1

    def flush(self) -> None:
        """Give what was appended to the system, which keeps it whatever becomes of this process."""
        self.file.flush()

    def close(self) -> None:
        """Write the final length and close the file."""
        self._header()
        self.file.close()
