"""A config file, and what a command line changes in it: `configs/ldm.py:local`, `model.width=64`."""

import ast
import difflib
import importlib.util
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from medfuse_jax.config import CHOICES, LEAST, MOST
from medfuse_jax.errors import MedFuseError


def split(text: str) -> tuple[Path, str]:
    """`configs/ldm.py:local` to its file and its preset; without a preset, "auto"."""
    path, colon, preset = text.rpartition(":")
    return (Path(path), preset or "auto") if colon and path.endswith(".py") else (Path(text), "auto")


def load(path: Path, preset: str) -> ConfigDict:
    """What the file's `get_config(preset)` gives. The file is the user's own Python and is run."""
    if not path.is_file():
        raise MedFuseError(_missing(path))
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise MedFuseError(f"{path} is not a Python file: a config ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise MedFuseError(f"{path}, line {error.lineno}: {error.msg}") from error
    if not hasattr(module, "get_config"):
        raise MedFuseError(f"{path} has no get_config(preset): it is not a config; see configs/")
    return module.get_config(preset)


def _missing(path: Path) -> str:
    """What to say of a config that is not there: which ones are, and the nearest of them."""
    folder = path if path.is_dir() else path.parent
    if not any(folder.glob("*.py")):
        folder = Path("configs")
    there = sorted(str(file) for file in folder.glob("*.py"))
    if not there:
        return f"{path} does not exist, nor does the folder configs: run from the repository's root"
    what = "is not a config file" if path.exists() else "does not exist"
    return f"{path} {what}: there are {', '.join(there)}"


def change(config: ConfigDict, assignments: Iterable[str], origin: str) -> ConfigDict:
    """`config` after each "FIELD=VALUE", read as the type that the field has; then locked against new fields."""
    fields = dict(_fields(config))
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if name not in fields:
            raise MedFuseError(_unknown(name, config, fields, origin))
        if not equals:
            raise MedFuseError(f"{name} needs a value: --config.{name}=VALUE")
        _set(config, name, _read(name, text, fields[name]))
    for name, value in _fields(config):
        if name in CHOICES and value not in CHOICES[name]:
            raise MedFuseError(f"{name} is one of {', '.join(map(str, CHOICES[name]))}, not {value!r}")
        if isinstance(value, int | float) and value < LEAST.get(name, -math.inf):
            raise MedFuseError(f"{name} is at least {LEAST[name]}, not {value}")
        if isinstance(value, int | float) and value > MOST.get(name, math.inf):
            raise MedFuseError(f"{name} is at most {MOST[name]}, not {value}")
    if config.data.source == "":
        raise MedFuseError("data.source is empty: simulated, or the path of a BIDS tree or of a prepared folder")
    model = config.model
    if "heads" in model and model.width % model.heads:
        raise MedFuseError(f"model.heads={model.heads} does not divide model.width={model.width}: choose one that does")
    return config.lock()


def _set(config: ConfigDict, name: str, value: Any) -> None:
    *groups, last = name.split(".")
    for group in groups:
        config = config[group]
    config[last] = value


def _fields(config: ConfigDict, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted names of all fields that hold a value, with the value."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _unknown(name: str, config: ConfigDict, fields: dict[str, Any], origin: str) -> str:
    inside = [field for field in fields if field.startswith(f"{name}.")]
    if inside:
        return f"{name} is a group of fields: set one of {', '.join(inside)}"
    near = difflib.get_close_matches(name, fields, n=1, cutoff=0.75)
    if not near:      # right word, wrong or missing group: `width` for `model.width`
        last = {field.rpartition(".")[2]: field for field in reversed(fields)}
        near = [last[word] for word in difflib.get_close_matches(name.rpartition(".")[2], last, n=1, cutoff=0.75)]
    cure = f"did you mean {near[0]}?" if near else f"its fields are {', '.join(config)}"
    return f"{name} is not a field of {origin}: {cure}"


def _truth(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


READERS: dict[type, tuple[Callable[[str], Any], str]] = {
    bool: (_truth, "true or false"),
    int: (int, "a whole number"),
    float: (_number, "a number"),
    str: (str, "text"),
}


def _read(name: str, text: str, old: Any) -> Any:
    """`text` as the type of `old`; a sequence's elements as its first one; without an example, as Python's literal."""
    try:
        if isinstance(old, (tuple, list)):
            kind = type(old[0]) if old else None
            parts = [part.strip() for part in text.strip("()[] ").split(",") if part.strip()]
            return type(old)(READERS[kind][0](part) if kind in READERS else _literal(part) for part in parts)
        if type(old) in READERS:
            return READERS[type(old)][0](text)
        return _literal(text)
    except (ValueError, KeyError) as error:
        raise MedFuseError(f"{name} takes {_wanted(old)}, not {text!r}") from error


def _wanted(old: Any) -> str:
    if isinstance(old, (tuple, list)):
        return f"values between commas, such as {','.join(str(value) for value in old)}"
    return READERS[type(old)][1]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
