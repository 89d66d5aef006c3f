"""The pretrained text encoder of an alignment: which one it is, how its weights come in, and what of it is tuned."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from absl import logging
from ml_collections import ConfigDict

from medfuse_jax.axes import Tokens, WordMask, Words
from medfuse_jax.errors import MedFuseError
from medfuse_jax.methods import lora
from medfuse_jax.models import bert
from medfuse_jax.stages.stage import Params
from medfuse_jax.weights import architecture, folder, layout

WEIGHTS, DELTAS = "pretrained", "lora"        # in the alignment's parameters


def described(config: Any, its: Mapping[str, Any]) -> Any:
    """The config with text.encoder: architecture and contents of the checkpoint that text.pretrained names.

    its: config.json of the run that lies in the stage's folder ({}: none yet). Such a run has the weights in its own
    checkpoints and needs the encoder's folder no more; where that is there, it must hold what it held.
    """
    if "text" not in config or not config.text.pretrained:
        if "text" in config and config.text.tune != "frozen":
            raise MedFuseError(f"text.tune={config.text.tune} needs text.pretrained: give the folder of a checkpoint, "
                               "or text.tune=frozen")
        return config
    place, kept = home(config), its.get("text", {})
    if place.is_dir():
        encoder = dataclasses.asdict(architecture.read(place)) | {"contents": folder.digest(place)}
    elif kept.get("encoder") and kept.get("pretrained") == config.text.pretrained:
        logging.info("%s: is no longer there; the run has its weights", place)
        encoder = kept["encoder"]
    else:
        raise MedFuseError(f"--config.text.pretrained={config.text.pretrained}: no folder there: give one with "
                           "config.json, tokenizer.json and model.safetensors; download what is only a name on a hub")
    if config.text.length > encoder["length"]:
        raise MedFuseError(f"{place / 'config.json'}: max_position_embeddings: sentences of more than "
                           f"{encoder['length']} pieces cannot be read: give --config.text.length={encoder['length']} "
                           "or less")
    told = config.copy_and_resolve_references()
    with told.unlocked():
        told.text.encoder = ConfigDict(encoder)
    return told


def home(config: Any) -> Path:
    """The folder of the checkpoint."""
    return Path(config.text.pretrained).expanduser()


def architecture_of(config: Any) -> architecture.Architecture | None:
    """The encoder's architecture; None where words are learned from nothing."""
    said = {name: value for name, value in config.text.encoder.items() if name != "contents"}
    return architecture.Architecture(**said) if said else None


def init(config: Any, seed: int) -> Params:
    """The encoder's share of the parameters before its weights are read: zeros, and the low-rank start beside them."""
    if not config.text.encoder:
        return {}
    blank = bert.blank(architecture_of(config))
    tuned = {DELTAS: lora.start(seed, blank, config.text.lora.rank)} if config.text.tune == "lora" else {}
    return {WEIGHTS: blank} | tuned


def start(config: Any) -> Callable[[Params, Any], Params] | None:
    """What puts the checkpoint's weights in their place, before the first update."""
    if not config.text.encoder:
        return None

    def load(params: Params, data: Any) -> Params:
        its = architecture_of(config)
        return params | {WEIGHTS: layout.fill(params[WEIGHTS], folder.tensors(home(config)), its, home(config))}

    return load


def given(config: Any) -> tuple[str, ...]:
    """What stays as it is."""
    return (WEIGHTS,) if config.text.encoder and config.text.tune != "full" else ()


def hearing(config: Any) -> Callable[[Params, Words, WordMask], Words | Tokens]:
    """(params, words, mask) -> what the text tower hears: the words as they are, or the encoder's vector of each."""
    if not config.text.encoder:
        return lambda params, words, mask: words
    encoder = bert.Encoder(architecture_of(config), config.remat, jnp.dtype(config.dtype))
    scale = config.text.lora.alpha / config.text.lora.rank

    def hear(params: Params, words: Words, mask: WordMask) -> Tokens:
        weights = params[WEIGHTS]
        if config.text.tune == "lora":
            weights = lora.adapted(weights, params[DELTAS], scale)
        return encoder.apply({"params": weights}, words, mask)

    return hear
