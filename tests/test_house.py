"""Laws of the house that a reader would otherwise have to check by eye: safety, names, size, documents."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

import medfuse_jax

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("medfuse_jax", "launch", "configs", "colab")
CODE = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TEXTS = [ROOT / name for name in ("README.md", "Makefile", "setup.py", "CITATION.cff")] + sorted(
    (ROOT / "docs").rglob("*.md"))

HOMELESS = {"utils", "util", "misc", "common", "shared", "helpers", "helper", "tools"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"print", "eval", "exec", "compile", "__import__", "torch.load", "yaml.load", "yaml.unsafe_load",
                   "os.system", "numpy.random.seed", "np.random.seed"}
MOST_LINES = 300
LONGER = {}       # file -> the reason why it may be longer


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a call's function; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def offences(source: str) -> list[str]:
    """What a source text does that the house does not do, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        found += [(node.lineno, f"import {name}") for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.Call):
            found += _calls(node)
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or dotted(kind) in {"Exception", "BaseException"} for kind in kinds):
                found.append((node.lineno, "bare or broad except"))
    return [f"line {line}: {what}" for line, what in sorted(found)]


def _calls(node: ast.Call) -> list[tuple[int, str]]:
    name = dotted(node.func)
    found = [(node.lineno, f"{name}()")] if name in FORBIDDEN_CALLS else []
    for keyword in node.keywords:
        switched_on = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        if keyword.arg in {"allow_pickle", "trust_remote_code", "shell"} and switched_on:
            found.append((node.lineno, f"{keyword.arg}=True"))
    return found


@pytest.mark.parametrize("file", CODE, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_file_does_what_the_house_does_not_do(file):
    assert offences(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("source", [
    "import pickle", "from joblib import dump", "import torch\ntorch.load('x')", "yaml.load(f)", "eval('1')",
    "exec('1')", "print(1)", "try:\n    f()\nexcept:\n    pass", "try:\n    f()\nexcept Exception:\n    pass",
    "try:\n    f()\nexcept (OSError, BaseException):\n    pass", "np.load('x', allow_pickle=True)",
    "AutoModel.from_pretrained('x', trust_remote_code=True)", "subprocess.run('ls', shell=True)",
    "def f():\n    np.random.seed(0)",
])
def test_an_offence_is_found(source):
    assert len(offences(source)) == 1


def test_innocent_lines_are_not_offences():
    assert offences("model.eval()\nspec.loader.exec_module(m)\njax.jit(f).lower(x).compile()\nnp.load('x', "
                    "allow_pickle=False)\ntry:\n    f()\nexcept (OSError, ValueError):\n    raise") == []


def test_every_file_has_a_home():
    assert [file for file in CODE + TESTS if file.stem.removeprefix("test_") in HOMELESS] == []


@pytest.mark.parametrize("file", CODE, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_files_say_what_they_are_for(file):
    source = file.read_text(encoding="utf-8")
    assert not source or ast.get_docstring(ast.parse(source)), "begin with one sentence: what is this file for?"


def test_files_are_short():
    lengths = {file.relative_to(ROOT).as_posix(): len(file.read_text("utf-8").splitlines()) for file in CODE + TESTS}
    long = {name: lines for name, lines in lengths.items() if lines > MOST_LINES and name not in LONGER}
    assert not long, f"over {MOST_LINES} lines; has each still one duty? {long}"


def test_no_home_folder_stands_in_a_file():
    private = re.compile(r"/(root|home|Users)/|\bfile:///")
    assert [str(file) for file in CODE + TEXTS if private.search(file.read_text(encoding="utf-8"))] == []


def test_nothing_is_left_undone_without_a_word():
    unfinished = re.compile(r"\b(TODO|FIXME|XXX)\b|raise NotImplementedError")
    assert [str(file) for file in CODE if unfinished.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("file", [text for text in TEXTS if text.suffix == ".md"], ids=lambda file: file.name)
def test_links_and_commands_of_the_documents_exist(file):
    text = file.read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    commands = re.findall(r"\b(?:launch|configs|tests|colab)/[\w.]+\.(?:py|ipynb)\b", text)
    assert [link for link in links if link and not (file.parent / link).exists()] == []
    assert [command for command in commands if not (ROOT / command).exists()] == []


def test_the_notice_stands_where_people_look():
    for name in ("README.md", "CITATION.cff", "medfuse_jax/__init__.py"):
        assert "Research only, not for clinical use" in (ROOT / name).read_text(encoding="utf-8"), name


def test_one_version_and_one_licence():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {medfuse_jax.__version__}\n" in citation and "license: Apache-2.0\n" in citation
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_warnings_are_errors():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert settings["filterwarnings"][0] == "error"


def test_notebooks_hold_no_output():
    for file in (ROOT / "colab").glob("*.ipynb"):
        cells = [cell for cell in json.loads(file.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells), file.name
        assert all(len("".join(cell["source"]).splitlines()) <= 10 for cell in cells), f"{file.name}: long cell"
