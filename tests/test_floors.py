"""Imports go down, never up, never in a circle, never inside a function: read from the source with `ast`.

    floor 1   errors axes cache config overrides data metrics        words, files, numbers; no jax in data and metrics
              figures album planes progress synthetic captions request
              weights
    floor 2   models methods explain                                 arrays in, arrays out
    floor 3   stages                                                 what is learned, from what loss
    floor 4   train family medfuse command benchmark evaluation      train knows the protocol, never a stage
    floor 5   launch configs tests                                   configs know medfuse_jax.config and nothing else
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {
    1: {"errors", "axes", "cache", "config", "overrides", "data", "metrics", "figures", "album", "planes", "progress",
        "synthetic", "captions", "request", "weights"},
    2: {"models", "methods", "explain"},
    3: {"stages"},
    4: {"train", "family", "medfuse", "command", "benchmark", "evaluation"},
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
ARRAYS_ON_DEVICES = {"jax", "jaxlib", "flax", "optax", "orbax", "diffrax"}

# Imports inside a function, each with its reason. launch/ may import anything late: flags are validated first.
LATE = {
    ("medfuse_jax/__init__.py", "medfuse_jax.medfuse"): "the lazy public face",
    ("medfuse_jax/data/__init__.py", "medfuse_jax.data.nifti"): "the lazy public face",
    ("medfuse_jax/data/__init__.py", "medfuse_jax.data.bids"): "the lazy public face",
    ("medfuse_jax/config.py", "jax"): "only the preset `auto` asks for devices, after jax.distributed",
    ("medfuse_jax/data/registration.py", "SimpleITK"): "the extra `preproc`: taken where it is installed",
    ("medfuse_jax/data/simulate/atlas.py", "nilearn"): "brings sklearn and pandas; a cached atlas needs neither",
}


class Import(NamedTuple):
    """One imported module: `from medfuse_jax.data import grid` is medfuse_jax.data.grid."""

    file: str
    name: str
    line: int
    late: bool


def imports(file: str, source: str) -> Iterator[Import]:
    """All imports of a source text, relative ones resolved; those in a function, or under an `if`, are late."""
    tree = ast.parse(source)
    top = {id(node) for node in tree.body}
    package = list(Path(file).parent.parts)
    for node in ast.walk(tree):
        late = id(node) not in top
        if isinstance(node, ast.Import):
            yield from (Import(file, alias.name, node.lineno, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (Import(file, f"{module}.{alias.name}", node.lineno, late) for alias in node.names)


def room(module: str) -> str | None:
    """The first part below the package: medfuse_jax.data.grid is in `data`."""
    parts = module.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if parts[0] == "medfuse_jax" and len(parts) > 1 and parts[1] != "__init__" else None


def broken(found: Import) -> str | None:
    """The law that an import breaks, in words; None when it breaks none."""
    here, there, outside = room(found.file), room(found.name), found.name.split(".")[0]
    if found.file.startswith("configs/") and outside != "typing" and not found.name.startswith("medfuse_jax.config"):
        return "a config imports only medfuse_jax.config"
    if found.late and not found.file.startswith(("launch/", "tests/", "colab/")):
        if not any(found.file == file and f"{found.name}.".startswith(f"{name}.") for file, name in LATE):
            return "imported late"
    if not found.file.startswith("medfuse_jax/"):
        return None
    if outside in {"launch", "configs", "tests"}:
        return "imports upward"
    if here in {"data", "metrics"} and outside in ARRAYS_ON_DEVICES:
        return f"{here} is numpy only"
    if here == "train" and there == "stages" and not found.name.startswith("medfuse_jax.stages.stage"):
        return "train knows the protocol, never a stage"
    if here in FLOOR and there in FLOOR and FLOOR[there] > FLOOR[here]:
        return f"imports upward: {here} is on floor {FLOOR[here]}, {there} on floor {FLOOR[there]}"
    return None


def sources() -> dict[str, str]:
    """Python files of the house, by path from the root."""
    files = [file for folder in ("medfuse_jax", "launch", "configs") for file in (ROOT / folder).rglob("*.py")]
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in sorted(files)}


def graph(texts: dict[str, str]) -> dict[str, set[str]]:
    """Which module of ours imports which at its top; an import of a name counts for the module that holds it."""
    modules = {file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for file in texts}
    edges = {}
    for module, file in modules.items():
        targets = set()
        for found in imports(file, texts[file]):
            name = found.name
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name and name not in (module, "medfuse_jax") and not found.late:
                targets.add(name)
        edges[module] = targets
    return edges


def circle(edges: dict[str, set[str]]) -> list[str]:
    """One circle of imports as a path that ends where it began; empty when there is none."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module):], module]
        if module in done:
            return []
        for target in sorted(edges.get(module, ())):
            if found := walk(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(edges) if (found := walk(module, []))), [])


def test_every_room_stands_on_a_floor():
    unknown = {file for file in sources() if (here := room(file)) is not None and here not in FLOOR}
    assert not unknown, f"say in FLOORS on which floor these stand: {sorted(unknown)}"


def test_imports_go_down():
    wrong = [f"{found.file}:{found.line} {found.name}: {law}" for file, text in sources().items()
             for found in imports(file, text) if (law := broken(found))]
    assert not wrong, "\n".join(wrong)


def test_imports_form_no_circle():
    assert circle(graph(sources())) == []


def test_late_imports_are_still_needed():
    late = {(found.file, found.name) for file, text in sources().items() for found in imports(file, text) if found.late}
    unused = [(file, name) for file, name in LATE if not any(f == file and n.startswith(name) for f, n in late)]
    assert not unused, f"no longer imported late: take them out of LATE: {unused}"


@pytest.mark.parametrize("file, source, law", [
    ("medfuse_jax/data/nifti.py", "from medfuse_jax.models import blocks", "imports upward: data is on floor 1"),
    ("medfuse_jax/models/blocks.py", "import medfuse_jax.train.loop", "imports upward: models is on floor 2"),
    ("medfuse_jax/data/nifti.py", "from ..models import blocks", "imports upward: data is on floor 1"),
    ("medfuse_jax/data/simulate/atlas.py", "from ...stages.ldm import build", "imports upward: data is on floor 1"),
    ("medfuse_jax/data/nifti.py", "import jax.numpy as jnp", "data is numpy only"),
    ("medfuse_jax/metrics/image.py", "from flax import linen", "metrics is numpy only"),
    ("medfuse_jax/train/loop.py", "from medfuse_jax.stages import ldm", "never a stage"),
    ("medfuse_jax/train/loop.py", "from medfuse_jax.stages.ldm import build", "never a stage"),
    ("medfuse_jax/train/loop.py", "def f():\n    import scipy", "imported late"),
    ("medfuse_jax/train/loop.py", "if True:\n    import scipy", "imported late"),
    ("medfuse_jax/config.py", "def f():\n    import jaxtyping", "imported late"),
    ("medfuse_jax/family.py", "from launch import train", "imports upward"),
    ("configs/ldm.py", "from configs import alignment", "only medfuse_jax.config"),
    ("configs/ldm.py", "import jax", "only medfuse_jax.config"),
])
def test_a_broken_law_is_found(file, source, law):
    assert law in " ".join(broken(found) or "" for found in imports(file, source))


@pytest.mark.parametrize("file, source", [
    ("medfuse_jax/train/loop.py", "from medfuse_jax.stages.stage import Stage\nimport jax"),
    ("medfuse_jax/data/simulate/cohort.py", "from medfuse_jax.metrics import biomarkers\nfrom . import atlas"),
    ("medfuse_jax/config.py", "def f():\n    import jax"),
    ("launch/train.py", "def main():\n    from medfuse_jax import family"),
    ("configs/ldm.py", "from medfuse_jax.config import base"),
])
def test_a_kept_law_is_not_found_broken(file, source):
    assert [broken(found) for found in imports(file, source) if broken(found)] == []


def test_a_circle_is_found():
    texts = {"medfuse_jax/data/a.py": "from medfuse_jax.data import b", "medfuse_jax/data/b.py": "from .c import f",
             "medfuse_jax/data/c.py": "import medfuse_jax.data.a"}
    assert circle(graph(texts)) == [f"medfuse_jax.data.{name}" for name in "abca"]
    assert circle(graph({**texts, "medfuse_jax/data/c.py": "import numpy"})) == []
