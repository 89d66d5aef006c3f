"""What is asked of a family: a sentence, perhaps a scan, how much each counts, and how often.

Nothing heavy is imported here, so that a mistake is told before a model is loaded.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from medfuse_jax.data import labels, language
from medfuse_jax.data.language import Reading
from medfuse_jax.errors import MedFuseError

Scans = Mapping[str, str | Path] | str | Path | None
MOST_WEIGHT, MOST_STEPS, MOST_SAMPLES, MOST_SEED = 100, 1000, 10_000, 2**31 - 1


@dataclass(frozen=True)
class Request:
    """Samples first .. first + number - 1 of a seed, for a sentence and perhaps a reference scan.

    images: contrast -> NIfTI file. mask: a NIfTI file; only what lies inside may change. Weights and steps that are
    None are the config's. MedFuseError for what no model could be asked.
    """

    prompt: str
    images: Mapping[str, str | Path] = field(default_factory=dict)
    mask: str | Path | None = None
    text_weight: float | None = None
    image_weight: float | None = None
    interaction_weight: float | None = None
    number: int = 1
    seed: int = 0
    steps: int | None = None
    shares: bool = False
    first: int = 0

    def __post_init__(self) -> None:
        for name in ("text", "image", "interaction"):
            check_weight(name, getattr(self, f"{name}_weight"))
        if not 1 <= self.number <= MOST_SAMPLES:
            raise MedFuseError(f"number {self.number} cannot be made: give 1 to {MOST_SAMPLES}")
        if self.first < 0 or self.seed < 0:
            raise MedFuseError(f"first {self.first}, seed {self.seed}: give whole numbers from 0 on")
        if max(self.seed, self.numbers[-1]) > MOST_SEED:
            raise MedFuseError(f"first {self.first}, seed {self.seed}: give whole numbers up to {MOST_SEED}")
        if self.steps is not None and not 1 <= self.steps <= MOST_STEPS:
            raise MedFuseError(f"steps {self.steps} cannot be taken: give 1 to {MOST_STEPS}")
        if self.mask is not None and not self.images:
            raise MedFuseError("--mask says what of an image may change: give the --image too")
        same = {Path(path).resolve() for path in self.images.values()}
        if len(same) < len(self.images):
            raise MedFuseError(f"{next(iter(self.images.values()))}: given for two contrasts: a file shows one; check "
                               "--image")
        for flag, path in (*(("image", path) for path in self.images.values()), ("mask", self.mask)):
            if path is not None and not Path(path).exists():
                raise MedFuseError(f"{path} does not exist: check --{flag}")
        language.parse(self.prompt)

    @cached_property
    def reading(self) -> Reading:
        """What the sentence says."""
        return language.parse(self.prompt)

    @property
    def numbers(self) -> range:
        """The samples' numbers."""
        return range(self.first, self.first + self.number)

    @property
    def unused(self) -> list[str]:
        """A line for a weight that counts nothing here."""
        given = [name for name in ("image", "interaction") if getattr(self, f"{name}_weight") is not None]
        return [f"no image is given: the {' and '.join(given)} weight counts nothing"] * bool(given and not self.images)


def check_weight(name: str, value: int | float | None) -> None:
    """MedFuseError for a weight that is no number from 0 to 100; None: as the config says."""
    if value is not None and not (math.isfinite(value) and 0 <= value <= MOST_WEIGHT):
        raise MedFuseError(f"{name} weight {value} cannot be used: give a number from 0 to {MOST_WEIGHT}")


def by_contrast(image: Scans) -> dict[str, str | Path]:
    """Contrast -> file, of {contrast: file} or of one file that is named after its contrast."""
    if isinstance(image, Mapping):
        return dict(image)
    return {} if image is None else {contrast_of(image): image}


def listed(images: Sequence[str]) -> dict[str, str]:
    """Contrast -> file of what is typed: FILE or CONTRAST=FILE, each contrast once."""
    found: dict[str, str] = {}
    for image in images:
        if not image.rpartition("=")[2]:
            raise MedFuseError(f"--image={image}: no file is named: give a NIfTI file, or CONTRAST=FILE")
        contrast, equals, path = image.partition("=")
        contrast, path = (contrast, path) if equals and contrast in labels.CONTRASTS else (contrast_of(image), image)
        if contrast in found:
            raise MedFuseError(f"{path}: a second {contrast} beside {found[contrast]}: give one file for each contrast")
        found[contrast] = path
    return found


def contrast_of(path: str | Path) -> str:
    """The contrast that a file's name ends in, by BIDS: ..._FLAIR.nii.gz."""
    stem = Path(path).name.removesuffix(".gz").removesuffix(".nii")
    suffix = stem.rpartition("_")[2]
    if suffix == "T1w" and "ce-gadolinium" in stem:
        return "ce-gadolinium_T1w"
    for contrast in labels.CONTRASTS:
        if suffix.lower() == contrast.lower():
            return contrast
    raise MedFuseError(f"{path}: its name does not end in a contrast: rename it (..._FLAIR.nii.gz) "
                       f"or say which it is, FLAIR={path}")
