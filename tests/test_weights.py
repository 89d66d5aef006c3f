"""Checkpoint folders of others: every form gives the same numbers, and nothing in them is run or believed unseen."""

import json
import logging
import pickletools
import struct
import zipfile

import encoders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medfuse_jax.errors import MedFuseError
from medfuse_jax.models import bert
from medfuse_jax.weights import architecture, folder, layout, pickled

FORMS = ("safetensors", "shards", "zip", "row", "msgpack")
SAID = encoders.CONFIGS["bert"]
QUERY = "encoder.layer.1.attention.self.query.weight"


def read(place):
    its = architecture.read(place)
    return layout.fill(bert.blank(its), folder.tensors(place), its, place)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["bert", "clip_text_model"])
def test_every_form_of_file_gives_the_same_numbers(form, kind, tmp_path):
    place = encoders.write(tmp_path, kind, form)
    found = folder.tensors(place)
    assert found.keys() == encoders.tensors(encoders.CONFIGS[kind]).keys()
    for name, expected in encoders.tensors(encoders.CONFIGS[kind]).items():
        np.testing.assert_array_equal(found[name], expected)
    query = read(place)["layer_1"]["query"]["kernel"]
    name = QUERY if kind == "bert" else "encoder.layers.1.self_attn.q_proj.weight"
    np.testing.assert_array_equal(query, expected_query := encoders.tensors(encoders.CONFIGS[kind])[name].T)
    assert query.flags.c_contiguous and not np.array_equal(query, expected_query.T)


def test_half_precision_is_read(tmp_path):
    found = encoders.tensors(SAID)
    for form in ("zip", "row"):
        # bfloat16 is the upper half of float32
        halves = {name: (each.view(np.uint32) >> 16).astype(np.uint16) for name, each in found.items()}
        encoders.torch_file(tmp_path / f"{form}.bin", halves, form, kind="BFloat16Storage")
        told = pickled.tensors(tmp_path / f"{form}.bin")
        np.testing.assert_allclose(told[QUERY], found[QUERY], rtol=2**-7)
        assert told[QUERY].dtype == np.float32
    place = encoders.write(tmp_path / "half")
    encoders.weights(place, {name: each.astype(np.float16) for name, each in found.items()}, "safetensors")
    np.testing.assert_allclose(read(place)["layer_1"]["query"]["kernel"], found[QUERY].T, atol=1e-3)


def test_torch_files_are_read_in_shards_too(tmp_path):
    place, found = encoders.write(tmp_path), encoders.tensors(SAID)
    (place / "model.safetensors").unlink()
    where = {name: f"pytorch_model-{1 + len(name) % 2}.bin" for name in found}
    for file, form in (("pytorch_model-1.bin", "zip"), ("pytorch_model-2.bin", "row")):
        encoders.torch_file(place / file, {name: found[name] for name in found if where[name] == file}, form)
    (place / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    np.testing.assert_array_equal(read(place)["layer_1"]["query"]["kernel"], found[QUERY].T)


@pytest.mark.parametrize("prefix", ["", "bert.", "module.bert."])
def test_heads_are_left_out_and_said_in_one_line(prefix, tmp_path, caplog):
    place = encoders.write(tmp_path, prefix=prefix)
    more = {"cls_projection_head.dense_to_hidden.weight": np.ones((3, 16), np.float32),
            f"{prefix}pooler.dense.weight": np.ones((16, 16), np.float32),
            f"{prefix}embeddings.position_ids": np.arange(5)[None], "cls.predictions.bias": np.ones(9, np.float32)}
    encoders.weights(place, encoders.tensors(SAID, prefix=prefix) | more, "safetensors")
    with caplog.at_level(logging.INFO):
        params = read(place)
    expected = encoders.tensors(SAID)["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(params["words"]["embedding"], expected)
    said = [line for line in caplog.messages if "heads" in line]
    assert len(said) == 1 and "3 tensors of heads are left out" in said[0] and "cls_projection_head" in said[0]


def test_old_names_of_norms_are_known(tmp_path):
    place = encoders.write(tmp_path)
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): each
           for name, each in encoders.tensors(SAID).items()}
    expected = read(place)["layer_0"]["attention_norm"]["scale"]
    encoders.weights(place, old, "safetensors")
    np.testing.assert_array_equal(read(place)["layer_0"]["attention_norm"]["scale"], expected)


def spoilt(change):
    found = encoders.tensors(SAID)
    change(found)
    return found


@pytest.mark.parametrize("change, told", [
    (lambda t: t.pop(QUERY), f"tensor {QUERY} is missing"),
    (lambda t: t.update({QUERY: t[QUERY][:8]}), rf"tensor {QUERY} has shape \(8, 16\) where .* asks for \(16, 16\)"),
    (lambda t: t.update({QUERY: np.where(np.eye(16) > 0, np.nan, t[QUERY]).astype(np.float32)}), f"{QUERY} holds NaN"),
    (lambda t: t.update({QUERY: t[QUERY].astype(np.int8)}), f"tensor {QUERY} holds int8, not floating point"),
    (lambda t: t.update({QUERY.replace(".1.", ".3."): t[QUERY]}), r"layer.3.*has no place in .*\(3 layers\)"),
    (lambda t: t.pop("embeddings.word_embeddings.weight"), "tensor embeddings.word_embeddings.weight is missing"),
    (lambda t: t.pop("embeddings.token_type_embeddings.weight"), "token_type_embeddings.weight is missing or empty"),
    (lambda t: t.update({"vision.embeddings.word_embeddings.weight": t[QUERY]}), "2 tensors are called"),
])
def test_tensors_that_do_not_fit_are_refused_by_name(change, told, tmp_path):
    place = encoders.write(tmp_path)
    encoders.weights(place, spoilt(change), "safetensors")
    with pytest.raises(MedFuseError, match=told) as refused:
        read(place)
    assert str(place) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("changed, told", [
    (dict(model_type="t5"), "model_type='t5' is not built here: choose a checkpoint of one of bert, cxr-bert, roberta"),
    (dict(model_type=[]), r"model_type=\[\] is not built here"),
    (dict(position_embedding_type="relative_key"), "position_embedding_type='relative_key' is not built here"),
    (dict(is_decoder=True), "is_decoder=True is not built here"), (dict(hidden_act="gelu_10"), "hidden_act='gelu_10'"),
    (dict(num_attention_heads=3), "num_attention_heads=3 does not divide hidden_size=16"),
    (dict(num_hidden_layers=0), "num_hidden_layers=0 must be a whole number of at least 1"),
    (dict(vocab_size="many"), "vocab_size='many' must be a whole number"), (dict(hidden_size=True), "hidden_size=True"),
    (dict(layer_norm_eps=0), "layer_norm_eps=0 must be a number above 0"),
    (dict(quantization_config=dict(bits=4)), "quantization_config: quantised weights are not read"),
])
def test_a_network_that_is_not_built_here_is_refused_by_its_field(changed, told, tmp_path):
    place = encoders.write(tmp_path)
    (place / "config.json").write_text(json.dumps(SAID | changed))
    with pytest.raises(MedFuseError, match=told) as refused:
        architecture.read(place)
    assert str(place / "config.json") in str(refused.value)


@pytest.mark.parametrize("changed, told", [
    (dict(layer_types=["sliding_attention"] * 3), "layer_types"), (dict(layer_types=3), "layer_types"),
    (dict(rope_parameters=[1]), "rope_parameters of full_attention"),
    (dict(norm_bias=True), "norm_bias=True"),
    (dict(rope_parameters=dict(full_attention=dict(rope_type="yarn"))), "rope_parameters of full_attention"),
])
def test_a_modernbert_with_other_options_is_refused(changed, told, tmp_path):
    place = encoders.write(tmp_path, "modernbert")
    (place / "config.json").write_text(json.dumps(encoders.CONFIGS["modernbert"] | changed))
    with pytest.raises(MedFuseError, match=told):
        architecture.read(place)


def call(module, name, argument):
    """A pickle that would call module.name(argument)."""
    return b"\x80\x02c" + f"{module}\n{name}\n(".encode() + encoders.text(argument) + b"tR."


@pytest.mark.parametrize("form", ["zip", "row"])
@pytest.mark.parametrize("pickle, told", [
    (call("os", "system", "touch {}"), "names os.system"),
    (call("builtins", "eval", "open('{}', 'w')"), "names builtins.eval"),
    (call("torch.storage", "_load_from_bytes", "{}"), "names torch.storage._load_from_bytes"),
    (b"\x80\x04" + b"\x8c\x02os" + b"\x8c\x06system" + b"\x93\x8c\x01x\x85R.", "names os.system"),
    (b"(S'touch {}'\nios\nsystem\n.", "opcode STRING"), (b"\x80\x02}N\x81.", "opcode NEWOBJ"),
    (b"\x80\x02ctorch\nFloatStorage\n)R.", "calls something as no file of weights does"),
    (b"\x80\x02X\x01\x00\x00\x00a)R.", "calls something"), (b"\x80\x02]X\x01\x00\x00\x00ab.", "where a dict belongs"),
    (b"\x80\x02}(X\x01\x00\x00\x00aK\x01u.", "'a' is not a tensor"), (b"\x80\x02]K\x01Q.", "a storage is described"),
    (b"\x80\x02}()K\x01u.", "a tuple stands where a str belongs"), (b"\x80\x02K\x01.", "holds no names with tensors"),
    (b"\x80\x02cos\\d\nx\n.", "not a whole file of weights"),
    (b"\x80\x02h\x07.", "not a whole file of weights"), (b"\x80\x02}", "not a whole file|no names with tensors"),
    (b"", "not a whole file of weights|holds no names with tensors"),
])
def test_a_pickle_that_would_do_something_is_refused_and_does_nothing(pickle, told, form, tmp_path):
    trap, place = tmp_path / "trap", encoders.write(tmp_path / "x", form=form)
    pickle = pickle.replace(b"{}", str(trap).encode())
    encoders.torch_file(place / "pytorch_model.bin", encoders.tensors(SAID), form, pickle)
    with pytest.raises(MedFuseError, match=told) as refused:
        folder.tensors(place)
    assert not trap.exists() and "\n" not in str(refused.value) and str(place) in str(refused.value)


@pytest.mark.parametrize("offset, shape, stride", [
    (0, (17, 16), (16, 1)), (1, (16, 16), (16, 1)), (0, (16, 16), (16, 2)), (-1, (2,), (1,)), (0, (2,), (-1,)),
    (0, (2, 2), (1,)), (0, (16, 16), (2**30, 1)),
])
def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(offset, shape, stride, tmp_path):
    tensor = pickled.Tensor(pickled.Storage(np.dtype("<f4"), "0", 256), offset, shape, stride)
    with pytest.raises(MedFuseError, match="a.bin: name reaches beyond its numbers"):
        pickled.array(tmp_path / "a.bin", "name", tensor, bytes(1024))


def test_views_of_one_storage_are_read(tmp_path):
    each, storage = np.arange(12, dtype=np.float32), pickled.Storage(np.dtype("<f4"), "0", 12)
    view = pickled.Tensor(storage, 1, (3, 2), (1, 4))
    np.testing.assert_array_equal(pickled.array(tmp_path, "a", view, each.tobytes()), each[1:].reshape(-1)[
        np.arange(3)[:, None] + 4 * np.arange(2)])
    assert pickled.array(tmp_path, "a", pickled.Tensor(storage, 0, (0, 4), (4, 1)), each.tobytes()).shape == (0, 4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_cut_file_is_refused_by_its_name(form, share, tmp_path):
    place = encoders.write(tmp_path, form=form)
    file = folder.files(place)[-1]
    whole = file.read_bytes()
    file.write_bytes(whole[:int(share * len(whole))])
    with pytest.raises(MedFuseError) as refused:
        read(place)
    assert file.name in str(refused.value) and "copy it again" in str(refused.value)


def test_a_zip_that_is_not_torchs_is_refused(tmp_path):
    place = encoders.write(tmp_path, form="zip")
    file = place / "pytorch_model.bin"
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for told, changed, how in (
            ("compressed", parts, zipfile.ZIP_DEFLATED), ("little-endian", parts | {"archive/byteorder": b"big"}, 0),
            ("holds no data.pkl", {"a/b": b""}, 0), ("has 4 bytes where", parts | {"archive/data/3": b"abcd"}, 0),
            ("the numbers of .* are missing", {n: p for n, p in parts.items() if n != "archive/data/3"}, 0)):
        with zipfile.ZipFile(file, "w", how) as archive:
            for name, part in changed.items():
                archive.writestr(name, part)
        with pytest.raises(MedFuseError, match=told):
            folder.tensors(place)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_a_damaged_file_holds_it_ends_in_numbers_or_one_line(data, tmp_path_factory):
    """Bytes of a file are changed, cut or doubled at random."""
    some = {name: each for name, each in encoders.tensors(SAID).items() if name.startswith("encoder.layer.0.output")}
    form = data.draw(st.sampled_from(["zip", "row"]))
    path = tmp_path_factory.mktemp("damaged") / "pytorch_model.bin"
    encoders.torch_file(path, some, form)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place:place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(bytes(raw))
    try:
        assert all(isinstance(each, np.ndarray) for each in pickled.tensors(path).values())
    except MedFuseError as refused:
        assert str(path) in str(refused) and "\n" not in str(refused)


def test_shards_must_lie_beside_their_index(tmp_path):
    place = encoders.write(tmp_path / "x", form="shards")
    index = place / "model.safetensors.index.json"
    where = json.loads(index.read_text())["weight_map"]
    for name in ("../secret.safetensors", "gone.safetensors"):
        index.write_text(json.dumps({"weight_map": where | {QUERY: name}}))
        with pytest.raises(MedFuseError, match=f"its shard {name} is not beside it"):
            folder.tensors(place)
    for broken in ("{", "[]", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}', '{"weight_map": {"a": []}}'):
        index.write_text(broken)
        with pytest.raises(MedFuseError, match="not an index of shards"):
            folder.tensors(place)
    index.unlink()
    with pytest.raises(MedFuseError, match="no weights there: one of model.safetensors, "):
        folder.tensors(place)


def test_the_digest_follows_the_contents_and_not_the_place(tmp_path):
    one, same, other = (encoders.write(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert folder.digest(one) == folder.digest(same) != folder.digest(other)
    (same / "vocab.txt").write_text("a\n")
    assert folder.digest(one) != folder.digest(same)


def test_only_the_opcodes_of_weights_are_known():
    """What could import, call or build by itself is not among them."""
    known = pickled.PLAIN | set(pickled.EMPTY) | set(pickled.CONSTANTS) | set(pickled.TUPLES)
    assert known <= {opcode.name for opcode in pickletools.opcodes}
    assert not known & {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"}
    assert struct.calcsize("<q") == 8 and len(pickled.KNOWN) == 3 + len(pickled.STORAGES)
