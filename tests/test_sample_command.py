"""launch/sample.py in this process: what it refuses, writes and says."""

import importlib.util
import io
import json
import shlex
import shutil
import signal
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

from medfuse_jax import MedFuse, command

PROMPT = "FLAIR and T1w, woman of 42, RRMS, nine periventricular lesions, 6 ml, moderate thalamic atrophy"
OTHER = "IRM FLAIR et T1, homme de 55 ans, SEP-SP, forte charge lésionnelle, atrophie thalamique sévère"


@pytest.fixture
def sample(launched):
    return launched("sample")


@pytest.fixture
def launched(root, monkeypatch, capsys, tmp_path):
    """launched(name)(*arguments) runs launch/NAME.py: (exit code, stdout, stderr). Its flags are gone afterwards."""
    before = set(flags.FLAGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "speak", lambda: None)
    yield lambda name: loaded(root / f"launch/{name}.py", monkeypatch, capsys)
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


def loaded(path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location(f"launch_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        with flagsaver.flagsaver(), pytest.raises(SystemExit) as left:
            command.run(module.main)
        return left.value.code or 0, *capsys.readouterr()
    return run


def test_check_reads_a_prompt_without_any_model(sample, tmp_path):
    code, told, _ = sample(f"--prompt={OTHER}, et trois licornes", "--check", "--workdir=nowhere")
    read = json.loads(told)
    assert code == 0 and set(read) == {"commanded", "ignored", "warnings"} and not list(tmp_path.iterdir())
    assert read["commanded"]["atrophy"] == {"thalamus": "severe"} and "licornes" in " ".join(read["ignored"])


def test_the_command_writes_its_samples(sample, family, tmp_path):
    code, _, error = sample(f"--prompt={PROMPT}", f"--workdir={family}", "--number=2", "--seed=3", "--text_weight=3",
                      "--out=a/b")
    told = [json.loads((tmp_path / f"a/b/sample-00{number}/sample.json").read_text()) for number in (0, 1)]
    assert code == 0 and [(one["seed"], one["number"]) for one in told] == [(3, 0), (3, 1)]
    assert told[0]["weights"]["text"] == 3.0 and told[0]["verdicts"]
    for number, one in enumerate(told):
        line = next(line for line in error.splitlines() if f"sample-00{number}: " in line)
        obeyed = [each["verdict"] for each in one["verdicts"]]
        assert f"{obeyed.count('obeyed')} of {len(obeyed) - obeyed.count('not measurable')} measurable commands" in line


@pytest.mark.parametrize("arguments, told", [
    (("--text_weight=-1",), "text weight -1.0 cannot be used: give a number from 0 to 100"),
    (("--image_weight=nan", "--image={scan}"), "image weight nan cannot be used"),
    (("--mask={mask}",), "give the --image too"),
    (("--image=lost_FLAIR.nii.gz",), "lost_FLAIR.nii.gz does not exist: check --image"),
    (("--image={mask}",), "mask.nii.gz: its name does not end in a contrast: rename it"),
    (("--image={scan}", "--image=FLAIR={scan}"), "a second FLAIR beside"),
    (("--image={scan}", "--mask=lost.nii.gz"), "lost.nii.gz"),
    (("--out={full}",), "holds samples already: choose another --out"),
    (("--workdir=nowhere",), "nowhere: no trained model here: run `python launch/train.py"),
    (("--number=0",), "number 0 cannot be made"), (("--seed=-1",), "--seed takes a non-negative integer, not '-1'"),
    (("--prompt=",), "prompt: it is empty"),
])
def test_a_mistake_is_one_line_and_code_2(sample, family, visit, tmp_path, arguments, told):
    (tmp_path / "full/sample-000").mkdir(parents=True)
    places = dict(scan=visit[0], mask=visit[1], full=tmp_path / "full")
    arguments = [text.format(**places) for text in arguments]
    code, out, error = sample(f"--prompt={PROMPT}", f"--workdir={family}", *arguments)
    assert (code, out, error.count("\n")) == (2, "", 1) and error.startswith("error: ") and told in error
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("arguments, told", [
    (("--text_weight=101",), "text weight 101.0 cannot be used"), (("--steps=0",), "steps 0 cannot be taken"),
    (("--number=0",), "number 0 cannot be made"), (("--mask={mask}",), "give the --image too"),
    (("--image=lost_FLAIR.nii.gz",), "lost_FLAIR.nii.gz does not exist: check --image"),
    (("--image={scan}", "--mask=lost.nii.gz"), "lost.nii.gz does not exist: check --mask"),
    (("--out={file}",), "file: a file, not a folder: choose another --out"),
    (("--out={file}/deep/er",), "file: a file, not a folder: choose another --out"),
    (("--out={full}",), "holds samples already: choose another --out, or go on after them with --first=3"),
    (("--workdir={file}",), "file: a file, not the folder of a model family: check --workdir"),
    (("--first=-1",), "--first takes a non-negative integer, not '-1'"),
])
def test_a_mistake_is_told_before_any_model_is_looked_for(sample, visit, tmp_path, check, arguments, told):
    (tmp_path / "full/sample-002").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    places = dict(scan=visit[0], mask=visit[1], full=tmp_path / "full", file=tmp_path / "file")
    arguments = ["--number=5", *(text.format(**places) for text in arguments), *["--check"] * check]
    code, out, error = sample(f"--prompt={PROMPT}", *(["--workdir=nowhere"] * ("file}" not in str(told))), *arguments)
    assert (code, out, error.count("\n")) == (2, "", 1) and told in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


def test_a_folder_that_cannot_be_written_is_told_at_once(sample, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")
    monkeypatch.setattr("pathlib.Path.mkdir", refused)
    code, _, error = sample(f"--prompt={PROMPT}", "--workdir=nowhere", f"--out={tmp_path / 'locked'}")
    assert code == 2 and "cannot be written (Permission denied): choose another --out" in error


def test_check_speaks_to_a_terminal_without_accents(sample, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    code, *_ = sample(f"--prompt={OTHER}, trois fées", "--check")
    told = sys.stdout.buffer.getvalue().decode("ascii")
    assert code == 0 and json.loads(told)["ignored"] == ["trois fées"]


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(sample, family, tmp_path, monkeypatch):
    stream = MedFuse.stream

    def interrupted(self, request):
        for number, made in enumerate(stream(self, request)):
            if number == 1:
                signal.raise_signal(signal.SIGINT)
            yield made
    asked = (f"--prompt={PROMPT}", f"--workdir={family}", "--number=3", "--seed=3", "--out=out")
    with monkeypatch.context() as pressed:
        pressed.setattr(MedFuse, "stream", interrupted)
        code, _, error = sample(*asked)
    assert code == 130 and "1 of 3 samples are whole in out; go on with: " in error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sample-000"]
    onward = next(line for line in error.splitlines() if "go on with: " in line).partition("go on with: ")[2]
    assert sample(*shlex.split(onward)[2:])[0] == 0
    told = [json.loads((tmp_path / f"out/sample-00{number}/sample.json").read_text()) for number in range(3)]
    assert [one["number"] for one in told] == [0, 1, 2] and {one["seed"] for one in told} == {3}


def test_a_finished_family_shows_two_brains_once_and_says_what_comes_next(launched, family, root, tmp_path):
    runs, train = shutil.copytree(family, tmp_path / "runs"), launched("train")
    asked = (f"--config={root / 'configs/ldm.py'}:tiny", "--workdir=runs", "--config.mesh.data=1")
    code, out, _ = train(*asked)
    places = [runs / f"ldm/samples/{name}/sample.json" for name in ("control", "heavy")]
    told, written = [json.loads(place.read_text()) for place in places], [place.stat().st_mtime_ns for place in places]
    assert code == 0 and told[0]["commanded"]["phenotype"] == "control" and told[1]["commanded"]["phenotype"] == "SPMS"
    assert "launch/sample.py --workdir=runs '--prompt=" in out and "-m tensorboard.main --logdir=runs" in out
    assert out.count(sys.orig_argv[0]) == 3                  # `python` alone may be another, without this package
    assert train(*asked)[0] == 0 and [place.stat().st_mtime_ns for place in places] == written
