"""Pretrained encoders against torch: its numbers, written down once, and torch itself where it is installed."""

import json

import encoders
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medfuse_jax.methods import lora
from medfuse_jax.models import bert
from medfuse_jax.weights import architecture, folder, layout

WORDS = np.random.default_rng(7).integers(5, 300, (2, 9)).astype(np.int32)
MASK = np.arange(9)[None] < np.array([[9], [6]])

# Last hidden states of `encoders.tensors` (seed 0) by transformers 5.24 on torch 2.13: the first six numbers of the
# first and the last word of one sentence, and of the last of the other, which is padded; then the sum of magnitudes.
GOLDEN = {
    "bert": "-0.717295 1.984560 1.583268 1.072279 1.462983 -0.188259 -0.288926 1.725493 2.749430 "
            "0.433001 -0.704741 -0.429622 -1.026316 1.594338 1.238026 2.353060 -0.213020 -0.205623 190.3836",
    "roberta": "-0.220420 1.924600 2.008936 1.045600 1.394692 -0.839601 -0.623359 1.443598 3.076873 "
               "1.440418 0.171844 -0.716583 -1.039926 1.101992 1.530331 2.439451 0.243452 -0.007005 192.9806",
    "modernbert": "0.183278 -0.117079 0.352014 -1.855969 1.525512 -0.395551 1.412344 -1.579725 -0.075284 "
                  "-1.007357 1.010821 -1.459044 0.143556 0.420380 0.758625 1.022563 -0.041345 1.414108 186.8881",
    "clip_text_model": "-0.293938 1.707486 1.487736 -1.720855 0.586245 -0.854547 0.587618 0.801347 0.081639 "
                       "-0.609493 0.411229 -1.877963 0.362159 -0.503412 -0.881516 -0.602733 1.128653 -0.140072 "
                       "202.3019",
}


def loaded(place):
    its = architecture.read(place)
    return bert.Encoder(its), layout.fill(bert.blank(its), folder.tensors(place), its, place)


@pytest.mark.parametrize("kind", GOLDEN)
def test_an_encoder_says_what_torch_says(kind, tmp_path):
    encoder, params = loaded(encoders.write(tmp_path, kind))
    said = np.asarray(encoder.apply({"params": params}, WORDS, MASK))
    *numbers, total = map(float, GOLDEN[kind].split())
    np.testing.assert_allclose(np.concatenate([said[0, 0, :6], said[0, 8, :6], said[1, 5, :6]]), numbers, atol=1e-5)
    assert np.abs(said[MASK]).sum() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("kind", GOLDEN)
def test_padding_is_not_read(kind, tmp_path):
    encoder, params = loaded(encoders.write(tmp_path, kind))
    say = jax.jit(lambda words, mask: encoder.apply({"params": params}, words, mask))
    said, other = say(WORDS, MASK), say(np.where(MASK, WORDS, 11), MASK)
    np.testing.assert_array_equal(np.asarray(said)[MASK], np.asarray(other)[MASK])
    alone = encoder.apply({"params": params}, WORDS[1:, :6], MASK[1:, :6])
    np.testing.assert_allclose(said[1, :6], alone[0], atol=1e-5)


def test_an_encoder_that_was_trained_to_say_the_next_word_does_not_see_it(tmp_path):
    encoder, params = loaded(encoders.write(tmp_path, "clip_text_model"))
    other = np.where(np.arange(9) == 8, WORDS + 1, WORDS)
    both = [np.asarray(encoder.apply({"params": params}, words, np.ones_like(MASK))) for words in (WORDS, other)]
    assert list(np.abs(both[0] - both[1]).max(axis=(0, 2)) == 0) == [True] * 8 + [False]


def test_what_saves_memory_changes_neither_names_nor_numbers(tmp_path):
    encoder, params = loaded(encoders.write(tmp_path))
    saving = bert.Encoder(encoder.architecture, remat=True)
    shapes = jax.eval_shape(saving.init, jax.random.key(0), WORDS, MASK)["params"]
    assert jax.tree.structure(shapes) == jax.tree.structure(params)
    np.testing.assert_allclose(saving.apply({"params": params}, WORDS, MASK),
                               encoder.apply({"params": params}, WORDS, MASK), atol=1e-6)
    short = bert.Encoder(encoder.architecture, dtype=jnp.bfloat16).apply({"params": params}, WORDS, MASK)
    assert short.dtype == jnp.bfloat16
    np.testing.assert_allclose(short.astype(jnp.float32), encoder.apply({"params": params}, WORDS, MASK), atol=0.2)


@pytest.mark.parametrize("kind", GOLDEN)
def test_a_low_rank_step_begins_at_the_pretrained_network_and_is_a_product(kind, tmp_path):
    _, params = loaded(encoders.write(tmp_path, kind))
    deltas = lora.start(3, params, 2)
    assert sorted(deltas) == [f"layer_{number}" for number in range(encoders.DEPTH)]
    assert all(sorted(layer) == ["query", "value"] for layer in deltas.values())
    same = lora.adapted(params, deltas, 2.0)
    jax.tree.map(np.testing.assert_array_equal, same, params)
    deltas = jax.tree.map(lambda leaf: leaf + np.random.default_rng(leaf.size).random(leaf.shape, np.float32), deltas)
    told = lora.adapted(params, deltas, 2.0)
    one = deltas["layer_1"]["value"]
    np.testing.assert_allclose(told["layer_1"]["value"]["kernel"] - params["layer_1"]["value"]["kernel"],
                               2.0 * one["inward"] @ one["outward"], atol=1e-6)
    assert np.linalg.matrix_rank(told["layer_1"]["value"]["kernel"] - params["layer_1"]["value"]["kernel"], 1e-4) == 2
    assert told["layer_0"]["key"] is params["layer_0"]["key"] and told["words"] is params["words"]


CLASSES = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert",
           "modernbert": "ModernBert", "clip_text_model": "CLIPText"}


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", CLASSES)
def test_random_networks_agree_with_torch(kind, seed, tmp_path):
    """As the transformers library saves them, heads included, in each of its forms of file."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    random = np.random.default_rng(seed)
    heads = int(random.integers(1, 5))
    activation = "hidden_activation" if kind == "modernbert" else "hidden_act"
    more = {"modernbert": dict(local_attention=6)}.get(kind, dict(type_vocab_size=1) if "ert" in kind else {})
    said = dict(vocab_size=int(random.integers(40, 99)), hidden_size=heads * 2 * int(random.integers(2, 9)),
                num_hidden_layers=int(random.integers(1, 6)), num_attention_heads=heads,
                intermediate_size=int(random.integers(5, 70)), max_position_embeddings=40, bos_token_id=0,
                eos_token_id=2, pad_token_id=1, **{activation: ("gelu", "silu", "relu", "gelu_new")[seed]}, **more)
    config = getattr(transformers, f"{CLASSES[kind]}Config")(**said, attn_implementation="eager")
    headed = seed % 2 and kind != "clip_text_model"
    model = getattr(transformers, f"{CLASSES[kind]}{'ForMaskedLM' if headed else 'Model'}")(config).eval()
    with torch.no_grad():
        for leaf in model.parameters():
            leaf.copy_(torch.from_numpy(0.2 * random.standard_normal(tuple(leaf.shape)).astype(np.float32)))
    model.save_pretrained(tmp_path)
    if seed > 1:
        (tmp_path / "model.safetensors").unlink()
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=seed == 2)
    encoder, params = loaded(tmp_path)
    length = int(random.integers(5, 38))
    words, mask = random.integers(3, 40, (5, length)), np.arange(length)[None] < random.integers(1, length + 1, (5, 1))
    words = np.where(mask, words, 1)
    with torch.no_grad():
        its = (model.base_model if headed else model)(input_ids=torch.from_numpy(words),
                                                      attention_mask=torch.from_numpy(mask.astype(np.int64)))
    ours = np.asarray(encoder.apply({"params": params}, words.astype(np.int32), mask))
    assert np.abs(ours - its.last_hidden_state.numpy())[mask].max() <= 1e-5


def test_the_config_is_read_as_it_is_written(tmp_path):
    its = architecture.read(encoders.write(tmp_path / "a", "roberta"))
    assert (its.family, its.vocabulary, its.first, its.length) == ("roberta", 300, 2, encoders.PLACES - 2)
    old = architecture.read(encoders.write(tmp_path / "b", "modernbert"))
    said = {name: value for name, value in encoders.CONFIGS["modernbert"].items() if "every" not in name}
    said |= dict(layer_types=["full_attention", "sliding_attention", "full_attention"], rope_parameters={
        "full_attention": dict(rope_theta=160_000.0, rope_type="default"),
        "sliding_attention": dict(rope_theta=10_000.0, rope_type="default")})
    (tmp_path / "b/config.json").write_text(json.dumps(said))
    assert architecture.read(tmp_path / "b") == old and old.every == 2 and old.window == 2
    whole = dict(model_type="clip", text_config=encoders.CONFIGS["clip_text_model"], vision_config={})
    (tmp_path / "b/config.json").write_text(json.dumps(whole))
    assert architecture.read(tmp_path / "b").family == "clip"
