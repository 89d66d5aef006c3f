"""Alignment: sentences and latents meet in one space."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from medfuse_jax.axes import Facts, WordMask, Words
from medfuse_jax.data import tokens
from medfuse_jax.errors import MedFuseError
from medfuse_jax.methods import losses
from medfuse_jax.metrics import retrieval
from medfuse_jax.models.alignment import Aligned, Alignment
from medfuse_jax.models.initialise import initialise
from medfuse_jax.models.text import Text
from medfuse_jax.stages import autoencoder, pretrained
from medfuse_jax.stages.stage import Batch, Borrowed, Frozen, Params, Stage, Values

READS = ("latent", "text")
SHOWN = 4               # images whose nearest sentence is logged


def network(config: Any) -> Alignment:
    """The two towers of a config."""
    text, facts = config.text, len(tokens.FACTS) if config.text.facts else 0
    return Alignment(0 if text.encoder else text.vocabulary, text.length, facts,
                     remat=config.remat, dtype=jnp.dtype(config.dtype), **config.model)


def aligner(config: Any) -> Callable[[Params, Batch], Aligned]:
    """(params, batch) -> what the two towers make of latents, words and facts."""
    model, hear = network(config), pretrained.hearing(config)

    def align(params: Params, batch: Batch) -> Aligned:
        heard = hear(params, batch["words"], batch["words_mask"])
        return model.apply({"params": params}, batch["latent"], heard, batch["words_mask"], batch["facts"])

    return align


def build(config: Any, borrowed: Mapping[str, Borrowed]) -> Stage:
    """The alignment's stage on a borrowed autoencoder."""
    if config.optimizer.accumulate > 1:
        raise MedFuseError("optimizer.accumulate must be 1: a contrastive loss needs its whole batch at once; "
                           "set batch to what fits")
    model, base, align = network(config), borrowed["autoencoder"], aligner(config)

    def init(seed: int) -> Params:
        shape = tuple(int(round(side / config.data.spacing / 4)) for side in (192, 224, 192))
        length, its = config.text.length, pretrained.architecture_of(config)
        heard = np.zeros((1, length), np.int32) if its is None else np.zeros((1, length, its.width), np.float32)
        towers = initialise(model, seed, np.zeros((1, *shape, base.config.model.features), np.float32), heard,
                            np.ones((1, length), bool), np.zeros((1, len(tokens.FACTS), 3), np.float32))
        return towers | pretrained.init(config, seed)

    def judge(params: Params, batch: Batch) -> Values:
        aligned = align(params, batch)
        same = jnp.all(batch["facts"][:, None] == batch["facts"][None], axis=(2, 3))
        if config.loss.kind == "siglip":
            each = losses.siglip(aligned.image, aligned.text, aligned.scale, aligned.offset, same)
        else:
            each = losses.infonce(aligned.image, aligned.text, aligned.scale, same)
        false = jnp.sum(same, axis=1).astype(jnp.float32) - 1.0
        return {"contrastive": each, "temperature": jnp.broadcast_to(1 / aligned.scale, each.shape),
                "duplicates": false}

    def loss(params: Params, frozen: Frozen, batch: Batch, key: jax.Array) -> tuple[jax.Array, Values]:
        """Each image finds its sentence among those of the global batch, and the other way round."""
        values = judge(params, batch)
        return jnp.mean(values["contrastive"]), values

    def evaluate(params: Params, frozen: Frozen, batch: Batch, key: jax.Array) -> Values:
        return {"contrastive": judge(params, batch)["contrastive"]}

    def retrieve(params: Params, frozen: Frozen, data: Any) -> Values:
        """Recall at 1, 5, 10 both ways over all held-out pairs, chance beside it; of some images what was found."""
        aligned = jax.jit(lambda p, batch: align(p, batch)[:2])
        images, texts, facts, words = [], [], [], []
        for batch in data.valid(config.batch):
            image, text = aligned(params, {name: batch[name] for name in ("latent", "words", "words_mask", "facts")})
            real = batch["weight"] > 0
            images.append(np.asarray(image)[real])
            texts.append(np.asarray(text)[real])
            facts.append(batch["facts"][real])
            words.append(batch["words"][real])
        facts = np.concatenate(facts)
        identities = np.unique(facts.reshape(len(facts), -1), axis=0, return_inverse=True)[1].reshape(-1)
        similarity = np.concatenate(images) @ np.concatenate(texts).T
        values: dict[str, float] = {}
        for k in (1, 5, 10):
            values[f"image_to_text_r@{k}"] = retrieval.recall_at(similarity, identities, k)
            values[f"text_to_image_r@{k}"] = retrieval.recall_at(similarity.T, identities, k)
            values[f"chance_r@{k}"] = retrieval.chance_at(identities, k)
        own = data.tokenizer.decode(np.concatenate(words))
        found = [own[place] for place in np.argmax(similarity[:SHOWN], axis=1)]
        rows = "\n".join(f"| {mine} | {its} |" for mine, its in zip(own, found, strict=False))
        return values | {"sentences": f"| said of the image | nearest to the image |\n|---|---|\n{rows}"}

    return Stage("alignment", init, loss, evaluate, start=pretrained.start(config), given=pretrained.given(config),
                 probes={"retrieval": retrieve},
                 frozen={"autoencoder": autoencoder.lent(base)}, represent=autoencoder.represent(base))


def reader(borrowed: Borrowed) -> Any:
    """(alignment params, words, mask, facts) -> Text, for borrowers."""
    model, hear = network(borrowed.config), pretrained.hearing(borrowed.config)

    def read(params: Params, words: Words, mask: WordMask, facts: Facts) -> Text:
        return model.apply({"params": params}, hear(params, words, mask), mask, facts, method="read")

    return read
