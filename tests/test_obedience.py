"""A word commanded is the word measured: verdicts by the definitions, and how they are told."""

from dataclasses import replace

import numpy as np
import pytest

from medfuse_jax import captions, figures, planes
from medfuse_jax.captions import Captions, line
from medfuse_jax.data import definitions, labels
from medfuse_jax.data.findings import ATROPHY, REGIONS, Change, RegionLoad
from medfuse_jax.data.language import parse
from medfuse_jax.medfuse import middle
from medfuse_jax.metrics import biomarkers, obedience

AGE, SEX = 42.0, "F"


def measured(count=9, ml=6.0, deviation=-15.0, **more):
    """Findings with all lesions periventricular and all structures equally far from expected."""
    structures = np.full((4, 4, 4), labels.CLASS["cerebral_white_matter_left"], np.uint8)
    empty = biomarkers.measure(structures, np.zeros(structures.shape), 4.0, age=AGE, sex=SEX)
    regions = dict.fromkeys(REGIONS, RegionLoad()) | {"periventricular": RegionLoad(count, ml)}
    return replace(empty, lesion_count=count, lesion_volume_ml=ml, lesions_by_region=regions,
                   deviation_percent=dict.fromkeys(ATROPHY, deviation), **more)


def judge(prompt, *findings, made=("FLAIR",), **more):
    return obedience.judge(parse(prompt).statement, measured(*findings, **more), made)


@pytest.mark.parametrize("prompt, findings, word", [
    ("nine lesions", (9,), "obeyed"), ("nine lesions", (10,), "obeyed"), ("nine lesions", (11,), "not obeyed"),
    ("40 lesions", (46,), "obeyed"), ("40 lesions", (47,), "not obeyed"), ("one lesion", (0,), "not obeyed"),
    ("no lesions", (0, 0.0), "obeyed"), ("no lesions", (1, 0.1), "not obeyed"),
    ("5 to 10 lesions", (10,), "obeyed"), ("5 to 10 lesions", (11,), "not obeyed"),
    ("at least 5 lesions", (80,), "obeyed"), ("lesion volume 5 to 8 ml", (9, 8.1), "not obeyed"),
    ("woman of 40 to 50", (), "not measurable"),
    ("few lesions", (5,), "obeyed"), ("few lesions", (6,), "not obeyed"), ("numerous lesions", (300,), "obeyed"),
    ("lesion volume 6 ml", (9, 6.9), "obeyed"), ("lesion volume 6 ml", (9, 5.0), "not obeyed"),
    ("heavy lesion load", (9, 15.0), "obeyed"), ("heavy lesion load", (9, 14.9), "not obeyed"),
    ("minimal lesion load", (0, 0.0), "not obeyed"),
    ("nine periventricular lesions", (9,), "obeyed"), ("two cortical lesions", (9,), "not obeyed"),
    ("periventricular lesions", (1,), "obeyed"), ("no infratentorial lesions", (9,), "obeyed"),
    ("6 ml of periventricular lesions", (9, 6.0), "obeyed"), ("6 ml of cortical lesions", (9, 6.0), "not obeyed"),
    ("moderate thalamic atrophy", (9, 6.0, -15.0), "obeyed"), ("no caudate atrophy", (9, 6.0, -4.9), "obeyed"),
    ("moderate thalamic atrophy", (9, 6.0, -21.0), "not obeyed"),
    ("severe whole-brain atrophy", (9, 6.0, -20.0), "not obeyed"),
    ("FLAIR", (), "obeyed"), ("FLAIR and T2w", (), "not obeyed"),
    ("lesion volume 0.03 ml", (0, 0.0), "not measurable"),           # a voxel of 4 mm holds 0.064 ml
    ("woman", (), "not measurable"), ("RRMS", (), "not measurable"), ("two new lesions", (), "not measurable"),
    ("two enlarging lesions", (), "not measurable"), ("three black holes", (), "not measurable"),
    ("no enhancement", (), "not measurable"),
])
def test_a_command_and_its_verdict(prompt, findings, word):
    verdict = judge(prompt, *findings)[0]
    assert verdict.word == verdict.to_json()["verdict"] == word
    assert (verdict.measured is None) == (word == "not measurable")


@pytest.mark.parametrize("prompt, word", [
    ("two new lesions", "obeyed"), ("no new lesions", "not obeyed"), ("no enlarging lesions", "obeyed"),
    ("resolved lesions", "obeyed"), ("four black holes", "obeyed"), ("no black holes", "not obeyed"),
    ("several enhancing lesions", "not obeyed"), ("no enhancement", "obeyed"),
])
def test_what_was_counted_is_judged(prompt, word):
    verdict, = judge(prompt, change=Change(2, 0, 1), black_hole_count=3, enhancing_count=0)
    assert verdict.word == word


def test_a_doubt_has_no_verdict():
    assert [verdict.finding for verdict in judge("nine lesions, possible black holes")] == ["lesion_count"]


@pytest.mark.parametrize("word, deviation", [("none", 0.0), ("mild", -7.5), ("moderate", -15.0), ("severe", -25.0)])
def test_the_middle_of_a_commanded_grade_obeys_it_alone(word, deviation):
    for grade in definitions.GRADES:
        verdict, = judge(f"{grade if grade != 'none' else 'no'} thalamic atrophy", 9, 6.0, deviation)
        assert verdict.obeyed == (grade == word) and verdict.measured == word
        assert (verdict.allowed[0] <= verdict.amount <= verdict.allowed[1]) == verdict.obeyed


def test_the_volume_that_obeys_a_grade_is_of_the_norms():
    told = judge("severe thalamic atrophy", 9, 6.0, -25.0)[0].to_json()
    expected = definitions.expected_ml("thalamus", AGE, SEX, measured().intracranial_volume_ml)
    assert told["at_most"] == pytest.approx(0.8 * expected, abs=1e-3) and "at_least" not in told
    assert told["amount"] == pytest.approx(0.75 * expected, abs=1e-3) and told["unit"] == "ml"


@pytest.mark.parametrize("prompt, found", [
    ("nine periventricular lesions, no other abnormality", list(ATROPHY)),
    ("two cortical lesions, moderate thalamic atrophy, otherwise normal", ["periventricular", *ATROPHY[1:]]),
    ("no lesions, otherwise normal", list(ATROPHY)),
])
def test_only_names_what_else_is_there(prompt, found):
    verdict = next(each for each in judge(prompt) if each.finding == "only")
    assert verdict.measured == found and verdict.obeyed is False
    assert next(v for v in judge(prompt, 0, 0.0, 0.0) if v.finding == "only").obeyed


def test_all_that_is_commanded_gets_its_verdict():
    prompt = "FLAIR, woman of 42, RRMS, EDSS 2, nine lesions, 3 ml of cortical lesions, severe thalamic atrophy"
    assert [verdict.finding for verdict in judge(prompt)] == [
        "contrasts", "lesion_count", "lesions_by_region.cortical.volume_ml", "atrophy.thalamus", "age", "sex",
        "phenotype", "edss"]


def test_without_structures_atrophy_is_not_measurable():
    findings = replace(measured(), deviation_percent={}, lesions_by_region={})
    told = parse("two cortical lesions, severe thalamic atrophy, otherwise normal")
    for verdict in obedience.judge(told.statement, findings, ()):
        assert verdict.obeyed is None and verdict.why == obedience.NO_STRUCTURES


def test_a_range_is_told_as_it_was_said():
    verdicts = judge("woman of 40 to 50, 5 to 10 lesions", 4)
    assert verdicts[0].to_json()["commanded"] == {"low": 5, "high": 10}
    assert [row.asked for row in Captions().rows(verdicts)][0].startswith("5-10")
    assert middle(parse("woman of 40 to 50").statement.age) == 45.0 and middle(None) is None


def test_a_log_line_names_what_was_disobeyed():
    told = line(judge("FLAIR, woman of 42, nine lesions, 2 ml, heavy lesion load", 12, 1.9, made=("FLAIR",)))
    assert told == ("2 of 4 measurable commands obeyed; not obeyed: nine lesions (measured 12 lesions, expected 8 to "
                    "10 lesions); heavy lesion load (measured 1.9 ml, expected 15 to 30 ml)")


def test_a_grade_is_told_with_its_volume():
    found = [Captions().row(judge("no caudate atrophy", 9, 6.0, each)[0]).found for each in (0.0, -15.0)]
    assert [text.partition(", ")[2] for text in found] == ["no atrophy", "moderate atrophy"]


def test_the_table_speaks_the_language_of_the_sentence():
    rows = Captions("fr").rows(judge("femme de 42 ans, SEP-RR, atrophie thalamique sévère, 6,2 ml, deux nouvelles "
                                     "lésions", 9, 6.2, -25.0))
    assert [row.asked for row in rows] == ["volume lésionnel de 6,2 ml", "atrophie thalamique sévère",
                                           "deux nouvelles lésions", "femme de 42 ans, SEP-RR"]
    assert [row.said[0] for row in rows] == ["\N{CHECK MARK}", "\N{CHECK MARK}", "\N{EN DASH}", "\N{EN DASH}"]
    assert rows[0].wanted.split() == ["5,27", "à", "7,13", "ml"] and "atrophie sévère" in rows[1].found
    assert rows[2].found == "il faut les étiquettes d'un examen antérieur"


@pytest.mark.parametrize("language", ["en", "fr"])
def test_both_languages_have_words_for_all_of_a_page(language):
    say = Captions(language)
    needed = {*captions.ENGLISH, *figures.LEGEND, "lesion", *ATROPHY, *REGIONS}
    needed |= {plane.name for plane in planes.PLANES} | {side for plane in planes.PLANES for side in plane.sides}
    assert all(say[word] for word in needed)
    assert language == "en" or {obedience.NO_EARLIER, obedience.NO_STRUCTURES, obedience.FINER} <= set(say.words)


def test_the_summary_reads_well():
    first, second = Captions().summary(measured(1, 0.8, -12.4))
    assert first.replace("\N{NO-BREAK SPACE}", " ") == "measured in all: 1 lesion, 0.8 ml (1 periventricular)"
    assert second.startswith("volumes compared with those of a healthy woman of 42 with this head: thalamus "
                             "\N{MINUS SIGN}12")
