"""`pytorch_model.bin` without torch and without pickle: opcodes are read one by one, and nothing in the file is run.

A list says which opcodes and which names may stand in a file of weights; all else is refused. Both formats are read:
a zip archive of a pickle and raw storages, and the older row of pickles with the storages after them.
"""

import mmap
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medfuse_jax.errors import MedFuseError

MAGIC = 0x1950A86A20F9469CFC6C            # of the older format
CONVERT = "use the checkpoint's model.safetensors"
BFLOAT = np.dtype([("bfloat16", "<u2")])

# The only names that a file of weights needs.
ORDERED, TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"
STORAGES = {"torch FloatStorage": np.dtype("<f4"), "torch DoubleStorage": np.dtype("<f8"),
            "torch HalfStorage": np.dtype("<f2"), "torch BFloat16Storage": BFLOAT,
            "torch LongStorage": np.dtype("<i8"), "torch IntStorage": np.dtype("<i4"),
            "torch ShortStorage": np.dtype("<i2"), "torch CharStorage": np.dtype("i1"),
            "torch ByteStorage": np.dtype("u1"), "torch BoolStorage": np.dtype("?")}
KNOWN = {ORDERED, TENSOR, PARAMETER, *STORAGES}
PLAIN = {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Name(NamedTuple):
    """A name of Python's that stands in the pickle; it is never looked up."""

    of: str


class Storage(NamedTuple):
    """A row of numbers that lies elsewhere in the file."""

    dtype: np.dtype
    key: str
    count: int


class Tensor(NamedTuple):
    """A window on a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Mark:
    """Where a run of values begins on the stack."""


def tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Name -> array of each tensor; MedFuseError for whatever is not a plain file of weights."""
    path = Path(path)
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("error")                   # genops warns of odd letters in names
            if file.read(4) == b"PK\x03\x04":
                return _of_zip(path)
            # Mapped: reading stops at its end, whatever length a damaged file claims.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as row:
                return _of_row(path, row)
    except (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError, EOFError, RuntimeError, Warning,
            struct.error, zipfile.BadZipFile) as error:
        if isinstance(error, MedFuseError):
            raise
        raise MedFuseError(f"{path}: not a whole file of weights ({type(error).__name__}: {error}): copy it again, or "
                           f"{CONVERT}") from error


def _of_zip(path: Path) -> dict[str, np.ndarray]:
    """The format since torch 1.6."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        size = path.stat().st_size
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.compress_size > size for entry in entries.values()):
            raise MedFuseError(f"{path}: compressed, which torch's files are not: {CONVERT}")
        pickles = [name for name in entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise MedFuseError(f"{path}: holds no data.pkl, so it is no file of weights: copy it again, or {CONVERT}")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder").strip() != b"little":
            raise MedFuseError(f"{path}: its bytes are not in little-endian order: {CONVERT}")
        found = named(path, interpret(path, archive.read(pickles[0])))
        raw: dict[str, bytes] = {}
        for name, tensor in found.items():
            if tensor.storage.key not in raw:
                entry = entries.get(f"{root}data/{tensor.storage.key}")
                if entry is None:
                    raise MedFuseError(f"{path}: the numbers of {name} are missing: copy it again, or {CONVERT}")
                raw[tensor.storage.key] = archive.read(entry)
    return {name: array(path, name, tensor, raw[tensor.storage.key]) for name, tensor in found.items()}


def _of_row(path: Path, file: mmap.mmap) -> dict[str, np.ndarray]:
    """The format before torch 1.6: magic number, version, machine, tensors, keys, then each storage with its length."""
    if interpret(path, file) != MAGIC:
        raise MedFuseError(f"{path}: not a file that torch wrote: copy it again, or {CONVERT}")
    _, machine = interpret(path, file), interpret(path, file)
    if not isinstance(machine, Mapping) or machine.get("little_endian") is not True:
        raise MedFuseError(f"{path}: its bytes are not in little-endian order: {CONVERT}")
    found, keys = named(path, interpret(path, file)), interpret(path, file)
    sizes = {tensor.storage.key: tensor.storage.dtype.itemsize for tensor in found.values()}
    raw = {}
    for key in keys:
        if not isinstance(key, str) or key not in sizes:
            raise MedFuseError(f"{path}: holds numbers that belong to no tensor: copy it again, or {CONVERT}")
        raw[key] = file.read(int.from_bytes(file.read(8), "little") * sizes[key])
    missing = next((name for name, tensor in found.items() if tensor.storage.key not in raw), None)
    if missing is not None:
        raise MedFuseError(f"{path}: the numbers of {missing} are missing: copy it again, or {CONVERT}")
    return {name: array(path, name, tensor, raw[tensor.storage.key]) for name, tensor in found.items()}


def named(path: Path, said: Any) -> dict[str, Tensor]:
    """What the pickle holds, when it is names with tensors."""
    if not isinstance(said, dict):
        raise MedFuseError(f"{path}: holds no names with tensors: {CONVERT}")
    wrong = next((name for name, value in said.items() if not isinstance(value, Tensor)), None)
    if wrong is not None:
        raise MedFuseError(f"{path}: {wrong!r} is not a tensor: {CONVERT}")
    return said


def array(path: Path, name: str, tensor: Tensor, raw: bytes) -> np.ndarray:
    """A read-only view of a tensor's numbers (bfloat16: a copy in float32); it must lie within its storage."""
    storage, offset, shape, stride = tensor
    belong = storage.count * storage.dtype.itemsize
    if len(raw) != belong:
        raise MedFuseError(f"{path}: {name} has {len(raw)} bytes where {belong} belong: copy it again, or {CONVERT}")
    sizes = (offset, *shape, *stride)
    whole = len(shape) == len(stride) and all(type(size) is int and 0 <= size < 2**48 for size in sizes)
    empty = whole and 0 in shape
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) if whole else 0
    if not whole or (not empty and last >= storage.count):
        raise MedFuseError(f"{path}: {name} reaches beyond its numbers: copy it again, or {CONVERT}")
    if empty:
        return np.zeros(shape, np.float32)
    row = np.frombuffer(raw, storage.dtype)
    if storage.dtype == BFLOAT:
        row = (row["bfloat16"].astype(np.uint32) << 16).view(np.float32)
    steps = tuple(step * row.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(row[offset:], shape, steps, writeable=False)


def interpret(path: Path, source: bytes | mmap.mmap) -> Any:
    """The value of one pickle, made of plain values, `Name`, `Storage` and `Tensor` only."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(source):
        name = opcode.name
        if name in PLAIN:
            stack.append(argument)
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in TUPLES:
            stack[-TUPLES[name]:] = [tuple(stack[-TUPLES[name]:])]
        elif name == "MARK":
            stack.append(_Mark)
        elif name == "TUPLE":
            stack.append(tuple(_since_mark(stack)))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else _since_mark(stack)
            _expected(path, stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else _since_mark(stack)
            keys = [_expected(path, key, str) for key in items[::2]]
            _expected(path, stack[-1], dict).update(zip(keys, items[1::2], strict=True))
        elif name == "GLOBAL":
            stack.append(_known(path, argument))
        elif name == "STACK_GLOBAL":
            attribute, module = (_expected(path, stack.pop(), str) for _ in range(2))
            stack.append(_known(path, f"{module} {attribute}"))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_made(path, function, arguments))
        elif name == "BUILD":                                   # torch's notes on versions, of no use here
            stack.pop()
            _expected(path, stack[-1], dict)
        elif name == "BINPERSID":
            stack.append(_storage(path, stack.pop()))
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise MedFuseError(f"{path}: opcode {name}, which no file of weights needs; refused, and nothing was run: "
                               f"{CONVERT}")
    raise ValueError("no end")


def _since_mark(stack: list[Any]) -> list[Any]:
    """What lies above the last mark; it is taken away with the mark."""
    place = len(stack) - 1 - stack[::-1].index(_Mark)
    items = stack[place + 1:]
    del stack[place:]
    return items


def _expected(path: Path, value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise MedFuseError(f"{path}: a {type(value).__name__} stands where a {kind.__name__} belongs: {CONVERT}")
    return value


def _known(path: Path, name: str) -> Name:
    if name not in KNOWN:
        raise MedFuseError(f"{path}: names {name.replace(' ', '.')}, which no file of weights needs; refused, and "
                           f"nothing was run: {CONVERT}")
    return Name(name)


def _made(path: Path, function: Any, arguments: Any) -> Any:
    """What a call of one of the known functions would give."""
    if function == Name(ORDERED) and arguments == ():
        return {}
    if function == Name(TENSOR) and isinstance(arguments, tuple) and len(arguments) >= 4:
        storage, offset, shape, stride = arguments[:4]
        if isinstance(storage, Storage) and isinstance(shape, tuple) and isinstance(stride, tuple):
            return Tensor(storage, offset, shape, stride)
    if function == Name(PARAMETER) and isinstance(arguments, tuple) and arguments and isinstance(arguments[0], Tensor):
        return arguments[0]
    raise MedFuseError(f"{path}: calls something as no file of weights does; refused, and nothing was run: {CONVERT}")


def _storage(path: Path, said: Any) -> Storage:
    """('storage', kind, key, device, count), and in the older format a view, which must be none."""
    if isinstance(said, tuple) and len(said) in (5, 6) and said[0] == "storage" and said[5:] in ((), (None,)):
        kind, key, count = said[1], said[2], said[4]
        if isinstance(kind, Name) and kind.of in STORAGES and isinstance(key, str) and type(count) is int:
            return Storage(STORAGES[kind.of], key, count)
    raise MedFuseError(f"{path}: a storage is described as in no file of weights: {CONVERT}")
