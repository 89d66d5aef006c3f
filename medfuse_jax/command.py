"""What all commands do alike: read flags, say things in one line, keep compiled programs, end with the right code.

    PROMPT = flags.DEFINE_string("prompt", None, "the sentence", required=True)

    def main():
        ...

    if __name__ == "__main__":
        command.run(main)

Exit codes: 0 done, 2 the user's mistake (one line on stderr), 130 Ctrl-C, 143 SIGTERM; a bug keeps its traceback.
Nothing heavy is imported here: --help and a mistyped flag answer at once.
"""

import difflib
import errno
import logging as python_logging
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from absl import flags, logging

from medfuse_jax import overrides
from medfuse_jax.cache import cache_folder
from medfuse_jax.config import PRESETS
from medfuse_jax.errors import MedFuseError
from medfuse_jax.train import signals

FLAGS = flags.FLAGS
flags.disclaim_key_flags()        # a flag that is defined here for a command belongs to that command

CURES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file: check the path",
    errno.EISDIR: "name a file",
    errno.EEXIST: "choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EACCES: "choose a place that you may use, or change its permissions",
    errno.EPERM: "choose a place that you may use, or change its permissions",
    errno.EROFS: "choose a folder that can be written",
    errno.ENOSPC: "free some space, or choose a folder on another disk",
    errno.EDQUOT: "free some space, or choose a folder on another disk",
}


def run(main: Callable[[], int | None], again: str = "") -> None:
    """Parse the flags, run `main`, and exit with the code it returns (None: 0).

    again: what to say before the command line when it was stopped by SIGTERM or Ctrl-C and may be given once more.
    """
    try:
        with signals.stoppable():
            if {"--help", "-help", "-h", "--helpfull"} & set(sys.argv[1:]):
                sys.stdout.write(usage())
                code = 0
            else:
                parse(sys.argv)
                speak()
                keep_programs()
                code = main() or 0
            sys.stdout.flush()
    except MedFuseError as error:
        code = _refuse(str(error))
    except signals.Interrupted as stopped:
        _settle()
        code = _stopped(stopped, again)
    except BrokenPipeError:           # `... | head`: the reader has what it wanted
        code = _unread()
    except OSError as error:
        if error.errno not in CURES:
            raise
        logging.debug("where it happened", exc_info=True)      # --verbosity=1
        place = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        code = _refuse(f"{place or 'writing'}: {error.strerror}: {CURES[error.errno]}")
    sys.exit(code)


def following(script: str, *words: object) -> str:
    """A command line to type next: a script beside the running one, with the same Python (`python` may be another)."""
    return shlex.join([sys.orig_argv[0], str(Path(sys.argv[0]).with_name(script)), *map(str, words)])


def typed_without(*names: str) -> list[str]:
    """The flags that were typed, without some."""
    kept, skipped = [], False
    for word in sys.argv[1:]:
        name, equals, _ = word.lstrip("-").partition("=")
        ours = word.startswith("-") and name in names
        if not ours and not skipped:
            kept.append(word)
        skipped = ours and not equals
    return kept


def config_file(name: str) -> Path:
    """The config `name` of the checkout that the running script lies in, as one would type it here."""
    return Path(sys.argv[0]).parent.parent / "configs" / name


def _refuse(line: str) -> int:
    sys.stderr.write(f"error: {line}\n")
    return 2


def _settle() -> None:
    """Wait for what the devices still compute: a process that ends under it crashes."""
    jax = sys.modules.get("jax")
    if jax is not None and hasattr(jax, "live_arrays"):
        jax.block_until_ready(jax.live_arrays())


def _stopped(stopped: signals.Interrupted, again: str) -> int:
    """One line on how to go on. `... 2>&1 | tee log`: Ctrl-C has ended the reader, too."""
    try:
        if stopped.tells and again:
            sys.stdout.write(f"{again}: {shlex.join(sys.orig_argv)}\n")
        elif stopped.tells:
            sys.stderr.write("interrupted\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _unread()
    return stopped.code


def _unread() -> int:
    """Nobody reads what this command prints."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def parse(argv: Sequence[str]) -> None:
    """Read all flags; a wrong one is a MedFuseError that names the cure."""
    try:
        rest = FLAGS(list(_gathered(argv)))
    except flags.UnrecognizedFlagError as error:
        raise MedFuseError(_unknown(error.flagname)) from error
    except flags.Error as error:
        raise MedFuseError(_explained(str(error))) from error
    for flag in _own():
        if flag.value == "" and flag.default:
            raise MedFuseError(f"--{flag.name}= is empty: give a value, or leave the flag out ({flag.default})")
    if len(rest) > 1:
        raise MedFuseError(f"{rest[1]!r} is not a flag: write --FLAG=VALUE, and quotes around a value with spaces")


def _gathered(argv: Sequence[str]) -> Iterator[str]:
    """`--config.steps=3` and `--config.steps 3` become one flag that may be repeated, `--config.FIELD=steps=3`."""
    waiting = None
    for argument in argv:
        field = re.fullmatch(r"--?config\.([^=]+)(=.*)?", argument, re.DOTALL)
        if waiting is not None:
            taken = not argument.startswith("--")
            yield waiting + (f"={argument}" if taken else "")
            waiting = None
            if taken:
                continue
        if field is None or "config" not in FLAGS:
            yield argument
        elif field[2] is None:
            waiting = f"--config.FIELD={field[1]}"
        else:
            yield f"--config.FIELD={field[1]}{field[2]}"
    if waiting is not None:
        yield waiting


def _own() -> list[flags.Flag]:
    """The flags of the command itself, in the order in which it defines them."""
    return FLAGS.get_key_flags_for_module(sys.argv[0])


def _unknown(name: str) -> str:
    known = [flag.name for flag in _own()]
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    cure = f"did you mean --{near[0]}?" if near else f"there are {', '.join(f'--{flag}' for flag in known)}"
    return f"--{name} is not a flag of {Path(sys.argv[0]).name}: {cure}"


def _explained(message: str) -> str:
    """absl's sentence on a bad value, in the words of someone who typed it."""
    found = re.match(r"flag --(?P<name>[\w.]+)=(?P<text>.*?): (?P<why>.*)", message, re.DOTALL)
    if found is None or found["name"] not in FLAGS:
        return message
    flag, text, why = FLAGS[found["name"]], found["text"], found["why"]
    if "other than None" in why:
        return f"--{flag.name} is needed: {flag.help}"
    allowed = getattr(flag.parser, "enum_values", None)
    wanted = f"one of {', '.join(allowed)}" if allowed else {"int": "a whole number", "float": "a number",
                                                             "bool": "true or false"}.get(flag.flag_type())
    bounds = getattr(flag.parser, "syntactic_help", "")       # absl: "a positive integer", "a number in [0, 1]"
    return f"--{flag.name} takes {bounds or wanted}, not {text!r}" if wanted else f"--{flag.name}: {why}"


def usage() -> str:
    """What --help prints: what the command is for, and its own flags."""
    lines = [(sys.modules["__main__"].__doc__ or "").strip(), "", "flags:"]
    for flag in _own():
        allowed = getattr(flag.parser, "enum_values", None)
        value = "|".join(allowed) if allowed else "true|false" if flag.flag_type() == "bool" else "VALUE"
        told = re.sub(r"^<.*?>: |;\s+repeat this option.*", "", flag.help, flags=re.DOTALL)     # absl's own additions
        default = "" if flag.default in (None, [], "") else f" (default: {flag.default_as_str.strip(chr(39))})"
        lines.append(f"  --{flag.name}={value}")
        lines += textwrap.wrap(told + default, 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines) + "\n"


class Config:
    """The flag --config=configs/STAGE.py[:PRESET] with its --config.FIELD=VALUE."""

    def __init__(self, default: str | None):
        self.flag = flags.DEFINE_string("config", default, "config file and preset: configs/STAGE.py[:PRESET], where "
                                        f"PRESET is {', '.join(PRESETS)} or auto (the default: by kind of device)",
                                        required=default is None)
        self.changes = flags.DEFINE_multi_string("config.FIELD", [], "another value for a field of the config, such as "
                                                 "--config.steps=100 or --config.data.source=PATH; may be repeated")
        # A mistake is told while flags are read, before anything heavy is imported. Only the devices say what auto
        # stands for; every preset has the same fields, so the smallest one serves for looking at names and types.
        flags.register_multi_flags_validator([self.flag, self.changes], lambda _: bool(self._read(checking=True)))

    @cached_property
    def value(self) -> Any:
        """The resolved ConfigDict, locked. Ask after jax.distributed is initialised: auto looks at the devices."""
        return self._read()

    def _read(self, checking: bool = False) -> Any:
        path, preset = overrides.split(self.flag.value)
        if checking and preset == "auto":
            preset = PRESETS[0]
        return overrides.change(overrides.load(path, preset), self.changes.value, origin=str(path))


def config(default: str | None = None) -> Config:
    """Give this command --config and --config.FIELD."""
    return Config(default)


def workdir(default: str = "runs") -> flags.FlagHolder:
    """Give this command --workdir."""
    return flags.DEFINE_string("workdir", default, "folder of one model family; each stage has its own folder in it")


def _ours(record: python_logging.LogRecord) -> bool:
    """orbax and grain speak through the same logger: of them only warnings are passed on."""
    homes = (Path(__file__).parent, Path(sys.argv[0]).resolve().parent)
    return record.levelno >= python_logging.WARNING or any(Path(record.pathname).is_relative_to(h) for h in homes)


class _Line(python_logging.Formatter):
    """`12:34:56 what happens`; a warning says that it is one."""

    def format(self, record: python_logging.LogRecord) -> str:
        """One record as text."""
        level = "" if record.levelno < python_logging.WARNING else f"{record.levelname.lower()}: "
        record.message_of_level = level
        return super().format(record)


def speak() -> None:
    """What the house logs goes to stderr, one line each; of other libraries only warnings."""
    handler = python_logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line("%(asctime)s %(message_of_level)s%(message)s", "%H:%M:%S"))
    python_logging.basicConfig(handlers=[handler], level=python_logging.WARNING, force=True)
    if FLAGS["verbosity"].using_default_value:
        FLAGS.verbosity = logging.INFO
    logging.get_absl_logger().addFilter(_ours)


def keep_programs() -> None:
    """Keep compiled programs in the user's cache folder, so that the second run does not compile them again.

    Set through the environment, since jax is not imported yet; what the user has set stays.
    """
    folder = cache_folder() / "xla"
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        logging.warning("%s cannot be written: programs are compiled anew (MEDFUSE_CACHE names another folder)", folder)
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
