"""What a text encoder's config.json says of its network, in the few numbers that are needed to build it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medfuse_jax.errors import MedFuseError

FAMILIES = {"bert": "bert", "cxr-bert": "bert", "roberta": "roberta", "xlm-roberta": "roberta", "camembert": "roberta",
            "modernbert": "modernbert", "clip_text_model": "clip"}
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu",
               "silu": "silu", "swish": "silu", "quick_gelu": "quick_gelu"}

# What a field is when config.json does not name it: as the transformers library has it.
_BERT = dict(vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
             max_position_embeddings=512, hidden_act="gelu", layer_norm_eps=1e-12, pad_token_id=0)
DEFAULTS: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "roberta": _BERT | dict(vocab_size=50265, pad_token_id=1),
    "modernbert": dict(vocab_size=50368, hidden_size=768, num_hidden_layers=22, num_attention_heads=12,
                       intermediate_size=1152, max_position_embeddings=8192, hidden_activation="gelu", norm_eps=1e-5,
                       local_attention=128, global_attn_every_n_layers=3, global_rope_theta=160_000.0,
                       local_rope_theta=10_000.0),
    "clip": dict(vocab_size=49408, hidden_size=512, num_hidden_layers=12, num_attention_heads=8,
                 intermediate_size=2048, max_position_embeddings=77, hidden_act="quick_gelu", layer_norm_eps=1e-5),
}
# Options that would be another network, each with the only value that is built here.
ONLY: dict[str, dict[str, Any]] = {
    "bert": dict(position_embedding_type="absolute", is_decoder=False, add_cross_attention=False),
    "modernbert": dict(attention_bias=False, mlp_bias=False, norm_bias=False),
    "clip": {},
}
ONLY["roberta"] = ONLY["bert"]


@dataclass(frozen=True)
class Architecture:
    """The network of a text encoder. Flat and of plain values, so that a run's config can keep it."""

    family: str               # bert | roberta | modernbert | clip
    vocabulary: int
    length: int               # most word pieces of a sentence
    width: int
    depth: int
    heads: int
    inner: int                # numbers between the two dense layers of a layer
    activation: str
    epsilon: float            # of its norms
    first: int = 0            # position of the first word (roberta begins after the padding's)
    window: int = 0           # modernbert: how far, in words, its local layers see
    every: int = 1            # modernbert: each so many layers, one sees everything
    theta: float = 0.0        # modernbert: base of the rotation, in the layers that see everything
    theta_local: float = 0.0


def read(folder: str | Path) -> Architecture:
    """The architecture of a checkpoint folder; MedFuseError naming config.json's field when it is not one of ours."""
    path = Path(folder) / "config.json"
    said = _json(path)
    if said.get("model_type") == "clip" and isinstance(said.get("text_config"), Mapping):
        said = {**said["text_config"], "model_type": "clip_text_model"}
    kind = said.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise MedFuseError(f"{path}: model_type={kind!r} is not built here: choose a checkpoint of one of "
                           f"{', '.join(FAMILIES)}")
    family = FAMILIES[kind]
    for name, only in ONLY[family].items():
        if said.get(name, only) != only:
            raise MedFuseError(f"{path}: {name}={said[name]!r} is not built here, only {only!r}: choose another "
                               "checkpoint")
    if said.get("quantization_config"):
        raise MedFuseError(f"{path}: quantization_config: quantised weights are not read: choose the checkpoint in "
                           "floating point")
    fields = _Fields(path, DEFAULTS[family] | said)
    width, heads = fields.whole("hidden_size"), fields.whole("num_attention_heads")
    if width % heads:
        raise MedFuseError(f"{path}: num_attention_heads={heads} does not divide hidden_size={width}: copy the file "
                           "again")
    first = fields.whole("pad_token_id", least=0) + 1 if family == "roberta" else 0
    places, modern = fields.whole("max_position_embeddings", least=first + 1), family == "modernbert"
    return Architecture(
        family, fields.whole("vocab_size"), places - first, width, fields.whole("num_hidden_layers"), heads,
        fields.whole("intermediate_size"), fields.activation("hidden_activation" if modern else "hidden_act"),
        fields.number("norm_eps" if modern else "layer_norm_eps"), first, **(_modern(fields) if modern else {}))


def _modern(fields: "_Fields") -> dict[str, Any]:
    """Which layers of a ModernBERT see how far, and how they tell places apart; both spellings of its config."""
    said, depth = fields.said, fields.whole("num_hidden_layers")
    every, window = fields.whole("global_attn_every_n_layers"), fields.whole("local_attention", least=2) // 2
    if said.get("layer_types"):
        kinds = said["layer_types"] if isinstance(said["layer_types"], list) else []
        wide = [kind == "full_attention" for kind in kinds]
        every = next((place for place in range(1, depth) if wide[place:place + 1] == [True]), depth)
        if wide != [place % every == 0 for place in range(depth)]:
            raise MedFuseError(f"{fields.path}: layer_types: only layers that see everything at regular steps, the "
                               "first among them, are built here")
    theta, local = fields.number("global_rope_theta"), fields.number("local_rope_theta")
    if said.get("rope_parameters"):
        theta, local = (fields.rotation(kind, old) for kind, old in (("full_attention", theta),
                                                                     ("sliding_attention", local)))
    return dict(window=window, every=every, theta=theta, theta_local=local)


class _Fields:
    """Fields of a config.json, checked when they are asked for."""

    def __init__(self, path: Path, said: Mapping[str, Any]):
        self.path, self.said = path, said

    def whole(self, name: str, least: int = 1) -> int:
        value = self.said[name]
        if type(value) is not int or not least <= value < 2**31:
            raise MedFuseError(f"{self.path}: {name}={value!r} must be a whole number of at least {least}: copy the "
                               "file again")
        return value

    def number(self, name: str) -> float:
        return self.positive(name, self.said[name])

    def positive(self, name: str, value: Any) -> float:
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            raise MedFuseError(f"{self.path}: {name}={value!r} must be a number above 0: copy the file again")
        return float(value)

    def activation(self, name: str) -> str:
        value = self.said[name]
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise MedFuseError(f"{self.path}: {name}={value!r} is not built here, only {', '.join(ACTIVATIONS)}: "
                               "choose another checkpoint")
        return ACTIVATIONS[value]

    def rotation(self, kind: str, default: float) -> float:
        """The base of the rotary positions of a kind of layer."""
        given = self.said["rope_parameters"]
        given = given.get(kind) or {} if isinstance(given, Mapping) else None
        if not isinstance(given, Mapping) or given.get("rope_type", "default") != "default":
            raise MedFuseError(f"{self.path}: rope_parameters of {kind} are not built here, only rope_type='default': "
                               "choose another checkpoint")
        return self.positive(f"rope_theta of {kind}", given.get("rope_theta", default))


def _json(path: Path) -> dict[str, Any]:
    """What config.json holds."""
    if not path.is_file():
        raise MedFuseError(f"{path.parent}: no config.json there: give the folder of a checkpoint as the transformers "
                           "library saves it (config.json, tokenizer.json, model.safetensors)")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MedFuseError(f"{path}: cannot be read ({error}): copy it again") from error
    if not isinstance(said, dict):
        raise MedFuseError(f"{path}: not a config.json of a network: copy it again")
    return said
