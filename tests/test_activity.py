"""What is new, enlarging, resolved, dark or enhancing; what is only possible; and how a report tells it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from medfuse_jax.data import tokens
from medfuse_jax.data.findings import ATROPHY, Amount, Change, Findings, Range, Statement
from medfuse_jax.data.language import (
    LEXICONS,
    as_reported,
    entail,
    parse,
    random_findings,
    read_report,
    report,
    state,
    write,
)
from medfuse_jax.errors import MedFuseError

SOME = Range(1)
READ = {
    "three new lesions since the last scan, two enlarging, none resolved": Statement(
        new_count=3, enlarging_count=2, resolved_count=0),
    "trois nouvelles lésions depuis l'examen précédent, deux augmentées de taille, aucune disparue": Statement(
        new_count=3, enlarging_count=2, resolved_count=0),
    "no new, enlarging or enhancing lesions": Statement(new_count=0, enlarging_count=0, enhancing_count=0),
    "pas de nouvelle lésion ni prise de contraste": Statement(new_count=0, enhancing_count=0),
    "stable since 12/03/2020": Statement(new_count=0, enlarging_count=0),
    "IRM stable, une nouvelle lésion": Statement(new_count=1, enlarging_count=0),
    "two new periventricular lesions and one new cortical lesion": Statement(new_count=3),
    "a new enhancing lesion": Statement(new_count=1, enhancing_count=1),
    "two of the five lesions enhance": Statement(enhancing_count=2),
    "the lesions do not enhance": Statement(enhancing_count=0),
    "les lésions ne se rehaussent pas": Statement(enhancing_count=0),
    "no contrast enhancement, several T1 black holes": Statement(enhancing_count=0, black_hole_count="several"),
    "trous noirs (n=4), 2 lésions Gd+": Statement(black_hole_count=4, enhancing_count=2),
    "black holes": Statement(black_hole_count=SOME),
    "post-gadolinium T1, T1 black holes": Statement(contrasts=("ce-gadolinium_T1w",), black_hole_count=SOME),
    "more than 3 enhancing lesions": Statement(enhancing_count=Range(4)),
    # where nothing is
    "sans argument pour une lésion sous-tentorielle": Statement(lesions_by_region={"infratentorial": Amount(0)}),
    "no abnormality in the posterior fossa": Statement(lesions_by_region={"infratentorial": Amount(0)}),
    "cortex and thalamus normal": Statement(lesions_by_region={"cortical": Amount(0)}, atrophy={"thalamus": "none"}),
    "one cerebellar lesion and two pontine lesions": Statement(lesions_by_region={"infratentorial": Amount(3)}),
    # what is only possible
    "nine lesions, one possibly enhancing": Statement(lesion_count=9, possible=Statement(enhancing_count=1)),
    "probably no lesions or atrophy": Statement(possible=Statement(lesion_count=0, atrophy=dict.fromkeys(
        ATROPHY, "none"))),
    "cortical lesions cannot be excluded, 3 PV lesions": Statement(
        lesions_by_region={"periventricular": Amount(3)},
        possible=Statement(lesions_by_region={"cortical": Amount()})),
    "suspicion de deux trous noirs et de lésions rehaussées": Statement(
        possible=Statement(black_hole_count=2, enhancing_count=SOME)),
    "lésion PV possible, atrophie thalamique sévère": Statement(
        atrophy={"thalamus": "severe"}, possible=Statement(lesions_by_region={"periventricular": Amount()})),
    "la charge lésionnelle n'a pas changé": Statement(new_count=0, enlarging_count=0),
    "aucune lésion identifiée": Statement(lesion_count=0),
    "? new lesion": Statement(possible=Statement(new_count=SOME)),
}


@pytest.mark.parametrize("text", READ)
def test_activity_and_doubt_are_read(text):
    reading = parse(text)
    assert (reading.statement, reading.ignored) == (READ[text], []), reading


@pytest.mark.parametrize("text", ["3 new or enlarging lesions", "no new cortical lesions",
                                  "absence of nasty new lesions",
                                  "pas clairement de nouvelle lésion", "not stable", "pas de lésion nécrotique"])
def test_what_cannot_be_counted_commands_nothing(text):
    assert parse(text).statement == Statement() and parse(text).ignored and parse(text).warnings


@pytest.mark.parametrize("text", [
    "RRMS since age 25, now 40 years old", "SEP-RR depuis l'âge de 25 ans, femme de 40 ans"])
def test_the_age_of_onset_is_not_the_age(text):
    assert parse(text).statement.age == 40.0


def test_what_is_possible_is_no_fact_and_follows_from_nothing():
    doubted = Statement(sex="F", possible=Statement(lesion_count=3, atrophy={"thalamus": "severe"}))
    np.testing.assert_array_equal(tokens.facts(doubted), tokens.facts(Statement(sex="F")))
    assert entail(doubted).atrophy == {} and entail(doubted).lesion_count is None


def test_no_lesion_is_dark_or_enhances():
    said = entail(Statement(lesion_count=0))
    assert (said.black_hole_count, said.enhancing_count, said.new_count, said.resolved_count) == (0, 0, 0, None)
    assert tokens.FACTS[-4:] == ("enlarging_count", "resolved_count", "black_hole_count", "enhancing_count")


@pytest.mark.parametrize("text", ["no lesions, 2 black holes", "2 lesions, 3 enhancing", "2 lesions, 5 black holes"])
def test_more_activity_than_lesions_is_a_contradiction(text):
    assert sum(line.startswith("contradiction") for line in parse(text).warnings) == 1


def test_what_nobody_looked_for_is_not_assessed():
    found = random_findings(np.random.default_rng(1))
    blind, seen = (replace(found, black_hole_count=n, enhancing_count=n) for n in (None, 0))
    assert blind.not_assessed[:2] == ("black_holes", "enhancement") and not {
        "black_holes", "enhancement"} & set(seen.not_assessed)
    assert Findings.from_json(blind.to_json()) == blind
    for seed in range(100):
        said = state(blind, np.random.default_rng(seed))
        assert said.black_hole_count is said.enhancing_count is None
    assert "T1 black holes: not assessed." in report(blind, "en") and "No black holes." in report(seen, "en")


@pytest.mark.parametrize("change, enhancing, told", [
    (None, None, "not assessed"), (Change(2, 0, 0), None, "shown by new lesions"), (Change(0, 1, 0), 0, "not shown"),
    (None, 2, "shown by lesions with and without enhancement"),
])
def test_dissemination_in_time_needs_a_second_look_or_contrast(change, enhancing, told):
    found = replace(random_findings(np.random.default_rng(5)), lesion_count=9, change=change, enhancing_count=enhancing)
    assert len(re.findall(f"Dissemination in time: {told}", report(found, "en"))) == 2


@pytest.mark.parametrize("years, change, told", [
    (0.0, None, ("no earlier visit", "pas d'examen antérieur")),
    (4.49, None, ("not compared with an earlier visit", "non comparé à un examen antérieur")),
    (None, None, ("not compared with an earlier visit", "non comparé à un examen antérieur")),
    (4.49, Change(0, 0, 0), ("with the earlier visit", "avec l'examen précédent")),
])
def test_only_a_first_visit_has_no_earlier_one(years, change, told):
    found = replace(random_findings(np.random.default_rng(5)), date_years=years, change=change)
    for language, words in zip(("en", "fr"), told, strict=True):
        text = report(found, language)
        assert re.search(rf"Compar\w+ ?: {words}\.", text) and read_report(text) == as_reported(found)


@pytest.mark.parametrize("language", LEXICONS)
@pytest.mark.parametrize("missing", ["lesions", "structures"])
def test_a_report_of_half_a_study_is_read_back(language, missing):
    gone = dict(lesion_count=None, lesion_volume_ml=None, lesions_by_region={}) if missing == "lesions" else dict(
        structures_ml={}, deviation_percent={}, brain_parenchymal_fraction=None, intracranial_volume_ml=None,
        lesions_by_region={})
    bare = dict(age=None, sex=None, phenotype=None, treatment=None, edss=None, disease_duration_years=None,
                date_years=None, contrasts=(), change=None, dissemination_in_space=None)
    for seed in range(20):
        found = random_findings(np.random.default_rng(seed))
        found = replace(found, not_assessed=(*found.not_assessed, missing), **gone, **bare)
        assert read_report(report(found, language)) == as_reported(found)


def test_another_text_is_no_report():
    with pytest.raises(MedFuseError, match="^report: its first line is 'nine lesions'"):
        read_report("nine lesions\n\nLesions: 9")


@pytest.mark.parametrize("language", LEXICONS)
def test_a_report_names_no_disease_and_advises_nothing(language):
    text = report(replace(random_findings(np.random.default_rng(3)), phenotype=None), language).lower()
    assert not re.search(r"sclerosis|sclérose|diagnos|recommend|recommand|treat with|should|devrait|conseil", text)


def test_shorthand_is_written_as_clinicians_do():
    said = Statement(contrasts=("FLAIR",), age=42.0, sex="F", phenotype="RRMS", lesion_volume_ml=6.0,
                     lesions_by_region={"periventricular": Amount(9)}, black_hole_count=1)
    written = {write(said, language, np.random.default_rng(seed)) for seed in range(60) for language in LEXICONS}
    assert any(text.startswith("FLAIR, F42, RRMS, 9 PV") for text in written)
    assert any("Un trou noir" in text or "un trou noir" in text for text in written)
    assert not any("une trou" in text.lower() for text in written)
