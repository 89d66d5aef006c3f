"""Where each parameter of our encoder lies in a checkpoint, and whether what lies there fits."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from medfuse_jax.errors import MedFuseError
from medfuse_jax.weights.architecture import Architecture

# Our module -> the checkpoint's, of each family; {} is the number of a layer.
_BERT = {
    "words": "embeddings.word_embeddings", "places": "embeddings.position_embeddings",
    "first_norm": "embeddings.LayerNorm",
    "layer_{}/query": "encoder.layer.{}.attention.self.query", "layer_{}/key": "encoder.layer.{}.attention.self.key",
    "layer_{}/value": "encoder.layer.{}.attention.self.value",
    "layer_{}/out": "encoder.layer.{}.attention.output.dense",
    "layer_{}/attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
    "layer_{}/up": "encoder.layer.{}.intermediate.dense", "layer_{}/down": "encoder.layer.{}.output.dense",
    "layer_{}/perceptron_norm": "encoder.layer.{}.output.LayerNorm",
}
MODULES: dict[str, dict[str, str]] = {
    "bert": _BERT, "roberta": _BERT,
    "modernbert": {
        "words": "embeddings.tok_embeddings", "first_norm": "embeddings.norm", "last_norm": "final_norm",
        "layer_{}/query": "layers.{}.attn.query", "layer_{}/key": "layers.{}.attn.key",
        "layer_{}/value": "layers.{}.attn.value", "layer_{}/out": "layers.{}.attn.Wo",
        "layer_{}/attention_norm": "layers.{}.attn_norm", "layer_{}/up": "layers.{}.mlp.Wi",
        "layer_{}/down": "layers.{}.mlp.Wo", "layer_{}/perceptron_norm": "layers.{}.mlp_norm",
    },
    "clip": {
        "words": "embeddings.token_embedding", "places": "embeddings.position_embedding",
        "last_norm": "final_layer_norm", "layer_{}/query": "encoder.layers.{}.self_attn.q_proj",
        "layer_{}/key": "encoder.layers.{}.self_attn.k_proj", "layer_{}/value": "encoder.layers.{}.self_attn.v_proj",
        "layer_{}/out": "encoder.layers.{}.self_attn.out_proj",
        "layer_{}/attention_norm": "encoder.layers.{}.layer_norm1",
        "layer_{}/up": "encoder.layers.{}.mlp.fc1", "layer_{}/down": "encoder.layers.{}.mlp.fc2",
        "layer_{}/perceptron_norm": "encoder.layers.{}.layer_norm2",
    },
}
LEAVES = {"embedding": "weight", "kernel": "weight", "scale": "weight", "bias": "bias"}
KINDS = "embeddings.token_type_embeddings.weight"
FUSED = ".attn.Wqkv.weight"
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")        # counted, not learned


def fill(template: Mapping[str, Any], tensors: Mapping[str, np.ndarray], architecture: Architecture,
         folder: str | Path) -> dict[str, Any]:
    """The encoder's parameters with a checkpoint's numbers, as float32.

    template: parameters of the right shapes, whose values are not used. tensors: of `weights.folder.tensors`. Refused
    is a tensor that is missing, has another shape, or holds numbers that are not finite, and one more of the encoder's
    own than the architecture has; what belongs to heads is left out, and said in one line.
    """
    inside, heads = _inside(tensors, architecture, Path(folder))
    if heads:
        logging.info("%s: %d tensors of heads are left out (%s)", folder, len(heads),
                     ", ".join(sorted({name.split(".")[0] for name in heads})))
    asked: set[str] = set()

    def filled(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
        made = {}
        for name, leaf in tree.items():
            if isinstance(leaf, Mapping):
                made[name] = filled(leaf, (*path, name))
            else:
                source = _source((*path, name), architecture.family)
                asked.add(source)
                made[name] = _fitting(inside, source, name == "kernel", leaf.shape, folder)
        return made

    params = filled(template)
    more = sorted(name for name in inside if name not in asked and not name.endswith(BUFFERS))
    if more:
        raise MedFuseError(f"{folder}: tensor {more[0]} has no place in the network that config.json describes "
                           f"({architecture.depth} layers): copy both files again, of one checkpoint")
    return params


def _inside(tensors: Mapping[str, np.ndarray], architecture: Architecture,
            folder: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The encoder's own tensors without what stands before their names, and the names of all others."""
    modules = MODULES[architecture.family]
    anchor = f"{modules['words']}.weight"
    found = [name.removesuffix(anchor) for name in tensors if name == anchor or name.endswith(f".{anchor}")]
    if len(found) != 1:
        why = f"tensor {anchor} is missing" if not found else f"{len(found)} tensors are called {anchor}"
        raise MedFuseError(f"{folder}: {why}: the weights are not of the kind that config.json says; copy both again")
    roots = tuple({module.split(".")[0] + "." for module in modules.values()})
    inside = {_modern(name.removeprefix(found[0])): tensor for name, tensor in tensors.items()
              if name.startswith(found[0]) and name.removeprefix(found[0]).startswith(roots)}
    heads = [name for name in tensors if not name.removeprefix(found[0]).startswith(roots)
             or not name.startswith(found[0])]
    return dict(_plain(inside, architecture, folder)), heads


def _modern(name: str) -> str:
    """Norms of checkpoints that once came from TensorFlow have gamma and beta."""
    return name.replace(".LayerNorm.gamma", ".LayerNorm.weight").replace(".LayerNorm.beta", ".LayerNorm.bias")


def _plain(inside: Mapping[str, np.ndarray], architecture: Architecture,
           folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors as our encoder has them: one for each of query, key and value; sentence kind 0 lies in the places."""
    width = architecture.width
    for name, tensor in inside.items():
        if name.endswith(FUSED):
            whole = _fitting(inside, name, False, (3 * width, width), folder)
            for place, part in enumerate(("query", "key", "value")):
                yield name.replace(FUSED, f".attn.{part}.weight"), whole[place * width:(place + 1) * width]
        elif name == f"{MODULES['bert']['places']}.weight" and architecture.family in ("bert", "roberta"):
            kinds = inside.get(KINDS)
            if kinds is None or kinds.ndim != 2 or not len(kinds):
                raise MedFuseError(f"{folder}: tensor {KINDS} is missing or empty: copy the checkpoint again")
            first = _fitting({KINDS: kinds[:1]}, KINDS, False, (1, width), folder)
            yield name, _fitting(inside, name, False, (architecture.first + architecture.length, width), folder) + first
        elif name != KINDS:
            yield name, tensor


def _source(path: tuple[str, ...], family: str) -> str:
    """The checkpoint's name of one of our parameters."""
    *modules, leaf = path
    number = next((part.removeprefix("layer_") for part in modules if part.startswith("layer_")), "")
    ours = "/".join("layer_{}" if part.startswith("layer_") else part for part in modules)
    return f"{MODULES[family][ours].format(number)}.{LEAVES[leaf]}"


def _fitting(tensors: Mapping[str, np.ndarray], name: str, turned: bool, shape: tuple[int, ...],
             folder: str | Path) -> np.ndarray:
    """A tensor as float32, if it is there, fits and is finite."""
    if name not in tensors:
        raise MedFuseError(f"{folder}: tensor {name} is missing: copy the checkpoint again")
    tensor, wanted = tensors[name], tuple(shape)[::-1] if turned else tuple(shape)
    if tensor.shape != wanted:
        raise MedFuseError(f"{folder}: tensor {name} has shape {tensor.shape} where config.json asks for {wanted}: "
                           "copy both files again, of one checkpoint")
    if tensor.dtype.kind not in "fV":
        raise MedFuseError(f"{folder}: tensor {name} holds {tensor.dtype}, not floating point: choose the checkpoint "
                           "in floating point")
    tensor = np.ascontiguousarray(tensor.T if turned else tensor, np.float32)
    if not np.isfinite(tensor).all():
        raise MedFuseError(f"{folder}: tensor {name} holds NaN or infinite numbers: copy the checkpoint again")
    return tensor
