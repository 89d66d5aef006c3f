"""The public face: a trained family, asked in plain calls."""

import hashlib
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from medfuse_jax import family
from medfuse_jax.data import grid, labels, nifti, prepare, tokens
from medfuse_jax.data.findings import Range
from medfuse_jax.data.language import Reading
from medfuse_jax.data.resampling import fraction, resample
from medfuse_jax.errors import MedFuseError
from medfuse_jax.methods import guidance
from medfuse_jax.metrics import biomarkers, obedience
from medfuse_jax.models.denoiser import Image
from medfuse_jax.request import Request, Scans, by_contrast
from medfuse_jax.stages import alignment, autoencoder, labelled, ldm
from medfuse_jax.stages.stage import Borrowed
from medfuse_jax.synthetic import NOTICE, Sample, rounded, told
from medfuse_jax.train.identity import twelve

BATCH = 4                  # samples drawn at once
PACKAGES = ("medfuse_jax", "jax", "flax", "numpy")


class Reference(NamedTuple):
    """A real visit as the model sees it, and what is needed to go back."""

    latent: np.ndarray                     # 1 z y x f, normalised
    known: np.ndarray                      # 1 z y x 1
    scans: dict[str, nifti.Scan]
    placed: prepare.Placed
    mask: np.ndarray | None                # on the first scan's grid: what may change

    @property
    def first(self) -> nifti.Scan:
        """The scan on whose grid samples lie."""
        return next(iter(self.scans.values()))


class Shown(NamedTuple):
    """A decoded latent on the grid on which it is saved, x y z; labels that the model never learned are None."""

    volumes: dict[str, np.ndarray]         # contrast -> float32
    structures: np.ndarray | None          # classes, uint8
    lesions: np.ndarray | None             # bool


class MedFuse:
    """A model family of one workdir. Compiled programs are kept between calls."""

    def __init__(self, borrowed: Mapping[str, Borrowed], workdir: Path):
        self.borrowed, self.workdir = dict(borrowed), workdir

    @classmethod
    def load(cls, workdir: str | Path) -> "MedFuse":
        """The finished stages of a workdir; MedFuseError when there is none."""
        return cls(family.load(workdir), Path(workdir))

    def sample(self, prompt: str, image: Scans = None, mask: str | Path | None = None,
               text_weight: float | None = None, image_weight: float | None = None,
               interaction_weight: float | None = None, seed: int = 0, steps: int | None = None,
               shares: bool = False) -> Sample:
        """One study for a sentence; see `samples`."""
        return self.samples(prompt, image, mask, text_weight, image_weight, interaction_weight, 1, seed, steps,
                            shares)[0]

    def samples(self, prompt: str, image: Scans = None, mask: str | Path | None = None,
                text_weight: float | None = None, image_weight: float | None = None,
                interaction_weight: float | None = None, number: int = 1, seed: int = 0, steps: int | None = None,
                shares: bool = False) -> list[Sample]:
        """`number` studies for a sentence, and for a reference image when there is one.

        image: a NIfTI file named after its contrast (..._FLAIR.nii.gz), or {contrast: file}, such as an earlier visit.
        mask: with an image, only what lies inside may change. A text or image weight of 0 silences that modality and,
        unless interaction_weight says otherwise, their interaction; None: as the model's config says. The noise of
        study i of a seed is the same whatever `number` is. shares=True: how much text and image each decided.
        """
        return list(self.stream(Request(prompt, by_contrast(image), mask, text_weight, image_weight,
                                        interaction_weight, number, seed, steps, shares)))

    def stream(self, request: Request) -> Iterator[Sample]:
        """The studies of a request, each as soon as it is drawn; MedFuseError before the first."""
        config = self.stage("ldm").config.sampler
        text, image = (getattr(config, f"{name}_weight") if given is None else given
                       for name, given in (("text", request.text_weight), ("image", request.image_weight)))
        seen = bool(request.images)
        weights = guidance.Weights(text, image * seen, request.interaction_weight if seen else 0.0).checked()
        warnings = [*request.reading.warnings, *self.unmakeable(request.reading), *request.unused]
        for line in warnings[len(request.reading.warnings):]:
            logging.warning("%s", line)
        reference = self.look(request.images, request.mask) if seen else None
        return self.studies(request, weights, reference, config.steps if request.steps is None else request.steps,
                            warnings)

    def studies(self, request: Request, weights: guidance.Weights, reference: Reference | None, steps: int,
                warnings: list[str]) -> Iterator[Sample]:
        """Draw in batches, decode, measure."""
        known, reading = self.stage("autoencoder").statistics["contrasts"], request.reading
        wanted = [name for name in reading.statement.contrasts if name in known] or known
        masked = reference is not None and reference.mask is not None
        unchanged = self.shown(self._decode(self._lent, reference.latent), 0, wanted, reference) if masked else None
        needed = guidance.subsets(guidance.BOTH) if request.shares else guidance.required(weights.terms())
        for start in range(0, request.number, BATCH):
            numbers = request.numbers[start:start + BATCH]
            latents, kept = self.draw(request.prompt, reading, reference, weights, needed, numbers, request.seed, steps,
                                      request.shares)
            decoded = self._decode(self._lent, latents)
            for place, number in enumerate(numbers):
                made = self.shown(decoded, place, wanted, reference)
                record = self.record(request, weights, steps, number, reference) | {"warnings": warnings}
                if request.shares:
                    record["shares"] = summed(kept, place)
                yield self.study(made if unchanged is None else outside(unchanged, made, reference), reading, record,
                                 reference)

    def stage(self, name: str) -> Borrowed:
        """A finished stage; MedFuseError when this family has none."""
        if name not in self.borrowed:
            raise MedFuseError(f"{self.workdir}: the {name} is not trained: run `python launch/train.py "
                               f"--config=configs/{name}.py --workdir={self.workdir}`")
        return self.borrowed[name]

    @cached_property
    def tokenizer(self) -> Any:
        """The words that this family knows."""
        return family.words(self.stage("ldm").config, self.workdir / "ldm")

    @cached_property
    def _lent(self) -> Any:
        return autoencoder.lent(self.stage("autoencoder"))

    @cached_property
    def _read(self) -> Any:
        return jax.jit(alignment.reader(self.stage("alignment")))

    @cached_property
    def _draw(self) -> Any:
        return jax.jit(ldm.sampling(self.stage("ldm").config, self.borrowed),
                       static_argnames=("subsets", "steps", "name", "keep"))

    @cached_property
    def _decode(self) -> Any:
        return jax.jit(ldm.decoding(self.borrowed))

    @cached_property
    def _encode(self) -> Any:
        return jax.jit(autoencoder.represent(self.stage("autoencoder")))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Latent z y x."""
        x, y, z = grid.standard(self.stage("ldm").config.data.spacing).shape
        return z // 4, y // 4, x // 4

    def look(self, files: Mapping[str, str | Path], mask: str | Path | None) -> Reference:
        """Reference images (contrast -> file), put on the model's grid and encoded."""
        known = self.stage("autoencoder").statistics["contrasts"]
        for contrast, path in files.items():
            if contrast not in known:
                raise MedFuseError(f"{path}: this model was not trained on {contrast}: it knows {', '.join(known)}")
        scans = {contrast: nifti.read_volume(path) for contrast, path in files.items()}
        volume, present, placed = prepare.to_grid(scans, self.stage("ldm").config.data.spacing)
        said = self._encode({"autoencoder": self._lent},
                            {"volume": volume[None], "present": present[None]})
        known_places, inside = np.ones((1, *self.shape, 1), np.float32), None
        if mask is not None:
            first = next(iter(scans.values()))
            inside = nifti.read_mask(mask, like=first)
            if not inside.any():
                raise MedFuseError(f"{mask}: marks nothing, so nothing could change: give a mask of what may change "
                                   f"in the space of {first.path}")
            share = fraction(inside, placed.transform @ first.affine, placed.grid).T
            coarse = share.reshape(self.shape[0], 4, self.shape[1], 4, self.shape[2], 4).max(axis=(1, 3, 5))
            known_places[0, ..., 0] = coarse <= 0
        return Reference(np.asarray(said["latent"]), known_places, scans, placed, inside)

    def draw(self, prompt: str, reading: Reading, reference: Reference | None, weights: guidance.Weights,
             needed: tuple[guidance.Subset, ...], numbers: Sequence[int], seed: int, steps: int,
             keep: bool) -> tuple[jax.Array, Any]:
        """Latents of some studies: the noise of study i comes from (seed, i) alone."""
        config, features = self.stage("ldm").config, self.stage("autoencoder").config.model.features
        count = len(numbers)
        keys = [jax.random.fold_in(jax.random.key(seed), number) for number in numbers]
        noise = jnp.stack([jax.random.normal(key, (*self.shape, features)) for key in keys])
        words, there = self.tokenizer.encode([prompt] * count, self.stage("alignment").config.text.length)
        facts = np.stack([tokens.facts(reading.statement)] * count)
        text = self._read(self.stage("alignment").params, words, there, facts)
        blank = np.zeros(count, np.float32)
        if reference is None:
            image = Image(jnp.zeros_like(noise), jnp.zeros((*noise.shape[:4], 1)), blank, blank)
        else:
            same = blank + float(reference.mask is not None)
            image = Image(np.repeat(reference.latent, count, axis=0), np.repeat(reference.known, count, axis=0),
                          same, blank)
        return self._draw(self.stage("ldm").params, noise, text, image, weights, subsets=needed, steps=steps,
                          name=config.sampler.name, keep=keep)

    def shown(self, decoded: Any, place: int, wanted: Sequence[str], reference: Reference | None) -> Shown:
        """One decoded latent on the first reference scan's own grid and in its intensities, or on the standard grid.

        Labels are moved as they are, to the nearest voxel: a blend would shrink what is small.
        """
        one = jax.tree.map(lambda array: array[place:place + 1], decoded)
        said = labelled.labelled(one, self.stage("autoencoder").statistics)
        head, structures, lesions = (None if some is None else some[0] for some in said)
        volume = np.where(head[..., None], np.maximum(np.asarray(one.volume[0]), 0.0), 0.0)
        volumes = {name: volume[..., labels.CONTRASTS.index(name)].astype(np.float32) for name in wanted}
        if reference is None:
            return Shown(*jax.tree.map(lambda array: np.ascontiguousarray(array.T), (volumes, structures, lesions)))
        first, placed = reference.first, reference.placed
        own = {name: (placed.back(volume, first) * placed.medians.get(name, 1.0)).astype(np.float32)
               for name, volume in volumes.items()}
        return Shown(own, *(None if some is None else placed.back(some, first, order=0)
                            for some in (structures, lesions)))

    def study(self, shown: Shown, reading: Reading, record: dict[str, Any], reference: Reference | None) -> Sample:
        """What is saved, measured as it is saved and judged against the sentence."""
        affine = grid.standard(self.stage("ldm").config.data.spacing).affine if reference is None \
            else reference.first.affine
        shape, stated = next(iter(shown.volumes.values())).shape, reading.statement
        spacing = grid.Grid(shape, affine).spacing
        findings = biomarkers.measure(shown.structures, shown.lesions, spacing, age=middle(stated.age), sex=stated.sex,
                                      contrasts=tuple(shown.volumes), source="medfuse_jax sample")
        verdicts = obedience.judge(stated, findings, tuple(shown.volumes))
        record = record | {"measured": told(findings), "verdicts": [verdict.to_json() for verdict in verdicts],
                           "contrasts": list(shown.volumes)}
        return Sample(shown.volumes, shown.structures, shown.lesions, affine, findings, record,
                      "MNI152" if reference is None else "scanner", tuple(verdicts))

    def unmakeable(self, reading: Reading) -> list[str]:
        """A line for each contrast that is asked for, and each kind of label, that this model was not trained on."""
        statistics = self.stage("autoencoder").statistics
        known, learned = statistics["contrasts"], statistics["labels"]
        lines = [f"this model was not trained on {name}: it makes {', '.join(known)}"
                 for name in reading.statement.contrasts if name not in known]
        return lines + [f"this model's training data had no {kind}: its samples have none, and none are measured"
                        for kind in labelled.LABELS if kind not in learned]

    def record(self, request: Request, weights: guidance.Weights, steps: int, number: int,
               reference: Reference | None) -> dict[str, Any]:
        """Where a sample comes from: sample.json without what is measured."""
        config, origin, reading = self.stage("ldm").config, self.stage("ldm").origin, request.reading
        return {
            "synthetic": True, "prompt": request.prompt, "language": reading.language,
            "prompt_hash": hashlib.sha256(request.prompt.encode()).hexdigest()[:12],
            "weights": rounded(weights._asdict(), 6), "seed": request.seed, "number": number, "steps": steps,
            "sampler": config.sampler.name,
            "checkpoint": f"ldm/checkpoints/{origin['step']}",       # in the workdir, whose own place is private
            "config_hash": origin["config_hash"], "model_hash": twelve([origin["weights"], origin["borrowed"]]),
            "step": origin["step"], "preset": config.preset, "spacing_mm": config.data.spacing,
            "package_versions": {name: importlib.metadata.version(name) for name in PACKAGES},
            "commanded": rounded(reading.statement.to_json()), "ignored": reading.ignored,
            "reference": {} if reference is None else {name: Path(scan.path).name
                                                       for name, scan in reference.scans.items()},
            "mask": None if request.mask is None else Path(request.mask).name,
            "fixups": [] if reference is None else reference.placed.fixups, "notice": NOTICE,
        }


def middle(age: float | Range | None) -> float | None:
    """The age whose volumes are expected: the middle of a range, or the end that it has."""
    if not isinstance(age, Range):
        return age
    return float(age.low if age.high is None else (age.low + age.high) / 2)


def outside(unchanged: Shown, made: Shown, reference: Reference) -> Shown:
    """A sample whose voxels outside the mask are the reference's.

    There a contrast that was given keeps the scan's own voxels; labels, and contrasts that were not given, are what
    the autoencoder says of the reference: nothing that the sentence changed.
    """
    inside, first = reference.mask, reference.first
    before = unchanged.volumes | {name: scan.array if scan is first else resample(scan.array, scan.affine, first.grid)
                                  for name, scan in reference.scans.items()}
    volumes = {name: np.where(inside, volume, before[name]).astype(np.float32) for name, volume in made.volumes.items()}
    return Shown(volumes, *(None if mine is None else np.where(inside, mine, its)
                            for mine, its in ((made.structures, unchanged.structures),
                                              (made.lesions, unchanged.lesions))))


def summed(kept: Mapping[str, jax.Array], place: int) -> dict[str, Any]:
    """Shares of text and image of one sample: per step, and their mean; how far from 1 their sum is at most."""
    steps = {name: np.asarray(kept[name])[:, place] for name in ("text", "image", "interaction")}
    if not any(values.any() for values in steps.values()):
        return {"text": None, "image": None, "interaction": None, "reason": "all weights are 0: nothing was decided"}
    error = float(np.abs(steps["text"] + steps["image"] - 1).max())
    return {**{name: float(values.mean()) for name, values in steps.items()},
            "per_step": {name: values.tolist() for name, values in steps.items()}, "sum_error": error}
