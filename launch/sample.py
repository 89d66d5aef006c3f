"""Sample 3D volumes, with their labels, from a sentence and perhaps an image.

    python launch/sample.py --workdir=runs --prompt="FLAIR, woman of 42, RRMS, nine periventricular lesions, 6 ml"
    python launch/sample.py --workdir=runs --prompt="..." --image=scan_FLAIR.nii.gz --text_weight=2 --image_weight=1.5

--check only reads the prompt and prints what is understood, as JSON.
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

from medfuse_jax.errors import MedFuseError

WORKDIR = command.workdir()
PROMPT = flags.DEFINE_string("prompt", None, "the sentence, in English or French", required=True)
IMAGE = flags.DEFINE_multi_string(
    "image", [], "a reference scan (NIfTI named after its contrast, ..._FLAIR.nii.gz, or FLAIR=FILE); may be repeated")
MASK = flags.DEFINE_string("mask", None, "with --image: a NIfTI mask; only what lies inside may change")
TEXT_WEIGHT = flags.DEFINE_float("text_weight", None, "how much the sentence counts, 0 to 100 (as the config says)")
IMAGE_WEIGHT = flags.DEFINE_float("image_weight", None, "how much the image counts, 0 to 100 (as the config says)")
INTERACTION_WEIGHT = flags.DEFINE_float(
    "interaction_weight", None, "how much their interaction counts (square root of the product)")
NUMBER = flags.DEFINE_integer("number", 1, "how many samples")
STEPS = flags.DEFINE_integer("steps", None, "sampling steps (as the config says)")
SEED = flags.DEFINE_integer("seed", 0, "sample i of a seed is always the same", lower_bound=0)
SHARES = flags.DEFINE_bool("shares", False, "measure the shares of text and image (needs an image to say anything)")
CHECK = flags.DEFINE_bool("check", False, "only read the prompt and print what is understood")
OUT = flags.DEFINE_string("out", "out", "folder for sample-000, sample-001, ...")


def main() -> None:
    """Read the prompt, draw, write."""
    from medfuse_jax.data import language
    reading = language.parse(PROMPT.value)
    if CHECK.value:
        told = {"commanded": reading.statement.to_json(), "ignored": reading.ignored, "warnings": reading.warnings}
        sys.stdout.write(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        return
    for line in (*reading.warnings, *(f"not understood, ignored: {words!r}" for words in reading.ignored)):
        logging.warning("%s", line)
    folder = Path(OUT.value)
    if (folder / "sample-000").exists():
        raise MedFuseError(f"{folder} holds samples already: choose another --out")
    images = named(IMAGE.value)
    from medfuse_jax import MedFuse
    model = MedFuse.load(WORKDIR.value)
    samples = model.samples(PROMPT.value, images, MASK.value, TEXT_WEIGHT.value, IMAGE_WEIGHT.value,
                            INTERACTION_WEIGHT.value, number=NUMBER.value, seed=SEED.value, steps=STEPS.value,
                            shares=SHARES.value)
    for number, sample in enumerate(samples):
        place = sample.save(folder / f"sample-{number:03d}")
        logging.info("%s: %d lesions, %.1f ml", place, sample.findings.lesion_count, sample.findings.lesion_volume_ml)


def named(images: list[str]) -> dict[str, str] | None:
    """Contrast -> file; each contrast once."""
    from medfuse_jax.data import labels
    from medfuse_jax.medfuse import contrast_of
    found: dict[str, str] = {}
    for image in images:
        contrast, equals, path = image.partition("=")
        contrast, path = (contrast, path) if equals and contrast in labels.CONTRASTS else (contrast_of(image), image)
        if contrast in found:
            raise MedFuseError(f"{path}: a second {contrast} beside {found[contrast]}: give one file for each contrast")
        if not Path(path).exists():
            raise MedFuseError(f"{path} does not exist: check --image")
        found[contrast] = path
    return found or None


if __name__ == "__main__":
    command.run(main)
