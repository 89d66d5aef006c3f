"""An alignment with a pretrained encoder: trained, gone on with, judged, and lent without the encoder's folder."""

import json
import logging
import shutil

import encoders
import jax
import numpy as np
import pytest
import tokenizers

from medfuse_jax import MedFuse, overrides
from medfuse_jax import family as house
from medfuse_jax.data import language, pretrained, tokens
from medfuse_jax.errors import MedFuseError
from medfuse_jax.evaluation import suites
from medfuse_jax.stages import alignment
from medfuse_jax.stages import pretrained as encoder
from medfuse_jax.train import checkpoint, state

PROMPT = "FLAIR, nine periventricular lesions, severe thalamic atrophy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT's folder with our own vocabulary as vocab.txt."""
    return encoders.write(tmp_path_factory.mktemp("bert") / "checkpoint")


@pytest.fixture(scope="module")
def train(family, root):
    """Train a stage in another workdir, on the tiny family's autoencoder."""
    def trained(workdir, *changes, stage="alignment"):
        config = overrides.load(root / f"configs/{stage}.py", "tiny")
        changes = ["mesh.data=1", "data.jobs=1", f"borrow.autoencoder={family / 'autoencoder'}", *changes]
        return house.train(overrides.change(config, changes, "config"), workdir, root / "configs")
    return trained


@pytest.fixture(scope="module")
def runs(train, folder, tmp_path_factory):
    """A finished alignment for each way of tuning."""
    made = {}
    for tune in ("frozen", "lora", "full"):
        made[tune] = tmp_path_factory.mktemp(tune)
        train(made[tune], f"text.pretrained={folder}", f"text.tune={tune}", "text.lora.rank=2")
    return made


@pytest.mark.parametrize("tune", ["frozen", "lora", "full"])
def test_only_what_is_tuned_moves(runs, folder, tune):
    params, config, meta = checkpoint.load_params(runs[tune] / "alignment")
    table = encoders.tensors(encoders.CONFIGS["bert"])
    query = table["encoder.layer.1.attention.self.query.weight"].T
    same = np.array_equal(params["pretrained"]["layer_1"]["query"]["kernel"], query)
    assert same == (tune != "full")
    assert ("lora" in params) == (tune == "lora")
    if tune == "lora":
        assert params["lora"]["layer_1"]["query"]["outward"].any()
    held = {name.split(".")[0] for name in meta["digest"] if "pretrained" in name.split(".")}
    assert held == ({"params", "opt", "ema"} if tune == "full" else {"given"})
    learned = json.loads((runs[tune] / "alignment/summary.json").read_text())["parameters"]
    whole = sum(leaf.size for leaf in jax.tree.leaves(params))
    inside = sum(leaf.size for leaf in jax.tree.leaves(params["pretrained"]))
    assert learned == (whole if tune == "full" else whole - inside)


def test_low_rank_begins_where_frozen_begins_and_both_at_the_checkpoint(runs, family, train, folder, monkeypatch):
    """The first loss is one and the same; every tuned number then has a gradient."""
    caught = {}
    monkeypatch.setattr(house.loop, "fit", lambda stage, examples, config, place: caught.update(
        {config.text.tune: (stage, examples, config)}))
    losses = {}
    for tune in ("frozen", "lora", "full"):
        train(runs[tune], f"text.pretrained={folder}", f"text.tune={tune}", "text.lora.rank=2", "steps=9")
        stage, examples, config = caught[tune]
        begun, batch = state.create(stage, config, examples), next(examples.train(4))
        see = jax.jit(state.gradient(stage, 1))
        slope, told = see(begun["params"], begun["given"], stage.frozen, batch, jax.random.key(0))
        losses[tune] = float(told["loss"])
        expected = {"frozen": set(), "lora": {"lora"}, "full": {"pretrained"}}[tune]
        assert set(slope) & {"lora", "pretrained"} == expected
        if tune == "full":
            leaves = jax.tree_util.tree_leaves_with_path(slope["pretrained"])
            assert all(np.any(leaf) for path, leaf in leaves if "key" not in str(path) or "kernel" in str(path))
        if tune == "lora":
            assert all(leaf["outward"].any() for layer in slope["lora"].values() for leaf in layer.values())
    assert losses["frozen"] == pytest.approx(losses["lora"], abs=1e-6) == pytest.approx(losses["full"], abs=1e-6)


def test_a_run_goes_on_and_is_lent_without_the_checkpoints_folder(runs, train, folder, tmp_path, family, caplog):
    """The folder is gone: the run continues, is judged, is borrowed, and a volume is drawn with its words."""
    place = encoders.write(tmp_path / "gone")
    shutil.copytree(runs["lora"], tmp_path / "runs")
    train(tmp_path / "runs", f"text.pretrained={place}", "text.tune=lora", "text.lora.rank=2")     # same contents
    with pytest.raises(MedFuseError, match="text.pretrained=.*gone: no folder there"):
        shutil.rmtree(place)
        train(tmp_path / "runs", f"text.pretrained={place}", "text.tune=lora", "text.lora.rank=2", "steps=6")

    config = json.loads((tmp_path / "runs/alignment/config.json").read_text())
    config["text"]["pretrained"] = str(place)                           # as it were, had it been trained from there
    (tmp_path / "runs/alignment/config.json").write_text(json.dumps(config))
    with caplog.at_level(logging.INFO):
        train(tmp_path / "runs", f"text.pretrained={place}", "text.tune=lora", "text.lora.rank=2", "steps=6")
    assert any("is no longer there; the run has its weights" in line for line in caplog.messages)
    lines = (tmp_path / "runs/alignment/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]

    final = json.loads((tmp_path / "runs/alignment/summary.json").read_text())["final"]
    assert {f"{way}_r@{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)} <= set(final)
    train(tmp_path / "runs", stage="ldm")
    found = suites.evaluate(tmp_path / "runs", ["alignment"], tmp_path / "eval")["alignment"]
    assert 0 <= found["image_to_text_r@1"]["value"] <= 1
    model = MedFuse.load(tmp_path / "runs")
    one = model.sample(PROMPT, steps=2)
    assert np.isfinite(one.volumes["FLAIR"]).all()
    assert model.tokenizer.digest == tokens.Tokenizer.load(runs["lora"] / "alignment").digest


def test_facts_stand_beside_the_words_of_an_encoder(runs):
    """Sentences that an encoder might confuse have other facts, and with them another embedding."""
    lent = house.borrow(runs["frozen"] / "alignment")
    words, mask = tokens.Tokenizer.load(runs["frozen"] / "alignment").encode(["the thalamus"] * 2, 96)
    facts = np.stack([tokens.facts(language.parse(text).statement) for text in
                      ("no thalamic atrophy", "severe thalamic atrophy")])
    said = jax.jit(alignment.reader(lent))(lent.params, words, mask, facts)
    assert said.tokens.shape == (2, 1 + 96 + len(tokens.FACTS), lent.config.model.width)
    assert np.abs(said.pooled[0] - said.pooled[1]).max() > 1e-3
    none = jax.jit(alignment.reader(lent))(lent.params, words, mask, 0 * facts)
    np.testing.assert_array_equal(none.pooled[0], none.pooled[1])


@pytest.mark.parametrize("kind", ["roberta", *(pytest.param(kind, marks=pytest.mark.slow)
                                               for kind in ("modernbert", "clip_text_model"))])
def test_every_architecture_trains(kind, train, tmp_path):
    place = encoders.write(tmp_path / kind, kind)
    done = train(tmp_path / "runs", f"text.pretrained={place}", "text.tune=lora", "text.length=120", "steps=2",
                 "dtype=bfloat16", "remat=true")
    summary = json.loads((done / "summary.json").read_text())
    assert np.isfinite(summary["final"]["contrastive"]) and summary["skipped"] == 0


@pytest.mark.parametrize("changes, told", [
    (["text.tune=lora"], "text.tune=lora needs text.pretrained"),
    (["text.pretrained=nowhere"], "text.pretrained=nowhere: no folder there: give one with config.json"),
    (["text.pretrained={}", "text.length=200"], "max_position_embeddings: .* more than 130 .*--config.text.length=130"),
])
def test_what_cannot_be_is_refused_before_anything_is_made(train, folder, tmp_path, changes, told):
    with pytest.raises(MedFuseError, match=told):
        train(tmp_path / "runs", *(change.format(folder) for change in changes))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("changes, told", [
    (["text.pretrained={other}"], "text.encoder.contents was .*, is "), ([], "text.encoder.contents was .*, is absent"),
    (["text.pretrained={same}", "text.tune=full"], "text.tune was frozen, is full"),
])
def test_a_run_keeps_to_its_encoder(train, runs, tmp_path, changes, told):
    places = dict(other=encoders.write(tmp_path / "other", seed=1), same=encoders.write(tmp_path / "same"))
    for steps in ("steps=4", "steps=8"):                             # finished, and to be gone on with
        with pytest.raises(MedFuseError, match=told):
            train(runs["frozen"], "text.lora.rank=2", steps, *(change.format(**places) for change in changes))


def test_words_of_a_run_that_never_saved_are_made_again(train, folder, tmp_path):
    """Begun with words of its own and stopped at once; the encoder that it is then given knows other words."""
    tokens.build(300).save((tmp_path / "alignment").mkdir() or tmp_path / "alignment/tokenizer.json")
    train(tmp_path, f"text.pretrained={folder}", "steps=1")
    assert len(tokens.Tokenizer.load(tmp_path / "alignment")) == 512


def test_a_bert_reads_with_its_vocabulary(folder):
    made = tokens.of_checkpoint(folder, 512, 96)
    words, mask = made.encode([PROMPT, "lesions"], 40)
    assert made.pieces(PROMPT)[0] == "[CLS]" and "lesions" in made.decode(words)[0]
    assert made.decode(words)[1] == "lesions"
    assert words[1, 3] == made.pad == made.tokenizer.token_to_id("[PAD]") and not mask[1, 3]
    special = {made.tokenizer.token_to_id(name) for name in tokens.SPECIAL}
    inside = made.encode(["[PAD] [SEP]"], 40)
    assert not special & set(inside[0][inside[1]][1:-1])


def test_a_saved_tokenizer_is_what_it_was_without_its_padding_and_cutting(tmp_path):
    made = tokens.of_checkpoint(encoders.write(tmp_path / "roberta", "roberta"), 300, 400)
    words, mask = made.encode(["atrophie sévère", "a" * 50], 60)
    assert mask.sum(axis=1).tolist() == [19, 52] and (words[0, 19:] == 1).all()
    assert made.decode(words[:1]) == ["atrophie sévère"]
    made.save(tmp_path / "tokenizer.json")
    again = tokens.Tokenizer.load(tmp_path)
    np.testing.assert_array_equal(again.encode(["<mask> é"], 20)[0], made.encode(["<mask> é"], 20)[0])
    assert pretrained.unknown(made.tokenizer) == 3
    unigram = tokenizers.Tokenizer(tokenizers.models.Unigram([("a", -1.0), ("<unk>", 0.0)], unk_id=1))
    assert pretrained.unknown(unigram) == 1
    assert pretrained.unknown(tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, []))) == -1


def test_a_vocabulary_that_does_not_know_our_words_is_told(tmp_path, caplog):
    place = encoders.write(tmp_path)
    with caplog.at_level(logging.INFO):
        tokens.of_checkpoint(place, 512, 96)
    assert any("0.0 % of the pieces" in line for line in caplog.messages)
    assert not any("does not know" in line for line in caplog.messages)
    (place / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nlesions\n,\n")
    with caplog.at_level(logging.WARNING):
        tokens.of_checkpoint(place, 512, 16)
    assert any("does not know" in line and "% of the pieces" in line for line in caplog.messages)
    assert any("are cut at 16: give --config.text.length=" in line for line in caplog.messages)


@pytest.mark.parametrize("file, content, told", [
    ("tokenizer.json", "{", "tokenizer.json: not a tokenizer.json"), ("tokenizer.json", "{}", "not a tokenizer.json"),
    ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n", r"vocab.txt: has no line \[SEP\], so it is no BERT's"),
    ("tokenizer_config.json", "[]", "tokenizer_config.json: not the settings"),
    ("vocab.txt", None, "no tokenizer there"),
])
def test_a_broken_tokenizer_is_refused_in_one_line(tmp_path, file, content, told):
    place = encoders.write(tmp_path)
    (place / file).unlink(missing_ok=True)
    if content is not None:
        (place / file).write_text(content)
    with pytest.raises(MedFuseError, match=told):
        tokens.of_checkpoint(place, 512, 96)
    with pytest.raises(MedFuseError, match="knows piece 511 where config.json's vocab_size is 100"):
        tokens.of_checkpoint(encoders.write(tmp_path / "small"), 100, 96)


def test_cased_words_stay_cased_where_the_settings_say_so(tmp_path):
    place = encoders.write(tmp_path)
    assert pretrained.read(place).encode("Lesions").tokens[1] == "lesions"
    (place / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert pretrained.read(place).encode("Lesions").tokens[1] != "lesions"


def test_a_home_may_begin_with_a_tilde(root, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = overrides.load(root / "configs/alignment.py", "tiny")
    config.text.pretrained = "~/bert"
    assert encoder.home(config) == tmp_path / "bert"
