"""A BIDS tree becomes a prepared folder that trains. Nothing in the tree is changed.

    python launch/prepare.py --source=BIDS --out=prepared --spacing=4
    python launch/train.py --config=configs/autoencoder.py:local --workdir=runs-real --config.data.source=prepared

Studies that cannot be used are listed in OUT/rejected.tsv with the reason and its cure. OUT/quality holds a picture of
each study, OUT/provenance where it comes from and what was done. After Ctrl-C or a kill the same command goes on.
Research only, not for clinical use.
"""

import sys

try:
    from medfuse_jax import command
except ModuleNotFoundError as error:
    if error.name != "medfuse_jax":
        raise
    sys.stderr.write("medfuse_jax is not installed: run `pip install -e .` in the repository's root\n")
    sys.exit(2)

from absl import flags

SOURCE = flags.DEFINE_string("source", None, "root of a BIDS tree (the folder that holds sub-*)", required=True)
OUT = flags.DEFINE_string("out", None, "the prepared folder to write; an earlier prepared folder there is replaced",
                          required=True)
SPACING = flags.DEFINE_float("spacing", 1.0, "grid in mm: 8, 4, 2 or 1, for the presets tiny, local, gpu and pod")
JOBS = flags.DEFINE_integer("jobs", 0, "studies made at the same time; 0: one a core, if memory holds them",
                            lower_bound=0)
SEED = flags.DEFINE_integer("seed", 0, "of the split into train, valid and test", lower_bound=0)
REGISTER = flags.DEFINE_enum("register", "auto", ["auto", "rigid", "affine", "none"], "how heads are laid onto MNI152: "
                             "rigid keeps volumes, affine takes on its size, auto is rigid for those that lie off it; "
                             "later visits follow a person's first, contrasts their session's; none moves nothing")


def main() -> None:
    from absl import logging

    from medfuse_jax.data.prepare import PRESETS, prepare

    out = prepare(SOURCE.value, OUT.value, SPACING.value, JOBS.value, SEED.value, REGISTER.value)
    config = f"{command.config_file('autoencoder.py')}:{PRESETS[SPACING.value]}"
    logging.info("next: %s", command.following("train.py", f"--config={config}", f"--workdir=runs-{out.resolve().name}",
                                               f"--config.data.source={out}"))


if __name__ == "__main__":
    command.run(main, again="go on with")
