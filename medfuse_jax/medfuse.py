"""The public face: a trained family, asked in plain calls."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from medfuse_jax import family
from medfuse_jax.data import grid, labels, language, nifti, prepare, tokens
from medfuse_jax.data.language import Reading
from medfuse_jax.data.resampling import fraction
from medfuse_jax.errors import MedFuseError
from medfuse_jax.methods import guidance
from medfuse_jax.metrics import biomarkers
from medfuse_jax.models.denoiser import Image
from medfuse_jax.stages import alignment, ldm
from medfuse_jax.stages.stage import Borrowed
from medfuse_jax.synthetic import NOTICE, Sample

Scans = Mapping[str, str | Path] | str | Path | None
BATCH = 4                  # samples drawn at once
PACKAGES = ("medfuse_jax", "jax", "flax", "numpy")


class Reference(NamedTuple):
    """A real visit as the model sees it, and what is needed to go back."""

    latent: np.ndarray                     # 1 z y x f, normalised
    known: np.ndarray                      # 1 z y x 1
    scans: dict[str, nifti.Scan]
    placed: prepare.Placed
    mask: np.ndarray | None                # on the first scan's grid: what may change


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
        config = self.stage("ldm").config
        reading = language.parse(prompt)
        weights = guidance.Weights(
            config.sampler.text_weight if text_weight is None else text_weight,
            (config.sampler.image_weight if image_weight is None else image_weight) if image is not None else 0.0,
            interaction_weight if image is not None else 0.0).checked()
        if not 1 <= number <= 10_000:
            raise MedFuseError(f"number {number} cannot be made: give 1 to 10000")
        steps = config.sampler.steps if steps is None else steps
        if not 1 <= steps <= 1000:
            raise MedFuseError(f"steps {steps} cannot be taken: give 1 to 1000")
        if mask is not None and image is None:
            raise MedFuseError("--mask says what of an image may change: give the --image too")
        for line in self.unmakeable(reading):
            logging.warning("%s", line)
        reference = self.look(image, mask) if image is not None else None
        needed = guidance.subsets(guidance.BOTH) if shares else guidance.required(weights.terms())
        made: list[Sample] = []
        for first in range(0, number, BATCH):
            count = min(BATCH, number - first)
            latents, kept = self.draw(prompt, reading, reference, weights, needed, range(first, first + count), seed,
                                      steps, shares)
            decoded = self._decode(self._lent, latents)
            for place in range(count):
                record = self.record(prompt, reading, weights, seed, steps, first + place, reference)
                if shares:
                    record["shares"] = summed(kept, place)
                made.append(self.study(decoded, place, reading, record, reference))
        return made

    def stage(self, name: str) -> Borrowed:
        """A finished stage; MedFuseError when this family has none."""
        if name not in self.borrowed:
            raise MedFuseError(f"{self.workdir}: the {name} is not trained: run `python launch/train.py "
                               f"--config=configs/{name}.py --workdir={self.workdir}`")
        return self.borrowed[name]

    @cached_property
    def tokenizer(self) -> Any:
        """The words that this family knows."""
        home = Path(self.stage("ldm").config.borrow["alignment"] or self.workdir / "alignment")
        return tokens.Tokenizer.load(home / family.TOKENIZER)

    @cached_property
    def _lent(self) -> Any:
        return ldm.autoencoder.lent(self.stage("autoencoder"))

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
        return jax.jit(ldm.autoencoder.represent(self.stage("autoencoder")))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Latent z y x."""
        x, y, z = grid.standard(self.stage("ldm").config.data.spacing).shape
        return z // 4, y // 4, x // 4

    def look(self, image: Scans, mask: str | Path | None) -> Reference:
        """A reference image, put on the model's grid and encoded."""
        files = image if isinstance(image, Mapping) else {contrast_of(image): image}
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

    def study(self, decoded: Any, place: int, reading: Reading, record: dict[str, Any],
              reference: Reference | None) -> Sample:
        """One decoded latent as volumes and labels in the space of the reference, or of MNI152; measured."""
        spacing = self.stage("ldm").config.data.spacing
        structures = np.asarray(jnp.argmax(decoded.structures[place], axis=-1)).astype(np.uint8)
        lesions = np.asarray(ldm.lesions_of(decoded)[place])
        volume = np.where(structures[..., None] > 0, np.maximum(np.asarray(decoded.volume[place]), 0.0), 0.0)
        stated = reading.statement
        findings = biomarkers.measure(structures.T, lesions.T, spacing, age=stated.age, sex=stated.sex,
                                      source="medfuse_jax sample")
        known = self.stage("autoencoder").statistics["contrasts"]
        wanted = [name for name in stated.contrasts if name in known] or known
        volumes = {name: np.ascontiguousarray(volume[..., labels.CONTRASTS.index(name)].T, np.float32)
                   for name in wanted}
        record = record | {"measured": findings.to_json(), "contrasts": wanted}
        if reference is None:
            return Sample(volumes, np.ascontiguousarray(structures.T), np.ascontiguousarray(lesions.T),
                          grid.standard(spacing).affine, findings, record)
        return self.back(volumes, structures, lesions, findings, record, reference)

    def back(self, volumes: dict[str, np.ndarray], structures: np.ndarray, lesions: np.ndarray, findings: Any,
             record: dict[str, Any], reference: Reference) -> Sample:
        """Volumes and labels on the reference scan's own grid and intensities; outside the mask the
        scan's own voxels, in each contrast that was given on this grid."""
        first, placed = next(iter(reference.scans.values())), reference.placed
        own = {}
        for name, volume in volumes.items():
            image = placed.back(volume.T, first) * placed.medians.get(name, 1.0)
            if reference.mask is not None and name in reference.scans:
                before = reference.scans[name]
                image = np.where(reference.mask, image, before.array) if before.array.shape == image.shape else image
            own[name] = image.astype(np.float32)
        names = placed.back(structures, first, order=0).astype(np.uint8)
        where = placed.back(lesions.astype(np.float32), first) > 0.5
        return Sample(own, names, where, first.affine, findings, record, space="scanner")

    def unmakeable(self, reading: Reading) -> list[str]:
        """A line for each contrast that is asked for and that this model was not trained on."""
        known = self.stage("autoencoder").statistics["contrasts"]
        return [f"this model was not trained on {name}: it makes {', '.join(known)}"
                for name in reading.statement.contrasts if name not in known]

    def record(self, prompt: str, reading: Reading, weights: guidance.Weights, seed: int, steps: int, number: int,
               reference: Reference | None) -> dict[str, Any]:
        """Where a sample comes from: sample.json without what is measured."""
        config, origin = self.stage("ldm").config, self.stage("ldm").origin
        return {
            "synthetic": True, "prompt": prompt, "language": reading.language, "weights": weights._asdict(),
            "seed": seed, "number": number, "steps": steps, "sampler": config.sampler.name,
            "checkpoint": str(self.workdir / "ldm"),
            "config_hash": origin["config_hash"], "step": origin["step"], "preset": config.preset,
            "spacing_mm": config.data.spacing,
            "package_versions": {name: importlib.metadata.version(name) for name in PACKAGES},
            "commanded": reading.statement.to_json(), "ignored": reading.ignored,
            "warnings": reading.warnings + self.unmakeable(reading),
            "reference": {} if reference is None else {name: Path(scan.path).name
                                                       for name, scan in reference.scans.items()},
            "fixups": [] if reference is None else reference.placed.fixups, "notice": NOTICE,
        }


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


def summed(kept: Mapping[str, jax.Array], place: int) -> dict[str, Any]:
    """Shares of text and image of one sample: per step, and their mean; how far from 1 their sum is at most."""
    steps = {name: np.asarray(kept[name])[:, place] for name in ("text", "image", "interaction")}
    if not any(values.any() for values in steps.values()):
        return {"text": None, "image": None, "interaction": None, "reason": "both weights are 0: nothing was decided"}
    error = float(np.abs(steps["text"] + steps["image"] - 1).max())
    return {**{name: float(values.mean()) for name, values in steps.items()},
            "per_step": {name: values.tolist() for name, values in steps.items()}, "sum_error": error}
