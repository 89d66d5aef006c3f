"""A simulated MS cohort as a BIDS tree, with the truth behind every image. No download, no account.

    python launch/simulate.py --out=cohort --subjects=20 --visits=3 --spacing=2 --language=en
    python launch/simulate.py --out=cohort --label_maps=maps          # heads of real people, of dseg.nii.gz files

Equal flags make equal files, whatever the number of jobs. Research only, not for clinical use.
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

OUT = flags.DEFINE_string("out", None, "the BIDS tree to write: a new or an empty folder", required=True)
SUBJECTS = flags.DEFINE_integer("subjects", 20, "how many people", lower_bound=1)
VISITS = flags.DEFINE_integer("visits", 3, "how many visits of each person", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "another seed, other people", lower_bound=0)
SPACING = flags.DEFINE_enum("spacing", "2", ["0.5", "1", "2", "4", "8", "1.0", "2.0", "4.0", "8.0"], "voxel size in mm")
LANGUAGE = flags.DEFINE_enum("language", "en", ["en", "fr"], "of the reports")
LABEL_MAPS = flags.DEFINE_string("label_maps", None, "a folder of whole-brain label maps (NIfTI, FreeSurfer numbers) "
                                 "that people are made of, in place of the MNI152 template")
JOBS = flags.DEFINE_integer("jobs", 0, "people drawn at the same time; 0: one a core", lower_bound=0)


def main() -> None:
    from absl import logging

    from medfuse_jax.data.simulate.cohort import usable_cores
    from medfuse_jax.data.simulate.person import CohortSettings
    from medfuse_jax.data.simulate.tree import bids

    settings = CohortSettings(subjects=SUBJECTS.value, visits=VISITS.value, spacing=float(SPACING.value),
                              seed=SEED.value, counterfactual=False, refine=1, label_maps=LABEL_MAPS.value)
    out = bids(OUT.value, settings, LANGUAGE.value, JOBS.value or usable_cores())
    spacing = max(settings.spacing, 1.0)             # the finest grid that trains
    logging.info("next: %s", command.following("prepare.py", f"--source={out}", "--out=prepared",
                                               f"--spacing={spacing:g}"))


if __name__ == "__main__":
    command.run(main, again="nothing was written; begin again with")
