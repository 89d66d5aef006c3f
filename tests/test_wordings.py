"""Sentences as people type them, written by hand and apart from the grammar, with what they mean.

`wordings_*.tsv` holds 200 a language: text, tab, JSON of the statement; a singular without an article ("cortical
lesion") leaves the number open. Odd lines are for development: the grammar was mended on them. Even lines are held
out: nobody looked at their errors, so that they say how well other sentences are read. The figures:

    python -c "import tests.test_wordings as t; [print(each, t.scored(*each)) for each in t.HALVES]"
"""

import json
from pathlib import Path

import pytest

from medfuse_jax.data.findings import Amount, Statement
from medfuse_jax.data.language import LEXICONS, parse
from medfuse_jax.metrics import reading
from medfuse_jax.metrics.reading import Score

HALVES = [(language, half) for language in LEXICONS for half in ("development", "held out")]


def wordings(language: str, half: str) -> tuple[list[str], list[Statement]]:
    """Texts and what they mean."""
    lines = Path(__file__).with_name(f"wordings_{language}.tsv").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("\t") for line in lines[half == "held out"::2]]
    return [text for text, _ in pairs], [Statement.from_json(json.loads(meant)) for _, meant in pairs]


def scored(language: str, half: str) -> Score:
    """How many of them are read to the letter, and precision and recall by field."""
    texts, meant = wordings(language, half)
    return reading.score(meant, [parse(text).statement for text in texts])


@pytest.mark.parametrize("language", LEXICONS)
def test_there_are_two_hundred_wordings_and_none_twice(language):
    texts = [text for half in ("development", "held out") for text in wordings(language, half)[0]]
    assert len(texts) == len(set(texts)) == 200


FLOORS = {("en", "development"): 0.97, ("fr", "development"): 0.97, ("en", "held out"): 0.85, ("fr", "held out"): 0.84}


@pytest.mark.parametrize("language, half", FLOORS)
def test_other_people_s_words_are_read(language, half):
    found = scored(language, half)
    assert found.exact.value >= FLOORS[language, half], found.exact


def test_a_score_of_statements_worked_out_by_hand():
    meant = [Statement(lesion_count=3, sex="F"), Statement(lesions_by_region={"cortical": Amount(2, 1.0)}), Statement()]
    read = [Statement(lesion_count=4, sex="F"), Statement(lesions_by_region={"cortical": Amount(2)}), Statement()]
    found = reading.score(meant, read)
    assert found.exact[0] == pytest.approx(1 / 3) and found.exact.n == 3
    assert found.precision["all"][0] == pytest.approx(2 / 3) and found.recall["all"][0] == pytest.approx(2 / 4)
    assert found.precision["lesions_by_region"].value == 1.0 and found.recall["lesions_by_region"].value == 0.5
    assert found.recall["sex"].low == pytest.approx(0.2065, abs=1e-4)      # Wilson, 1 of 1


def test_what_is_possible_is_another_thing_than_what_is():
    certain, doubted = Statement(lesion_count=3), Statement(possible=Statement(lesion_count=3))
    assert not reading.facts_of(certain) & reading.facts_of(doubted)
    assert reading.facts_of(Statement(lesions_by_region={"cortical": Amount()})) == {
        ("lesions_by_region.cortical", "there")}
