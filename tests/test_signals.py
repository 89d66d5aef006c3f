"""Stopped at any moment: the right code, one line on how to go on, and nothing and nobody left behind."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from medfuse_jax.cache import cache_folder
from medfuse_jax.data.files import whole_folder
from medfuse_jax.data.simulate.atlas import atlas
from medfuse_jax.train import signals

KILLS = 5


@pytest.fixture
def start(root, tmp_path):
    """Start a command in a process group of its own, as a terminal does; none outlives its test."""
    atlas()                                         # in the cache of all tests
    begun = []

    def begin(*arguments: object, cwd: Path = tmp_path, **environment: str) -> subprocess.Popen:
        surroundings = os.environ | {"PYTHONPATH": str(root)} | environment
        begun.append(subprocess.Popen([sys.executable, *map(str, arguments)], cwd=cwd, env=surroundings, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True))
        return begun[-1]

    yield begin
    for command in begun:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
        command.communicate()


def until(condition, seconds: float = 30.0):
    """Wait for what must come; its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return value


def workers(group: int) -> list[int]:
    """Processes of a group that draw people."""
    listed = subprocess.check_output(["ps", "-A", "-ww", "-o", "pid=,pgid=,args="], text=True)
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [int(row[0]) for row in rows if int(row[1]) == group and "spawn_main" in row[2]]


@pytest.fixture
def simulating(start, root, tmp_path):
    """launch/simulate.py at the moment at which its workers draw."""
    command = start(root / "launch/simulate.py", "--out=cohort", "--subjects=10000", "--spacing=8", "--jobs=2")
    until(lambda: list(tmp_path.glob(".cohort.*.part/sub-*")))
    assert len(workers(command.pid)) == 2
    return command


@pytest.mark.parametrize("number, send, code", [
    (signal.SIGTERM, os.kill, 143), (signal.SIGINT, os.killpg, 130), (signal.SIGTERM, os.killpg, 143)])
def test_a_simulation_that_is_stopped_leaves_nothing(simulating, tmp_path, number, send, code):
    send(simulating.pid, number)
    out, told = simulating.communicate(timeout=60)
    assert simulating.returncode == code and out.startswith("nothing was written; begin again with: ")
    assert out.count("\n") == 1 and out.rstrip().endswith("--jobs=2") and "Traceback" not in told
    assert not list(tmp_path.iterdir()) and not workers(simulating.pid)


def test_workers_end_with_a_command_that_was_killed_and_the_next_takes_its_leftovers_away(simulating, tmp_path):
    simulating.kill()
    simulating.communicate(timeout=60)
    until(lambda: not workers(simulating.pid))
    assert len(list(tmp_path.iterdir())) == 1
    with whole_folder(tmp_path / "cohort"):
        assert [path.name.split(".")[-2] for path in tmp_path.iterdir()] == [str(os.getpid())]
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]


def test_another_machines_draft_is_left_alone(tmp_path):
    drafts = [tmp_path / name for name in (".cohort.elsewhere.1.part", ".cohort-2.here.1.part", ".cohort.here.x.part")]
    for draft in drafts:
        draft.mkdir()
    with whole_folder(tmp_path / "cohort"):
        pass
    assert all(draft.exists() for draft in drafts)


STUCK = '''"""A command that stands in one step of C, as in a compile."""
import hashlib, sys
from medfuse_jax import command

def main():
    sys.stdout.write("begun\\n")
    sys.stdout.flush()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)

command.run(main, again="resume with")
'''


def test_a_second_signal_ends_a_command_that_cannot_listen(start, tmp_path):
    (tmp_path / "stuck.py").write_text(STUCK)
    command = start("stuck.py")
    assert command.stdout.readline() == "begun\n"
    command.send_signal(signal.SIGTERM)
    assert "SIGTERM: stopping after what is under way; a second one ends at once" in command.stderr.readline()
    assert command.poll() is None
    command.send_signal(signal.SIGTERM)
    assert command.wait(timeout=10) == 143


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stoppable_command_leaves_at_once(number, code):
    before = signal.getsignal(number)
    with pytest.raises(signals.Interrupted) as left, signals.stoppable():
        signal.raise_signal(number)
    assert left.value.code == code and signal.getsignal(number) == before


def test_a_watch_inside_a_stoppable_command_only_notes():
    with signals.stoppable(), signals.watch() as caught:
        signal.raise_signal(signal.SIGTERM)
    assert caught.number == signal.SIGTERM


@pytest.fixture
def train(start, root):
    """Start a training of the tiny family, with a cache of programs of its own, which a kill may damage."""
    def begin(cwd: Path, *arguments: str) -> subprocess.Popen:
        if not (cwd / "cache").exists():
            (cwd / "cache").mkdir(parents=True)
            for file in cache_folder().glob("atlas-*"):
                shutil.copy(file, cwd / "cache")
        return start(root / "launch/train.py", f"--config={root}/configs/ldm.py:tiny", "--config.mesh.data=1",
                     *arguments, cwd=cwd, JAX_COMPILATION_CACHE_DIR=str(cwd / "xla"), MEDFUSE_CACHE=str(cwd / "cache"))
    return begin


def hear(command: subprocess.Popen, words: str) -> None:
    """Read what a command tells until it says this."""
    heard = [""]
    while words not in heard[-1]:
        heard.append(command.stderr.readline())
        assert heard[-1], "".join(heard)


STOPS = [("alignment builds on autoencoder", signal.SIGTERM), ("autoencoder: compiling", signal.SIGINT),
         ("autoencoder: judging", signal.SIGTERM), ("data: ", signal.SIGINT), ("ldm: judging", signal.SIGTERM),
         ("drawing a volume", signal.SIGINT)]


@pytest.mark.slow
def test_a_training_goes_on_wherever_it_was_stopped(train, tmp_path):
    """While it simulates, compiles, judges a borrowed stage, encodes latents, and samples."""
    for words, number in STOPS:
        command = train(tmp_path)
        hear(command, words)
        os.killpg(command.pid, number)
        out, told = command.communicate(timeout=120)
        assert command.returncode == 128 + number and "Traceback" not in told, (words, told)
        assert out.startswith("resume with: ") and out.endswith("--config.mesh.data=1\n"), words
        assert not workers(command.pid) and not list(tmp_path.rglob("*.part")), words
    command = train(tmp_path)
    assert command.communicate(timeout=300)[0].startswith("done in ") and command.returncode == 0
    assert (tmp_path / "runs/ldm/samples/heavy/sample.json").exists()


@pytest.mark.slow
def test_kill_9_at_any_moment_changes_nothing(train, tmp_path, family):
    """A real `ldm`, killed five times at random moments, ends with the very numbers of one that was left alone."""
    moment, ends = random.Random(0), []
    asked = ("--config.steps=200", "--config.checkpoint_every=5", "--config.evaluate_every=200")
    for name, kills in (("whole", 0), ("killed", KILLS)):
        place = tmp_path / name
        for stage in ("autoencoder", "alignment"):
            shutil.copytree(family / stage, place / "runs" / stage)
        for _ in range(kills):
            command = train(place, *asked)
            hear(command, "ldm: first step")
            time.sleep(moment.uniform(0, 2))
            command.kill()
            command.communicate()
        command = train(place, *asked)
        told = command.communicate(timeout=300)[1]
        assert command.returncode == 0 and ("training from step 0 " in told) == (kills == 0), told
        meta = json.loads((place / "runs/ldm/checkpoints/200/meta/metadata").read_text())
        ends.append((meta["digest"], (place / "runs/ldm/metrics.jsonl").read_text()))
    assert ends[0] == ends[1]
