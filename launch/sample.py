"""Sample 3D volumes, with their labels, from a sentence and perhaps an image.

    python launch/sample.py --workdir=runs --prompt="FLAIR, woman of 42, RRMS, nine periventricular lesions, 6 ml"
    python launch/sample.py --workdir=runs --prompt="..." --image=scan_FLAIR.nii.gz --text_weight=2 --image_weight=1.5

--check only reads the prompt and prints what is understood, as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

try:
    from medfuse_jax import command
except ModuleNotFoundError as missing:
    if missing.name != "medfuse_jax":
        raise
    sys.stderr.write("medfuse_jax is not installed: run `pip install -e .` in the repository's root\n")
    sys.exit(2)

from absl import flags, logging
from tqdm import tqdm

from medfuse_jax.data.files import writable
from medfuse_jax.errors import MedFuseError
from medfuse_jax.train import signals

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
FIRST = flags.DEFINE_integer("first", 0, "the number of the first sample: go on after earlier ones of this seed",
                             lower_bound=0)
STEPS = flags.DEFINE_integer("steps", None, "sampling steps (as the config says)")
SEED = flags.DEFINE_integer("seed", 0, "sample i of a seed is always the same", lower_bound=0)
SHARES = flags.DEFINE_bool("shares", False, "measure the shares of text and image (needs an image to say anything)")
CHECK = flags.DEFINE_bool("check", False, "only read the prompt and print what is understood")
OUT = flags.DEFINE_string("out", "out", "folder for sample-000, sample-001, ...")


def main() -> None:
    """Read the prompt, draw, write."""
    from medfuse_jax.request import Request, listed
    request = Request(PROMPT.value, listed(IMAGE.value), MASK.value, TEXT_WEIGHT.value, IMAGE_WEIGHT.value,
                      INTERACTION_WEIGHT.value, NUMBER.value, SEED.value, STEPS.value, SHARES.value, FIRST.value)
    if Path(WORKDIR.value).is_file():
        raise MedFuseError(f"{WORKDIR.value}: a file, not the folder of a model family: check --workdir")
    if not CHECK.value or flags.FLAGS["out"].present:
        room(Path(OUT.value), request.numbers)
    reading = request.reading
    if CHECK.value:
        told = {"commanded": reading.statement.to_json(), "ignored": reading.ignored, "warnings": reading.warnings}
        # A terminal that knows only ASCII is told \\u00e9 for what it cannot show.
        plain = (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8")
        sys.stdout.write(json.dumps(told, indent=1, ensure_ascii=plain) + "\n")
        return
    for line in (*reading.warnings, *(f"not understood, ignored: {words!r}" for words in reading.ignored)):
        logging.warning("%s", line)
    from medfuse_jax import MedFuse
    draw(MedFuse.load(WORKDIR.value), request, Path(OUT.value))


def draw(model: Any, request: Any, out: Path) -> None:
    """Write each sample as soon as it is drawn, and say how it obeys; what is done stays when it is stopped."""
    done, samples = 0, model.stream(request)
    with tqdm(total=request.number, desc="samples", unit="sample") as bar:
        try:
            for number, sample in zip(request.numbers, samples, strict=True):
                sample.save(place(out, number))
                done += 1
                bar.write(f"{place(out, number)}: {sample.verdict}", file=sys.stderr)
                bar.update()
        except signals.Interrupted:
            bar.close()
            rest = dict(first=request.first + done, number=request.number - done)
            again = command.following("sample.py", *command.typed_without(*rest),
                                      *(f"--{name}={value}" for name, value in rest.items()))
            sys.stderr.write(f"{done} of {request.number} samples are whole in {out}; go on with: {again}\n")
            raise


def place(out: Path, number: int) -> Path:
    """The folder of a sample."""
    return out / f"sample-{number:03d}"


def room(out: Path, numbers: range) -> None:
    """MedFuseError when the samples cannot be written there, or when some are there already."""
    if any(place(out, number).exists() for number in numbers):
        last = max(int(each.name[7:]) for each in out.glob("sample-*") if each.name[7:].isdecimal())
        raise MedFuseError(f"{out} holds samples already: choose another --out, or go on after them with "
                           f"--first={last + 1}")
    writable(out, "--out")


if __name__ == "__main__":
    command.run(main)
