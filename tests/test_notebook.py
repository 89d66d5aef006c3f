import os
from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "colab"
NOTEBOOKS = sorted(file.stem for file in FOLDER.glob("*.py"))


def cells(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


@pytest.fixture(params=NOTEBOOKS)
def notebook(request):
    return nbformat.read(FOLDER / f"{request.param}.ipynb", as_version=4)


def test_each_notebook_has_a_source():
    assert NOTEBOOKS == sorted(file.stem for file in FOLDER.glob("*.ipynb")) != []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_what_its_source_makes(name):
    source, made = jupytext.read(FOLDER / f"{name}.py"), nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    assert cells(made) == cells(source), "run `make notebook`"
    nbformat.validate(made)


def test_cells_are_short_and_hold_no_output(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert max(len(cell.source.splitlines()) for cell in code) <= 10


def test_a_notebook_says_what_it_is_in_both_languages(notebook):
    text = "\n".join(source for kind, source in cells(notebook) if kind == "markdown")
    assert "Research only, not for clinical use" in text and "Pour les cliniciens" in text and "synthetic" in text


def test_the_quickstart_runs(tmp_path, monkeypatch):
    """From training to the French sentence at the smallest size; at weight 0 two sentences give one brain."""
    notebook = nbformat.read(FOLDER / "quickstart.ipynb", as_version=4)
    for name in ("JPY_PARENT_PID", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDFUSE_PRESET", "tiny")
    monkeypatch.setenv("MEDFUSE_STEPS", "4")
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=1")       # one device, as a reader has
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute(env=dict(os.environ))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output for cell in code for output in cell.outputs if "data" in output]
    assert sum("image/png" in output.data for output in shown) == 3
    assert any(output.data["text/plain"] == "0.0" for output in shown)
    assert {path.name for path in tmp_path.iterdir()} == {"runs-tiny", "out"}
