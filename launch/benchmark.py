"""What each part costs on this machine: seconds, FLOPs and their share of the peak, memory.

    python launch/benchmark.py --what=encode,decode,train_step,denoise,sample --preset=local --out=out
    python launch/benchmark.py --what=pipeline --source=PATH --out=out

Needs no trained model: weights and inputs are random, in the preset's shapes; one device is measured. The peak is
that of square matrix products in the same dtype and run. Programs are compiled anew, so that compile times are true.
"""

import json
import sys
from pathlib import Path

try:
    from medfuse_jax import command
except ModuleNotFoundError as missing:
    if missing.name != "medfuse_jax":
        raise
    sys.stderr.write("medfuse_jax is not installed: run `pip install -e .` in the repository's root\n")
    sys.exit(2)

from absl import flags, logging

from medfuse_jax.config import PRESETS, resolve
from medfuse_jax.errors import MedFuseError

WHATS = ("encode", "decode", "train_step", "denoise", "sample", "pipeline")
CONFIGS = Path(__file__).resolve().parent.parent / "configs"

WHAT = flags.DEFINE_list("what", list(WHATS[:-1]), f"what to measure, between commas: {', '.join(WHATS)}")
PRESET = flags.DEFINE_enum("preset", "auto", ["auto", *PRESETS], "sizes to measure; auto: by kind of device")
REPEATS = flags.DEFINE_integer("repeats", 10, "timed calls of each, after the warm-up", lower_bound=1)
BATCH = flags.DEFINE_integer("batch", None, "examples at once (default: a device's share of the preset's batch; one "
                             "for sample)", lower_bound=1)
SOURCE = flags.DEFINE_string("source", "simulated", "for pipeline: simulated, a BIDS tree or a prepared folder")
OUT = flags.DEFINE_string("out", "out", "folder for benchmark.json; an earlier one there is replaced")


def known(whats: list[str]) -> bool:
    """A flags validator: its MedFuseError is what the user reads."""
    for what in whats:
        if what not in WHATS:
            raise MedFuseError(f"--what={what} is not known: there are {', '.join(WHATS)}")
    if not whats:
        raise MedFuseError(f"--what is empty: name some of {', '.join(WHATS)}")
    return True


flags.register_validator("what", known)


def main() -> None:
    """Measure part by part; the file is written after each, so that what was measured is not lost."""
    import jax

    from medfuse_jax.benchmark import cases, timing
    from medfuse_jax.data.files import whole_file

    jax.config.update("jax_enable_compilation_cache", False)
    folder, measured = Path(OUT.value), []
    folder.mkdir(parents=True, exist_ok=True)
    of = cases.Untrained(resolve(PRESET.value), CONFIGS, BATCH.value)
    for row in timing.rows(of, cases.parts(WHAT.value), REPEATS.value, SOURCE.value, folder):
        measured.append(row)
        with whole_file(folder / "benchmark.json") as draft:
            draft.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(timing.table(measured))
    logging.info("%s: %d rows", folder / "benchmark.json", len(measured))


if __name__ == "__main__":
    command.run(main)
