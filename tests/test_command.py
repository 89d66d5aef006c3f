"""Commands end with the right code and one line. A toy command runs as users run theirs: in a process of its own."""

import os
import subprocess
import sys

import pytest

from medfuse_jax.cache import cache_folder

TOY = '''"""Toy: a command for tests.

    python toy.py --config=toy_config.py
"""

import signal

from absl import flags, logging

from medfuse_jax import command

CONFIG = command.config()
WORKDIR = command.workdir()
NUMBER = flags.DEFINE_integer("number", 1, "how many", lower_bound=1)
LANGUAGE = flags.DEFINE_enum("language", "en", ["en", "fr"], "of the report")
READ = flags.DEFINE_string("read", None, "a file to read")
CALL = flags.DEFINE_enum("call", "", ["", "interrupt", "terminate", "bug", "seven", "mistake"], "what happens")


def main():
    logging.info("steps %d", CONFIG.value.steps)
    logging.warning("careful")
    if READ.value:
        open(READ.value).close()
    if CALL.value == "interrupt":
        signal.raise_signal(signal.SIGINT)
    if CALL.value == "terminate":
        signal.raise_signal(signal.SIGTERM)
    if CALL.value == "mistake":
        raise command.MedFuseError("brain.nii.gz is empty:\\n copy it again")
    if CALL.value == "bug":
        raise ZeroDivisionError
    return 7 if CALL.value == "seven" else None


if __name__ == "__main__":
    command.run(main)
'''
CONFIG = '''"""A config for tests."""
from medfuse_jax.config import apply, base

PRESETS = {"tiny": dict(steps=2), "local": dict(steps=5)}


def get_config(preset="auto"):
    return apply(base("toy"), preset, PRESETS)
'''


@pytest.fixture(scope="module")
def toy(tmp_path_factory, root):
    """Run the toy command with some arguments; the cache folder lies beside it."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.py").write_text(TOY)
    (folder / "toy_config.py").write_text(CONFIG)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    surroundings = {**inherited, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu",
                    "MEDFUSE_CACHE": str(folder / "cache")}

    def run(*arguments, **environment):
        return subprocess.run([sys.executable, "toy.py", *arguments], cwd=folder, capture_output=True, text=True,
                              timeout=120, env={**surroundings, **environment})

    run.folder, run.environment = folder, surroundings
    return run


@pytest.mark.parametrize("arguments, line", [
    ((), "--config is needed"),
    (("--config=toy_config.py", "--nummber=3"), "--nummber is not a flag of toy.py: did you mean --number?"),
    (("--config=toy_config.py", "--number=1e3"), "--number takes a positive integer, not '1e3'"),
    (("--config=toy_config.py", "--language=de"), "--language takes one of en, fr, not 'de'"),
    (("--config=toy_config.py", "--workdir"), "Missing value for flag --workdir"),
    (("--config=toy_config.py", "more"), "'more' is not a flag"),
    (("--config=toy_config.py", "--config.data.sorce=x"),
     "data.sorce is not a field of toy_config.py: did you mean data.source?"),
    (("--config=toy_config.py", "--config.steps=1e3"), "steps takes a whole number, not '1e3'"),
    (("--config=toy_config.py:tny",), "choose one of tiny, local, gpu, pod, auto"),
    (("--config=ldm.py",), "ldm.py does not exist: there are toy.py, toy_config.py"),
])
def test_a_wrong_flag_is_one_line_and_code_2(toy, arguments, line):
    done = toy(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: ") and line in done.stderr


def test_help_shows_the_commands_own_flags(toy):
    done = toy("--help")
    assert done.returncode == 0 and not done.stderr and done.stdout.startswith("Toy: a command for tests.")
    assert "--language=en|fr" in done.stdout and "--config.FIELD" in done.stdout and "verbosity" not in done.stdout


@pytest.mark.parametrize("arguments, code, last", [
    (("--call=seven",), 7, "warning: careful"),
    (("--call=interrupt",), 130, "interrupted"),
    (("--call=terminate",), 143, "interrupted"),
    (("--call=mistake",), 2, "error: brain.nii.gz is empty: copy it again"),
    (("--call=bug",), 1, "ZeroDivisionError"),
    (("--read=nowhere/x",), 2, "error: nowhere/x: No such file or directory: check the path"),
    (("--read=.",), 2, "error: .: Is a directory: name a file"),
])
def test_exit_codes(toy, arguments, code, last):
    done = toy("--config=toy_config.py:tiny", *arguments)
    told = [line for line in done.stderr.splitlines() if "a second one ends at once" not in line]      # by a thread
    assert done.returncode == code and told[-1].endswith(last)
    assert ("Traceback" in done.stderr) == (code == 1)


@pytest.mark.parametrize("arguments, steps", [
    (("--config=toy_config.py:local",), 5),
    (("--config=toy_config.py:local", "--config.steps=8"), 8),
    (("--config=toy_config.py:local", "--config.steps", "9"), 9),
    (("--config=toy_config.py",), 5),
])
def test_the_config_that_the_command_sees(toy, arguments, steps):
    done = toy(*arguments)
    assert done.returncode == 0 and f"steps {steps}\n" in done.stderr


def test_a_cache_that_cannot_be_written_is_one_warning(toy, tmp_path):
    (tmp_path / "file").write_text("")
    done = toy("--config=toy_config.py:tiny", MEDFUSE_CACHE=str(tmp_path / "file"))
    assert done.returncode == 0 and "cannot be written: programs are compiled anew" in done.stderr


@pytest.mark.parametrize("environment, folder", [
    ({"MEDFUSE_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
    ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/medfuse_jax"),
    ({"HOME": "/c"}, "/c/.cache/medfuse_jax"),
])
def test_where_the_cache_lies(monkeypatch, environment, folder):
    for name in ("MEDFUSE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder()) == folder


def test_what_every_command_imports_is_light(root):
    code = "import sys, medfuse_jax.command; sys.exit('jax' in sys.modules or 'nibabel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60).returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_output_that_does_not_fit_or_is_not_read(toy):
    with open("/dev/full", "w") as disk:
        full = subprocess.run([sys.executable, "toy.py", "--help"], stdout=disk, stderr=subprocess.PIPE, cwd=toy.folder,
                              env=toy.environment, text=True, timeout=60)
    assert (full.returncode, full.stderr.count("\n")) == (2, 1) and "free some space" in full.stderr
    unread, written = os.pipe()
    os.close(unread)
    quiet = subprocess.run([sys.executable, "toy.py", "--help"], stdout=written, stderr=subprocess.PIPE, cwd=toy.folder,
                           env=toy.environment, timeout=60)
    os.close(written)
    assert (quiet.returncode, quiet.stderr) == (141, b"")
