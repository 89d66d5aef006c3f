"""Word pieces of the language of findings, and the stated facts beside them."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from medfuse_jax.data import tokens
from medfuse_jax.data.findings import Amount, Statement
from medfuse_jax.data.language import LEXICONS, parse, random_statement, write
from medfuse_jax.errors import MedFuseError

PROMPT = "FLAIR and T1w, woman of 42, RRMS, nine periventricular lesions, 6 ml, moderate thalamic atrophy"


@pytest.fixture(scope="module")
def tokenizer():
    return tokens.build()


def test_a_vocabulary_is_made_in_seconds_and_is_no_larger_than_asked():
    start = time.perf_counter()
    assert len(tokens.build(vocabulary_size=2048)) <= 2048
    assert time.perf_counter() - start < 10       # checked types and a busy machine included; 1 s alone


def test_another_process_makes_the_same_vocabulary(tokenizer):
    command = "from medfuse_jax.data import tokens; import sys; sys.stdout.write(tokens.build().digest)"
    told = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONHASHSEED": "1"})
    assert told.stdout == tokenizer.digest


@pytest.mark.parametrize("language", LEXICONS)
def test_no_generated_sentence_holds_an_unknown_piece(tokenizer, language):
    rng = np.random.default_rng(11)
    texts = [write(random_statement(rng), language, rng) for _ in range(500)] + LEXICONS[language].words
    assert not any(tokens.UNKNOWN in tokenizer.pieces(text) for text in texts)


def test_words_of_the_language_are_whole_and_digits_are_single(tokenizer):
    assert tokenizer.pieces(PROMPT)[:10] == ["[CLS]", "flair", "and", "t", "1", "w", ",", "woman", "of", "4"]
    assert tokenizer.pieces("Atrophie sévère") == tokenizer.pieces("atrophie severe")


def test_special_tokens_of_a_user_are_only_letters(tokenizer):
    words, _ = tokenizer.encode(["[PAD] [CLS] [SEP] [UNK]"])
    special = [tokenizer.tokenizer.token_to_id(name) for name in tokens.SPECIAL]
    body = [word for word in words[0] if word != special[0]]
    assert body[0] == special[2] and body[-1] == special[3] and not set(body[1:-1]) & set(special)


def test_encode_frames_pads_and_cuts(tokenizer):
    words, mask = tokenizer.encode([PROMPT, "lesion " * 100], length=32)
    assert words.shape == mask.shape == (2, 32) and words.dtype == np.int32 and mask.dtype == bool
    assert mask[0].sum() == len(tokenizer.pieces(PROMPT)) and mask[1].all()
    assert words[1, -1] == tokenizer.tokenizer.token_to_id("[SEP]")


def test_saved_is_loaded(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    assert tokens.Tokenizer.load(tmp_path).digest == tokenizer.digest
    np.testing.assert_array_equal(tokens.Tokenizer.load(tmp_path).encode([PROMPT])[0], tokenizer.encode([PROMPT])[0])


@pytest.mark.parametrize("content", [None, "not json", "{}", '{"model": {"vocab": {}}}'])
def test_a_broken_tokenizer_is_refused_in_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(MedFuseError, match="tokenizer"):
        tokens.Tokenizer.load(tmp_path / "tokenizer.json")


def fact(statement: Statement, name: str) -> list[float]:
    return tokens.facts(statement)[tokens.FACTS.index(name)].tolist()


def test_facts_of_the_first_prompt():
    said = parse(PROMPT).statement
    assert tokens.facts(said).shape == (len(tokens.FACTS), 3) and tokens.facts(said).dtype == np.float32
    assert fact(said, "lesion_volume_ml") == pytest.approx([np.log(7) / 2, np.log(7) / 2, 1])
    assert fact(said, "count_periventricular") == pytest.approx([np.log(10) / 2, np.log(10) / 2, 1])
    assert fact(said, "atrophy_thalamus") == [-1.0, -0.5, 1.0]
    assert fact(said, "phenotype_RRMS") == [1, 1, 1] and fact(said, "phenotype_CIS") == [0, 0, 1]
    assert fact(said, "edss") == [0, 0, 0]


@pytest.mark.parametrize("statement, name, low, high", [
    (Statement(lesion_load="very_high"), "lesion_volume_ml", np.log1p(30) / 2, np.log1p(tokens.LARGEST_ML) / 2),
    (Statement(lesion_count="few"), "lesion_count", np.log1p(1) / 2, np.log1p(5) / 2),
    (Statement(lesion_count=0), "volume_cortical", 0.0, 0.0),
    (Statement(lesions_by_region={"cortical": Amount()}), "count_cortical", np.log1p(1) / 2,
     np.log1p(tokens.LARGEST_COUNT) / 2),
    (Statement(atrophy={"caudate": "severe"}), "atrophy_caudate", -2.0, -1.0),
    (Statement(sex="F"), "sex", -1.0, -1.0),
])
def test_facts_are_intervals(statement, name, low, high):
    assert fact(statement, name) == pytest.approx([low, high, 1.0])


def test_facts_are_ordered_and_of_a_network_s_size():
    rng = np.random.default_rng(5)
    found = np.stack([tokens.facts(random_statement(rng)) for _ in range(300)])
    assert (found[..., 0] <= found[..., 1]).all() and set(np.unique(found[..., 2])) == {0.0, 1.0}
    assert np.abs(found).max() <= 3.2 and (found[found[..., 2] == 0] == 0).all()
    assert (found[..., 2].sum(0) > 0).all()


@pytest.mark.parametrize("sign", "≤≥±")
def test_signs_of_the_language_are_known_whatever_the_corpus_said(sign, monkeypatch):
    monkeypatch.setattr(tokens, "corpus", lambda seed: ["nine lesions"])
    tokens.build.cache_clear()
    assert tokens.build(vocabulary_size=512).pieces(f"{sign}6 ml")[1] == sign
    tokens.build.cache_clear()
