"""Tiny text encoders as checkpoint folders of the transformers library: random, and told by a seed alone."""

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
from flax import serialization
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from medfuse_jax.data import tokens

WIDTH, DEPTH, INNER, PLACES = 16, 3, 24, 130
_COMMON = dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=2, intermediate_size=INNER,
               max_position_embeddings=PLACES)
CONFIGS = {
    "bert": _COMMON | dict(model_type="bert", vocab_size=512, type_vocab_size=2, hidden_act="gelu",
                           layer_norm_eps=1e-12, pad_token_id=0),
    "roberta": _COMMON | dict(model_type="roberta", vocab_size=300, type_vocab_size=1, hidden_act="gelu",
                              layer_norm_eps=1e-5, pad_token_id=1),
    "modernbert": _COMMON | dict(model_type="modernbert", vocab_size=300, hidden_activation="gelu", norm_eps=1e-5,
                                 local_attention=4, global_attn_every_n_layers=2, pad_token_id=1),
    "clip_text_model": _COMMON | dict(model_type="clip_text_model", vocab_size=300, hidden_act="quick_gelu",
                                      layer_norm_eps=1e-5, pad_token_id=1),
}


def names(said: dict) -> dict[str, tuple[int, ...]]:
    """Every tensor of the encoder, by its name in the transformers library, with its shape."""
    kind, v, w, i, places = (said[name] for name in ("model_type", "vocab_size", "hidden_size", "intermediate_size",
                                                     "max_position_embeddings"))
    both = lambda name, o, n=None: {f"{name}.weight": (o,) if n is None else (o, n), f"{name}.bias": (o,)}  # noqa: E731
    if kind == "modernbert":
        found = {"embeddings.tok_embeddings.weight": (v, w), "embeddings.norm.weight": (w,)}
        for number in range(said["num_hidden_layers"]):
            at = f"layers.{number}."
            found |= {f"{at}attn_norm.weight": (w,)} if number else {}
            found |= {f"{at}attn.Wqkv.weight": (3 * w, w), f"{at}attn.Wo.weight": (w, w), f"{at}mlp_norm.weight": (w,),
                      f"{at}mlp.Wi.weight": (2 * i, w), f"{at}mlp.Wo.weight": (w, i)}
        return found | {"final_norm.weight": (w,)}
    if kind == "clip_text_model":
        found = {"embeddings.token_embedding.weight": (v, w), "embeddings.position_embedding.weight": (places, w)}
        parts = {"self_attn.q_proj": (w, w), "self_attn.k_proj": (w, w), "self_attn.v_proj": (w, w),
                 "self_attn.out_proj": (w, w), "layer_norm1": (w,), "mlp.fc1": (i, w), "mlp.fc2": (w, i),
                 "layer_norm2": (w,)}
        last, layers = both("final_layer_norm", w), "encoder.layers"
    else:
        found = {"embeddings.word_embeddings.weight": (v, w), "embeddings.position_embeddings.weight": (places, w),
                 "embeddings.token_type_embeddings.weight": (said["type_vocab_size"], w),
                 **both("embeddings.LayerNorm", w)}
        parts = {"attention.self.query": (w, w), "attention.self.key": (w, w), "attention.self.value": (w, w),
                 "attention.output.dense": (w, w), "attention.output.LayerNorm": (w,), "intermediate.dense": (i, w),
                 "output.dense": (w, i), "output.LayerNorm": (w,)}
        last, layers = {}, "encoder.layer"
    for number in range(said["num_hidden_layers"]):
        for part, shape in parts.items():
            found |= both(f"{layers}.{number}.{part}", *shape)
    return found | last


def tensors(said: dict, seed: int = 0, prefix: str = "") -> dict[str, np.ndarray]:
    """Random weights of a config, whatever the order of names: matrices of deviation 0.2, scales around one."""
    made = {}
    for place, (name, shape) in enumerate(sorted(names(said).items())):
        drawn = 0.2 * np.random.default_rng([seed, place]).standard_normal(shape, np.float32)
        norm = len(shape) == 1 and name.endswith(".weight")
        made[prefix + name] = drawn + np.float32(1.0) if norm else drawn
    return made


def write(folder: Path, kind: str = "bert", form: str = "safetensors", seed: int = 0, prefix: str = "",
          **changed: object) -> Path:
    """A whole checkpoint folder. form: safetensors, shards, zip, row (torch's older format), msgpack."""
    folder.mkdir(parents=True, exist_ok=True)
    said = CONFIGS[kind] | changed
    (folder / "config.json").write_text(json.dumps(said))
    weights(folder, tensors(said, seed, prefix), form)
    if kind == "bert":
        pieces = tokens.build(said["vocab_size"]).tokenizer.get_vocab()
        (folder / "vocab.txt").write_text("\n".join(sorted(pieces, key=pieces.get)) + "\n", encoding="utf-8")
    else:
        bytewise().save(str(folder / "tokenizer.json"))
    return folder


def bytewise() -> Tokenizer:
    """A RoBERTa's tokenizer that has learned no merges: a piece is a byte. It pads and cuts, as saved ones often do."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {name: number for number, name in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    made = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    made.add_special_tokens(special)
    made.enable_truncation(8)
    made.enable_padding(pad_id=1, pad_token="<pad>")
    return made


def weights(folder: Path, found: dict[str, np.ndarray], form: str) -> None:
    """The tensors in one of the forms in which checkpoints lie about."""
    if form == "safetensors":
        # save_file writes the bytes as they lie: of a transposed array, wrong values.
        save_file({name: np.ascontiguousarray(each) for name, each in found.items()}, folder / "model.safetensors")
    elif form == "shards":
        where = {name: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, name in enumerate(found)}
        for file in set(where.values()):
            save_file({name: np.ascontiguousarray(each) for name, each in found.items() if where[name] == file},
                      folder / file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    elif form == "msgpack":
        (folder / "flax_model.msgpack").write_bytes(serialization.msgpack_serialize(flaxed(found)))
    else:
        torch_file(folder / "pytorch_model.bin", found, form)


def flaxed(found: dict[str, np.ndarray]) -> dict:
    """The tree that the transformers library's Flax models had: kernels are i o."""
    tree: dict = {}
    for name, each in found.items():
        *path, last = name.split(".")
        at = tree
        for part in path:
            at = at.setdefault(part, {})
        kernel = last == "weight" and each.ndim == 2
        embedding = "embedding" in path[-1] if path else False
        at["embedding" if embedding else "kernel" if kernel else "scale" if last == "weight" else last] = (
            np.ascontiguousarray(each.T) if kernel and not embedding else each)
    return tree


# torch's own formats, opcode by opcode: tests need no torch to write them

def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def whole(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def several(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(whole, values)) + b"t"


def entry(key: str, each: np.ndarray, form: str, kind: str = "FloatStorage") -> bytes:
    """One tensor: a call of _rebuild_tensor_v2 on a storage."""
    view = b"N" if form == "row" else b""
    storage = (b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + whole(each.size) + view
               + b"tQ")
    strides = tuple(step // each.itemsize for step in np.ascontiguousarray(each).strides)
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + whole(0) + several(each.shape) + several(strides)
            + b"\x89ccollections\nOrderedDict\n)R" + b"tR")


def state(found: dict[str, np.ndarray], form: str, kind: str = "FloatStorage") -> bytes:
    """A state dictionary, with the notes on versions that torch leaves in it."""
    items = b"".join(text(name) + entry(str(key), each, form, kind) for key, (name, each) in enumerate(found.items()))
    return (b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(" + items + b"u}" + text("_metadata") + b"h\x00sb.")


def torch_file(path: Path, found: dict[str, np.ndarray], form: str, pickle: bytes | None = None,
               kind: str = "FloatStorage") -> None:
    """pytorch_model.bin in the zip format, or as the older row of pickles. pickle: another one in its place."""
    pickle = state(found, form, kind) if pickle is None else pickle
    raw = {str(key): np.ascontiguousarray(each).tobytes() for key, each in enumerate(found.values())}
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle)
            archive.writestr("archive/byteorder", "little")
            for key, each in raw.items():
                archive.writestr(f"archive/data/{key}", each)
        return
    magic = b"\x80\x02\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
    machine = b"\x80\x02}(" + text("protocol_version") + whole(1001) + text("little_endian") + b"\x88u."
    keys = b"\x80\x02](" + b"".join(map(text, raw)) + b"e."
    sizes = {str(key): each.size for key, each in enumerate(found.values())}
    rows = b"".join(struct.pack("<q", sizes[key]) + each for key, each in raw.items())
    path.write_bytes(magic + b"\x80\x02" + whole(1001) + b"." + machine + pickle + keys + rows)
