"""Files that are either whole or not there, and arrays that grow on disk."""

import fcntl
import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from medfuse_jax.errors import MedFuseError


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary sibling to write to; it becomes `path` when the block ends well and vanishes otherwise."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
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
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    except OSError as error:
        raise MedFuseError(f"{path}: cannot be written ({error.strerror or error}): "
                           "choose a folder with room that you may write to") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


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
    """A .npy file to which rows are appended; its length is known, and written, only at the end."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type):
        self.shape, self.dtype, self.length = shape, np.dtype(dtype), 0
        self.file = open(path, "wb")
        self._header()

    def _header(self) -> None:
        # numpy pads the header so that the first axis can grow to 21 digits: rewriting it never moves the data.
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, dict(
            descr=self.dtype.str, fortran_order=False, shape=(self.length, *self.shape)))

    def append(self, row: np.ndarray) -> None:
        """One more row of the array's shape."""
        if row.shape != self.shape:
            raise ValueError(f"a row of shape {row.shape} does not fit in an array of rows {self.shape}")
        self.file.write(np.ascontiguousarray(row, self.dtype).tobytes())
        self.length += 1

    def close(self) -> None:
        """Write the final length and close the file."""
        self._header()
        self.file.close()
