"""The tensors of a checkpoint folder, in whichever of its usual files they lie."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import serialization
from safetensors import SafetensorError
from safetensors.numpy import load_file

from medfuse_jax.data.files import digest as of_file
from medfuse_jax.errors import MedFuseError
from medfuse_jax.weights import pickled

# Read is the first that is there; an index says in which shard each tensor lies.
SAFE, SAFE_INDEX = "model.safetensors", "model.safetensors.index.json"
TORCH, TORCH_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
FLAX = "flax_model.msgpack"
OTHERS = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")       # that say what the weights mean


def files(folder: str | Path) -> list[Path]:
    """The files that hold the weights: one, or shards; MedFuseError when there are none."""
    folder = Path(folder)
    for whole, index in ((SAFE, SAFE_INDEX), (TORCH, TORCH_INDEX), (FLAX, "")):
        if (folder / whole).is_file():
            return [folder / whole]
        if index and (folder / index).is_file():
            return _shards(folder / index)
    raise MedFuseError(f"{folder}: no weights there: one of {SAFE}, {SAFE_INDEX}, {TORCH}, {FLAX} belongs beside "
                       "config.json; download the checkpoint again")


def _shards(index: Path) -> list[Path]:
    """The files that an index names, each beside it."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        shards = [index.parent / name for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MedFuseError(f"{index}: not an index of shards ({error!r}): copy it again") from error
    for name, shard in zip(names, shards, strict=True):
        if Path(name).name != name or not shard.is_file():
            raise MedFuseError(f"{index}: its shard {name} is not beside it: copy it again")
    return shards


def tensors(folder: str | Path) -> dict[str, np.ndarray]:
    """Name -> array of every tensor of a checkpoint folder, under torch's names, kernels as torch keeps them: o i."""
    found: dict[str, np.ndarray] = {}
    for file in files(folder):
        if file.suffix == ".safetensors":
            found |= _safe(file)
        else:
            found |= pickled.tensors(file) if file.suffix == ".bin" else _flax(file)
    return found


def _safe(file: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(file)
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise MedFuseError(f"{file}: not a whole safetensors file ({error}): copy it again") from error


def _flax(file: Path) -> dict[str, np.ndarray]:
    try:
        tree = serialization.msgpack_restore(file.read_bytes())
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MedFuseError(f"{file}: not a whole msgpack file ({error!r}): copy it again") from error
    return dict(_named(file, tree.get("params", tree) if isinstance(tree, Mapping) else tree))


def _named(file: Path, tree: Any, above: tuple[str, ...] = ()) -> list[tuple[str, np.ndarray]]:
    """Flax's leaves under torch's names: a kernel is a weight the other way round."""
    if isinstance(tree, Mapping):
        return [leaf for name, part in tree.items() for leaf in _named(file, part, (*above, str(name)))]
    if not isinstance(tree, np.ndarray) or not above:
        raise MedFuseError(f"{file}: {'.'.join(above) or 'its content'} is not an array: copy it again")
    *path, last = above
    if last == "kernel":
        tree = tree.T
    return [(".".join([*path, "weight" if last in ("kernel", "embedding", "scale") else last]), tree)]


def digest(folder: str | Path) -> str:
    """Twelve letters for what the folder holds: two checkpoints of one digest are one."""
    folder, total = Path(folder), hashlib.sha256()
    for file in [*(folder / name for name in OTHERS if (folder / name).is_file()), *files(folder)]:
        total.update(bytes.fromhex(of_file(file)))
    return total.hexdigest()[:12]
