"""A simulated MS cohort as a BIDS tree, with the truth behind every image. No download, no account.

    python launch/simulate.py --out=cohort --subjects=20 --visits=3 --spacing=2 --language=en
    python launch/simulate.py --validate --subjects=200 --out=validation     # the targets beside what is simulated
    python launch/simulate.py --validate --subjects=200 --real=BIDS --out=validation          # and beside real scans
    python launch/simulate.py --out=cohort --gadolinium=0.5 --missing=0.2 --randomise=0.3     # contrasts as in a clinic
    python launch/simulate.py --out=cohort --label_maps=maps          # heads of real people, of dseg.nii.gz files

Equal flags make equal files, whatever the number of jobs. Research only, not for clinical use.
"""

import json
import resource
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

try:
    from medfuse_jax import command
except ModuleNotFoundError as error:
    if error.name != "medfuse_jax":
        raise
    sys.stderr.write("medfuse_jax is not installed: run `pip install -e .` in the repository's root\n")
    sys.exit(2)

from absl import flags

JUDGED = 12                                          # simulated people beside real ones: thousands of patches
ENOUGH = 200
IDLE = ("visits", "natural_fraction", "gadolinium", "missing", "randomise", "language")      # with --validate
OUT = flags.DEFINE_string("out", None, "the BIDS tree to write: a new or an empty folder; with --validate, the folder "
                          "for the table and the figure (validation)")
VALIDATE = flags.DEFINE_bool("validate", False, "write no cohort: measure natural people (labels at 1 mm, no images), "
                             "trial arms and rates, and compare them with what was measured in patients")
REAL = flags.DEFINE_string("real", None, "with --validate: a BIDS tree of real scans; tells how well a classifier "
                           "knows 24 mm cubes of them from simulated ones (AUC: 0.5 not at all, 1 always)")
RATES = flags.DEFINE_integer("rate_subjects", 1000, "with --validate: people whose thalamus is followed over years",
                             lower_bound=20)
SUBJECTS = flags.DEFINE_integer("subjects", 20, "how many people", lower_bound=1)
VISITS = flags.DEFINE_integer("visits", 3, "how many visits of each person", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "another seed, other people", lower_bound=0)
SPACING = flags.DEFINE_enum("spacing", "2", ["0.5", "1", "2", "4", "8", "1.0", "2.0", "4.0", "8.0"], "voxel size in mm")
LANGUAGE = flags.DEFINE_enum("language", "en", ["en", "fr"], "of the reports")
LABEL_MAPS = flags.DEFINE_string("label_maps", None, "a folder of whole-brain label maps (NIfTI, FreeSurfer numbers) "
                                 "that people are made of, in place of the MNI152 template")
LESION_MASKS = flags.DEFINE_string("lesion_masks", None, "a folder of real lesion masks in MNI space that the lesions "
                                   "of people are drawn from, in place of the simulator's own numbers")
NATURAL = flags.DEFINE_float("natural_fraction", 1.0, "share of people as in a clinic; the others have counts, volumes "
                             "and atrophy spread evenly, as training wants them", lower_bound=0, upper_bound=1)
GADOLINIUM = flags.DEFINE_float("gadolinium", 0.0, "share of visits with a T1w after gadolinium", lower_bound=0,
                                upper_bound=1)
MISSING = flags.DEFINE_float("missing", 0.0, "share of contrasts that visits lack (FLAIR half as often; one stays)",
                             lower_bound=0, upper_bound=1)
RANDOMISE = flags.DEFINE_float("randomise", 0.0, "share of visits of no scanner: contrast, resolution, noise and bias "
                               "field at random, so that a network trained on them reads any real scan", lower_bound=0,
                               upper_bound=1)
JOBS = flags.DEFINE_integer("jobs", 0, "people drawn at the same time; 0: one a core", lower_bound=0)


def main() -> None:
    from absl import logging

    from medfuse_jax.album import album
    from medfuse_jax.data.machine import usable_cores
    from medfuse_jax.data.simulate import tree
    from medfuse_jax.data.simulate.person import CohortSettings
    from medfuse_jax.errors import MedFuseError

    if VALIDATE.value:
        validate()
        return
    if not OUT.value:
        raise MedFuseError("--out is needed: name a new folder for the cohort")
    settings = CohortSettings(subjects=SUBJECTS.value, visits=VISITS.value, spacing=float(SPACING.value),
                              seed=SEED.value, counterfactual=False, refine=1, label_maps=LABEL_MAPS.value,
                              lesion_masks=LESION_MASKS.value, natural_fraction=NATURAL.value,
                              gadolinium=GADOLINIUM.value, missing=MISSING.value, randomise=RANDOMISE.value)
    out = tree.bids(OUT.value, settings, LANGUAGE.value, JOBS.value or usable_cores())
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    logging.info("%.2f s of one core a visit, writing included; at most %.0f MB a process",
                 sum(each.ru_utime + each.ru_stime for each in used) / (settings.subjects * settings.visits),
                 max(each.ru_maxrss for each in used) / 1024)
    logging.info("some of its people: %s", album(out, out / tree.ALBUM))
    spacing = max(settings.spacing, 1.0)             # the finest grid that trains
    logging.info("next: %s", command.following("prepare.py", f"--source={out}", "--out=prepared",
                                               f"--spacing={spacing:g}"))


def validate() -> None:
    """validation.md, .json and .png; a line for each quantity that misses its target."""
    from absl import logging

    from medfuse_jax import figures
    from medfuse_jax.data.files import whole_file, writable
    from medfuse_jax.data.machine import usable_cores
    from medfuse_jax.data.simulate import realism, rows, validation
    from medfuse_jax.data.simulate.person import CohortSettings
    from medfuse_jax.errors import MedFuseError

    idle = [name for name in IDLE if flags.FLAGS[name].present]
    if idle:
        raise MedFuseError(f"--{idle[0]} says nothing with --validate: leave it out")
    out = Path(OUT.value or "validation")
    writable(out, "--out")
    settings = CohortSettings(
        subjects=SUBJECTS.value, visits=1, spacing=float(SPACING.value) if flags.FLAGS["spacing"].present else 1.0,
        seed=SEED.value, natural_fraction=1.0, refine=1, label_maps=LABEL_MAPS.value, lesion_masks=LESION_MASKS.value)
    jobs, told_apart = JOBS.value or usable_cores(), {}
    if REAL.value is not None:
        some = replace(settings, subjects=JUDGED, spacing=1.0, gadolinium=1.0)
        told_apart = realism.beside(REAL.value, some, jobs)
    found = validation.validate(settings, jobs, RATES.value)
    verdict = f"{sum(one.inside for one in found)} of {len(found)} quantities inside their target"
    with whole_file(out / "validation.md") as path:
        path.write_text(rows.table(found) + realism.table(told_apart), encoding="utf-8")
    with whole_file(out / "validation.json") as path:
        told = [one._asdict() | {"inside": one.inside} for one in found]
        told += [{"quantity": f"real and simulated {name} told apart (AUC)"} | one._asdict()
                 for name, one in told_apart.items()]
        path.write_text(json.dumps(finite(told), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    figures.targets([(one.quantity, one.low, one.high, one.value, one.interval) for one in found],
                    out / "validation.png", f"{verdict} (bars: 95 % interval)")
    if SUBJECTS.value < ENOUGH:
        logging.warning("--subjects=%d: the tolerances are those of %d people or more", SUBJECTS.value, ENOUGH)
    for name, one in told_apart.items():
        logging.info("%s, real and simulated told apart: AUC %.2f (%.2f to %.2f)", name, one.auc, *one.interval)
    for one in found:
        if not one.inside:
            logging.warning("%s: %.3g, target %.3g to %.3g", one.quantity, one.value, one.low, one.high)
    sys.stdout.write(f"{verdict}: {out / 'validation.md'}, {out / 'validation.png'}\n")


def finite(told: Any) -> Any:
    """What JSON can hold: null where too few people say nothing."""
    if isinstance(told, dict):
        return {name: finite(each) for name, each in told.items()}
    if isinstance(told, (list, tuple)):
        return [finite(each) for each in told]
    return None if isinstance(told, float) and told != told else told


if __name__ == "__main__":
    command.run(main, again="nothing was written; begin again with")
