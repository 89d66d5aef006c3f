"""The words of sentences and reports agree in gender and number, as a radiologist writes them; and are read back."""

import re
from dataclasses import replace

import numpy as np
import pytest

from medfuse_jax.data.findings import PHENOTYPES, REGIONS, Amount, RegionLoad, Statement
from medfuse_jax.data.language import as_reported, parse, random_findings, read_report, report, write

NOBODY = replace(
    random_findings(np.random.default_rng(2)), lesion_count=None, lesion_volume_ml=None, lesions_by_region={},
    structures_ml={}, deviation_percent={}, brain_parenchymal_fraction=None, intracranial_volume_ml=None, change=None,
    dissemination_in_space=None, black_hole_count=None, enhancing_count=None, not_assessed=("lesions", "structures"))
SAID = [Statement(lesions_by_region={"cortical": Amount(0), "juxtacortical": Amount(0)}),
        Statement(atrophy={"thalamus": "none", "putamen": "none"}),
        Statement(atrophy={"thalamus": "mild", "caudate": "mild"}), Statement(atrophy={"caudate": "severe"}),
        Statement(atrophy={"thalamus": "none", "caudate": "none"})]


@pytest.mark.parametrize("line", [
    "Lésions : non évaluées.", "Trous noirs T1 : non évalués.", "Prise de contraste : non évaluée.",
    "Évolution depuis l'examen précédent : non évaluée.", "Volumes et atrophie : non évalués.",
    "Dissémination spatiale (critères de McDonald 2024) : non évaluée.", "Dissémination temporelle : non évaluée.",
    "  région médullaire : non évaluée"])
def test_not_assessed_agrees_with_its_heading(line):
    assert line in report(NOBODY, "fr").splitlines()


def test_reports_before_the_agreement_are_read_as_well():
    text = report(NOBODY, "fr")
    before = re.sub("non évalué(e|s|es)\\b", "non évalué", text)
    assert before != text and read_report(before) == read_report(text) == as_reported(NOBODY)


def written(language: str) -> list[str]:
    texts = []
    for said in SAID:
        for seed in range(60):
            texts.append(write(said, language, np.random.default_rng(seed)))
            assert parse(texts[-1]).statement == said, texts[-1]
    return texts


def test_absence_is_of_one_or_the_other():
    """Neither nor after a negation, or after a noun."""
    clauses = [clause.lower() for text in written("fr") for clause in text.split(". ")]
    joined = [clause for clause in clauses if " ni " in clause or " ou " in clause]
    assert {" ni " in clause for clause in joined} == {True, False}
    for clause in clauses:
        for part in clause.replace(", absence", "|absence").replace(", sans", "|sans").replace(
                ", pas", "|pas").replace(", aucune", "|aucune").split("|"):
            assert not (" ni " in part and part.startswith(("absence", "sans argument"))), part
            assert not (" ou " in part and part.startswith(("pas", "aucune"))), part


@pytest.mark.parametrize("text, said", [
    ("absence de lésion corticale ni juxtacorticale", SAID[0]), ("atrophie caudée sévère", SAID[3]),
    ("absence d'atrophie du thalamus ni du putamen", SAID[1]), ("pas d'atrophie thalamique ou putaminale", SAID[1])])
def test_what_was_written_before_is_still_read(text, said):
    assert parse(text).statement == said and not parse(text).ignored


def test_the_caudate_nucleus_has_no_adjective():
    texts = written("fr")
    assert not any("caudée" in text for text in texts)
    assert not any("thalamique, du noyau" in text or "thalamique et du noyau" in text for text in texts)
    assert any("du thalamus et du noyau caudé" in text for text in texts)


@pytest.mark.parametrize("language, one, two", [
    ("en", "Lesions: 1 lesion (0.1 ml): minimal lesion load.", "2 lesions (0.1 ml): few, minimal lesion load."),
    ("fr", "Lésions : 1 lésion (0,1 ml) : charge lésionnelle minime.",
     "2 lésions (0,1 ml) : peu nombreuses, charge lésionnelle minime.")])
def test_a_single_lesion_is_not_few(language, one, two):
    empty = dict.fromkeys(REGIONS, RegionLoad())
    for count, line in ((1, one), (2, two)):
        found = replace(random_findings(np.random.default_rng(2)), lesion_count=count, lesion_volume_ml=0.1,
                        lesions_by_region=empty | {"cortical": RegionLoad(count, 0.1)})
        text = report(found, language)
        assert line in text and read_report(text) == as_reported(found)


def test_invented_people_are_possible():
    """A control has no lesions and no disease; everyone else may have all of it."""
    rng = np.random.default_rng(0)
    people = [random_findings(rng) for _ in range(300)]
    assert {person.phenotype for person in people} == set(PHENOTYPES)
    for person in people:
        if person.phenotype == "control":
            assert (person.lesion_count, person.edss, person.disease_duration_years, person.treatment) == (
                0, 0.0, 0.0, "none")
            assert not person.black_hole_count and not person.enhancing_count and not person.dissemination_in_space
            assert person.change is None or person.change.new_count == person.change.resolved_count == 0
