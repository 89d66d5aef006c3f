"""The parts that can be measured, made ready without a trained model: seeded weights, random inputs of a preset."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from medfuse_jax import family, overrides
from medfuse_jax.data import grid, labels, tokens
from medfuse_jax.errors import MedFuseError
from medfuse_jax.methods import guidance
from medfuse_jax.models.denoiser import Image
from medfuse_jax.stages import alignment, autoencoder, ldm
from medfuse_jax.stages.stage import Batch, Borrowed, Stage
from medfuse_jax.train.state import create, train_step

SEED = 0


class Part(NamedTuple):
    """One row: what is measured, of which stage; of samples, whether shares are measured too."""

    what: str
    stage: str
    shares: bool = False


class Case(NamedTuple):
    """A part made ready. arguments: host arrays; shape: of one example (its volume, else its latent)."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    shape: tuple[int, ...]
    batch: int
    carried: bool = False         # the first argument is used up, and its successor is the first thing returned
    more: Mapping[str, Any] = {}


class Untrained:
    """A model family with the weights that training starts from, made as far as it is asked for.

    One device is measured: a preset's batch is one device's share of it.
    """

    def __init__(self, preset: str, configs: Path, batch: int | None = None):
        self.preset, self.folder, self.asked = preset, configs, batch
        self.config, self.stage, self.borrowed = cache(self._config), cache(self._stage), cache(self._borrowed)

    def _config(self, name: str) -> ConfigDict:
        return overrides.load(self.folder / f"{name}.py", self.preset)

    def _stage(self, name: str) -> Stage:
        config = self.config(name)
        return family.STAGES[name].build(config, {lent: self.borrowed(lent) for lent in config.borrow})

    def _borrowed(self, name: str) -> Borrowed:
        config, statistics = self.config(name), {}
        if name == "autoencoder":
            features = config.model.features
            statistics = dict(latent_mean=np.zeros((*self.latent()[:3], features), np.float32),
                              latent_deviation=np.ones(1, np.float32), contrasts=list(labels.CONTRASTS))
        return Borrowed(config, self.stage(name).init(config.seed), statistics)

    def batch(self, name: str) -> int:
        """As asked; else one device's share of the preset's global batch."""
        config = self.config(name)
        return self.asked or max(1, config.batch // max(1, config.mesh.data))

    def volume(self) -> tuple[int, ...]:
        """d h w c"""
        return *grid.standard(self.config("autoencoder").data.spacing).shape[::-1], len(labels.CONTRASTS)

    def latent(self) -> tuple[int, ...]:
        """z y x f"""
        return *(side // 4 for side in self.volume()[:3]), self.config("autoencoder").model.features


# What a stage READS, at random

def images(of: Untrained, b: int) -> Batch:
    """`image`: contrasts and labels."""
    random, shape, one = np.random.default_rng(SEED), of.volume(), np.ones(b, np.float32)
    return dict(volume=np.abs(random.standard_normal((b, *shape), np.float32)),
                present=np.ones((b, shape[-1]), np.float32),
                structures=random.integers(0, len(labels.STRUCTURES), (b, *shape[:3]), np.int32),
                lesion=(random.random((b, *shape[:3])) < 0.01).astype(np.float32),
                structures_known=one, lesions_known=one)


def nothing(of: Untrained, b: int) -> Batch:
    """`clean`: only judges read it."""
    return {}


def sentences(of: Untrained, b: int) -> Batch:
    """`text`: as long as it may be, with all facts stated."""
    text, random = of.config("alignment").text, np.random.default_rng(SEED)
    return dict(words=random.integers(0, text.vocabulary, (b, text.length), np.int32),
                words_mask=np.ones((b, text.length), bool), facts=np.ones((b, len(tokens.FACTS), 3), np.float32))


def latents(of: Untrained, b: int) -> Batch:
    """`latent`: normalised."""
    return dict(latent=np.random.default_rng(SEED).standard_normal((b, *of.latent()), np.float32))


def references(of: Untrained, b: int) -> Batch:
    """`reference`: another visit."""
    return dict(reference=np.random.default_rng(SEED + 1).standard_normal((b, *of.latent()), np.float32),
                reference_years=np.ones(b, np.float32), reference_same=np.zeros(b, np.float32))


INPUTS = {"image": images, "clean": nothing, "text": sentences, "latent": latents, "reference": references}


# What is computed

def encode(of: Untrained, part: Part) -> Case:
    """Volumes to the mean of their latent."""
    base, b = of.borrowed("autoencoder"), of.batch("autoencoder")
    model, seen = autoencoder.network(base.config), images(of, b)

    def look(params: Any, volume: Any, present: Any) -> Any:
        return model.apply({"params": params}, volume, present, method="encode")[0]

    return Case(look, (base.params, seen["volume"], seen["present"]), of.volume(), b)


def decode(of: Untrained, part: Part) -> Case:
    """Latents to all contrasts and label logits."""
    base, b = of.borrowed("autoencoder"), of.batch("autoencoder")
    return Case(autoencoder.decoder(base), (autoencoder.lent(base), latents(of, b)["latent"]), of.volume(), b)


def training(of: Untrained, part: Part) -> Case:
    """One update of a stage: loss, gradient, optimiser, moving average."""
    stage, config, b = of.stage(part.stage), of.config(part.stage), of.batch(part.stage)
    if b % (pieces := config.optimizer.accumulate):
        raise MedFuseError(f"--batch={b}: {part.stage} sees a batch in {pieces} pieces: give a multiple of {pieces}")
    batch: dict[str, Any] = {}
    for kind in family.STAGES[part.stage].READS:
        batch |= INPUTS[kind](of, b)
    return Case(train_step(stage, config), (create(stage, config), stage.frozen, batch),
                of.volume() if "volume" in batch else of.latent(), b, carried=True)


def denoise(of: Untrained, part: Part) -> Case:
    """One evaluation of the denoiser, told and shown."""
    base, lent, b = of.borrowed("ldm"), of.borrowed("alignment"), of.batch("ldm")
    model, one = ldm.network(base.config, of.latent()[-1]), np.ones(b, np.float32)
    said = jax.eval_shape(alignment.reader(lent), lent.params, *sentences(of, b).values())
    text = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), said)
    noisy, reference = latents(of, b)["latent"], references(of, b)["reference"]
    image = Image(reference, np.ones_like(noisy[..., :1]), one, one)

    def guess(params: Any, *known: Any) -> Any:
        return model.apply({"params": params}, *known)

    return Case(guess, (base.params["network"], noisy, 0.5 * one, text, image, one, one), of.latent(), b)


def sample(of: Untrained, part: Part) -> Case:
    """From words and noise to volumes and label logits.

    With shares an image is shown too, all four subsets are evaluated, and what each modality decided is kept.
    """
    config, b = of.config("ldm"), of.asked or 1
    lent = {name: of.borrowed(name) for name in ("autoencoder", "alignment")}
    draw, read, show = ldm.sampling(config, lent), alignment.reader(lent["alignment"]), ldm.decoding(lent)
    chosen = config.sampler
    weights = guidance.Weights(chosen.text_weight, chosen.image_weight if part.shares else 0.0).checked()
    needed = guidance.subsets(guidance.BOTH) if part.shares else guidance.required(weights.terms())

    def drawn(params: Any, noise: Any, said: Batch, image: Image, weights: guidance.Weights) -> Any:
        text = read(params["alignment"], said["words"], said["words_mask"], said["facts"])
        latent, kept = draw(params["ldm"], noise, text, image, weights, subsets=needed, steps=chosen.steps,
                            name=chosen.name, keep=part.shares)
        return show(params["autoencoder"], latent), kept

    noise, blank, shown = latents(of, b)["latent"], np.zeros(b, np.float32), float(part.shares)
    image = Image(shown * references(of, b)["reference"], np.full_like(noise[..., :1], shown), blank, blank)
    params = {name: of.borrowed(name).params for name in (*lent, "ldm")}
    params["autoencoder"] = autoencoder.lent(of.borrowed("autoencoder"))
    return Case(drawn, (params, noise, sentences(of, b), image, jax.tree.map(np.float32, weights)), of.volume(), b,
                more=dict(shares=part.shares, subsets=len(needed), steps=chosen.steps, sampler=chosen.name))


COMPUTED = {"encode": encode, "decode": decode, "train_step": training, "denoise": denoise, "sample": sample}
WHATS = (*COMPUTED, "pipeline")
# Where not all stages have a row.
OF = {"encode": ("autoencoder",), "decode": ("autoencoder",), "denoise": ("ldm",), "sample": ("ldm",)}


def parts(whats: Sequence[str]) -> list[Part]:
    """The rows that are asked for, in order. A stage that reads what is not known here is left out with a warning."""
    chosen = []
    for what in dict.fromkeys(whats):
        if what not in WHATS:
            raise MedFuseError(f"--what={what} is not known: there are {', '.join(WHATS)}")
        for stage in OF.get(what, tuple(family.STAGES)):
            if unknown := sorted(set(family.STAGES[stage].READS) - set(INPUTS)):
                logging.warning("%s of %s is left out: no random input for %s", what, stage, ", ".join(unknown))
                continue
            chosen += [Part(what, stage, shares) for shares in ((False, True) if what == "sample" else (False,))]
    return chosen
