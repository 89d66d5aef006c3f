"""Judge a trained family: each figure with a 95 % interval, n and a baseline.

    python launch/evaluate.py --workdir=runs --suite=all --out=eval
    python launch/evaluate.py --workdir=runs --suite=autoencoder --data=BIDS --out=eval-own

Without --data: the family's own people on whom it was not trained. Writes metrics.json and metrics.md.
"""

import sys
from pathlib import Path

try:
    from medfuse_jax import command
except ModuleNotFoundError as missing:
    if missing.name != "medfuse_jax":
        raise
    sys.stderr.write("medfuse_jax is not installed: run `pip install -e .` in the repository's root\n")
    sys.exit(2)

from absl import flags

WORKDIR = command.workdir()
SUITE = flags.DEFINE_list("suite", ["all"], "stages to judge, commas between them; all: those trained")
DATA = flags.DEFINE_string("data", None, "a BIDS tree or a prepared folder, all of whose people are judged "
                           "(the family's own held-out people)")
NUMBER = flags.DEFINE_integer("number", 16, "samples for each sentence", lower_bound=2)
SEED = flags.DEFINE_integer("seed", 0, "of the sampling and of the intervals", lower_bound=0)
OUT = flags.DEFINE_string("out", "eval", "folder for metrics.json and metrics.md")


def main() -> None:
    """Judge, write, show the table's numbers."""
    from medfuse_jax.evaluation import suites
    found = suites.evaluate(WORKDIR.value, SUITE.value, OUT.value, DATA.value, NUMBER.value, SEED.value)
    for suite, figures in found.items():
        for name, one in figures.items():
            low, high = ("none" if end is None else f"{end:.4g}" for end in one["ci95"])
            sys.stdout.write(f"{suite} {name} {one['value']:.4g} [{low}, {high}] n {one['n']}\n")
    sys.stdout.write(f"written: {Path(OUT.value) / 'metrics.json'}, {Path(OUT.value) / 'metrics.md'}\n")


if __name__ == "__main__":
    command.run(main)
