"""What is written is read back, in two languages; what is not understood or cannot be true is said."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medfuse_jax.data.definitions import COUNT_WORDS, LOAD_ML, grade
from medfuse_jax.data.findings import ATROPHY, REGIONS, Amount, Findings, Statement
from medfuse_jax.data.language import LEXICONS, entail, parse, random_findings, random_statement, report, state, write
from medfuse_jax.data.language.reader import DOUBT
from medfuse_jax.errors import MedFuseError

NOWHERE = dict.fromkeys(ATROPHY, "none")
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=300, deadline=None)
@given(seeds, st.sampled_from(sorted(LEXICONS)), st.booleans())
def test_what_is_written_is_read_back(seed, language, canonical):
    rng = np.random.default_rng(seed)
    statement = random_statement(rng)
    text = write(statement, language, None if canonical else rng)
    reading = parse(text)
    doubted = [DOUBT] * (statement.possible is not None)
    assert (reading.statement, reading.ignored, reading.warnings) == (statement, [], doubted), text


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_statements_are_true(seed):
    rng = np.random.default_rng(seed)
    findings = random_findings(rng)
    said = entail(state(findings, rng))
    assert all(word == grade(findings.deviation_percent[name]) for name, word in said.atrophy.items())
    pairs = [(said.lesion_count, findings.lesion_count)]
    pairs += [(a.count, findings.lesions_by_region[name].count) for name, a in said.lesions_by_region.items()]
    for count, truth in pairs:
        low, high = COUNT_WORDS[count] if isinstance(count, str) else (count, count)
        assert count is None or low <= truth <= high
    if said.lesion_load is not None:
        low, high = LOAD_ML[said.lesion_load]
        assert low <= findings.lesion_volume_ml <= high
    assert said.lesion_volume_ml is None or abs(said.lesion_volume_ml - findings.lesion_volume_ml) <= (
        0.051 * findings.lesion_volume_ml)


def test_lesion_load_and_thalamus_are_said_often():
    rng = np.random.default_rng(0)
    said = [state(random_findings(rng), rng) for _ in range(1000)]
    load = [s.lesion_load or s.lesion_volume_ml is not None or s.lesion_count == 0 for s in said]
    assert np.mean([bool(x) for x in load]) >= 0.85
    assert np.mean(["thalamus" in s.atrophy for s in said]) >= 0.5


READ = {
    "FLAIR and T1w, woman of 42, RRMS, nine periventricular lesions, 6 ml, moderate thalamic atrophy": Statement(
        age=42.0, sex="F", phenotype="RRMS", contrasts=("FLAIR", "T1w"), lesion_volume_ml=6.0,
        lesions_by_region={"periventricular": Amount(9)}, atrophy={"thalamus": "moderate"}),
    "IRM FLAIR, homme de 55 ans, SEP-SP, forte charge lésionnelle, atrophie thalamique sévère": Statement(
        age=55.0, sex="M", phenotype="SPMS", contrasts=("FLAIR",), lesion_load="high", atrophy={"thalamus": "severe"}),
    "irm flair, HOMME de 55 ans, sep sp, forte charge lesionnelle, atrophie thalamique severe": Statement(
        age=55.0, sex="M", phenotype="SPMS", contrasts=("FLAIR",), lesion_load="high", atrophy={"thalamus": "severe"}),
    "no lesions": Statement(lesion_count=0),
    "heavy lesion load": Statement(lesion_load="high"),
    "sans lésion ni atrophie": Statement(lesion_count=0, atrophy=NOWHERE),
    "no lesions or atrophy": Statement(lesion_count=0, atrophy=NOWHERE),
    "without atrophy": Statement(atrophy=NOWHERE),
    "pas d'atrophie du thalamus": Statement(atrophy={"thalamus": "none"}),
    "the thalami are not atrophic": Statement(atrophy={"thalamus": "none"}),
    "thalami are markedly atrophic": Statement(atrophy={"thalamus": "severe"}),
    "Thalamus atrophy: none": Statement(atrophy={"thalamus": "none"}),
    "sans aucune lésion": Statement(lesion_count=0),
    "aucune lésion infratentorielle, corticale ni juxtacorticale": Statement(
        lesions_by_region={name: Amount(0) for name in ("infratentorial", "cortical", "juxtacortical")}),
    "neither lesions nor atrophy": Statement(lesion_count=0, atrophy=NOWHERE),
    "neither thalamic nor caudate atrophy": Statement(atrophy={"thalamus": "none", "caudate": "none"}),
    "normal thalamus and caudate": Statement(atrophy={"thalamus": "none", "caudate": "none"}),
    "severe thalamic and mild caudate atrophy": Statement(atrophy={"thalamus": "severe", "caudate": "mild"}),
    "atrophie sévère du thalamus et légère du noyau caudé": Statement(
        atrophy={"thalamus": "severe", "caudate": "mild"}),
    "No infratentorial, cortical or juxtacortical lesions.": Statement(
        lesions_by_region={name: Amount(0) for name in ("infratentorial", "cortical", "juxtacortical")}),
    "nine lesions, four periventricular and two infratentorial": Statement(
        lesion_count=9, lesions_by_region={"infratentorial": Amount(2), "periventricular": Amount(4)}),
    "neuf lésions, dont quatre périventriculaires (2,5 ml)": Statement(
        lesion_count=9, lesions_by_region={"periventricular": Amount(4, 2.5)}),
    "42yo F, 6500 mm3, EDSS: 3.5, MS for 8 years": Statement(
        age=42.0, sex="F", lesion_volume_ml=6.5, edss=3.5, disease_duration_years=8.0),
    "lesion load: high. Thalamic atrophy: severe": Statement(lesion_load="high", atrophy={"thalamus": "severe"}),
    "a healthy control": Statement(phenotype="control", lesion_count=0, atrophy=NOWHERE),
    "témoin sain": Statement(phenotype="control", lesion_count=0, atrophy=NOWHERE),
    "normal brain MRI": Statement(lesion_count=0, atrophy=NOWHERE),
    "a healthy control with two lesions": Statement(phenotype="control", lesion_count=2, atrophy=NOWHERE),
    "a control": Statement(phenotype="control"),
    "a single juxtacortical lesion, otherwise normal": Statement(
        lesions_by_region={"juxtacortical": Amount(1)}, only=True),
    "deux nouvelles lésions depuis l'examen précédent": Statement(new_count=2),
}


@pytest.mark.parametrize("text", READ)
def test_sentences_of_users_are_read_in_full(text):
    reading = parse(text)
    assert (reading.statement, reading.ignored, reading.warnings) == (READ[text], [], [])


@pytest.mark.parametrize("text, warning", [
    ("no lesions, nine periventricular lesions", "contradiction"),
    ("five lesions, nine periventricular lesions", "contradiction"),
    ("3 ml, periventricular lesions (6 ml)", "contradiction"),
    ("heavy lesion load, 2 ml", "contradiction"),
    ("nine lesions, five lesions", "contradicts"),
    ("woman of 42, man", "contradicts"),
    ("nine periventriclar lesions", '"periventriclar" is read as "periventricular"'),
    ("nine lesions, spinal cord lesions", "cannot be commanded"),
    ("FLAIR, CT scan", 'nearest wording is "FLAIR and T1w"'),
    ("trois lésions, tomodensitométrie", "cannot be commanded"),
    ("left thalamic atrophy", "left and right"),
    ("woman of 420", "at most 120"),
    ("brain atrophy", "read as moderate"),
    ("nine periventricular and cortical lesions", "how many in each"),
    ("bonjour le monde", "nothing in the text"),
])
def test_what_cannot_be_obeyed_is_said(text, warning):
    assert any(warning in line for line in parse(text).warnings), parse(text)


@pytest.mark.parametrize("text", ["no spinal cord lesions", "no rim lesions", "no necrotic lesions", "not RRMS",
                                  "pas de lésion médullaire", "no severe thalamic atrophy", "thalamus 12 ml"])
def test_what_is_not_understood_commands_nothing(text):
    reading = parse(text)
    assert reading.statement == Statement() and reading.ignored == [text]


@pytest.mark.parametrize("text", ["", "  \n", "a" * 2001, "nine\x00lesions", "nine \x1b[31mlesions"])
def test_what_is_no_prompt_is_refused(text):
    with pytest.raises(MedFuseError, match="^prompt: "):
        parse(text)


WORDS = st.sampled_from([*sorted({word for lexicon in LEXICONS.values() for word in lexicon.words}), *",.:()", "9"])


@settings(max_examples=200, deadline=None)
@example("9" * 400 + " lesions")
@example("² ml, ٣ lesions, \u200b½")
@given(st.one_of(st.lists(WORDS, min_size=1, max_size=30).map(" ".join), st.text(min_size=1, max_size=80)))
def test_any_text_is_read_or_refused(text):
    try:
        reading = parse(text)
    except MedFuseError:
        return
    assert reading.language in LEXICONS and all(reading.ignored)


def test_silence_is_written_in_no_language():
    with pytest.raises(MedFuseError, match="language 'de' is unknown"):
        write(Statement(), "de")


def test_a_closed_world_follows_from_only():
    said = entail(Statement(lesions_by_region={"cortical": Amount(2)}, only=True))
    assert said.atrophy == NOWHERE and said.lesions_by_region["deep_white"].absent
    anywhere = entail(Statement(lesion_count=9, only=True))
    assert anywhere.lesions_by_region == {} and anywhere.atrophy == NOWHERE
    assert entail(Statement(lesion_count=0)).lesions_by_region == {name: Amount(0) for name in REGIONS}


def test_no_lesion_stays_in_the_record_of_a_statement():
    assert Statement(lesion_count=0, edss=0.0).to_json() == {"lesion_count": 0, "edss": 0.0}
    assert Statement.from_json(parse("no lesions").statement.to_json()) == Statement(lesion_count=0)


def numbers_of(findings: Findings) -> set[float]:
    """Every number of the findings, rounded as a report may round it."""
    def walk(value):
        if isinstance(value, dict | list | tuple):
            for part in value.values() if isinstance(value, dict) else value:
                yield from walk(part)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from {round(value, digits) for digits in range(4)} | {float(int(value))}
    return set(walk(findings.to_json()))


@pytest.mark.parametrize("language, notice", [("en", "not for clinical use"), ("fr", "fins cliniques")])
def test_every_number_of_a_report_is_one_of_the_findings(language, notice):
    rng = np.random.default_rng(7)
    for _ in range(20):
        findings = random_findings(rng)
        text = report(findings, language)
        digits = re.findall(r"(?<![\w,.])[-+]?\d+(?:[.,]\d+)?(?![\w])", text.replace("2024", ""))
        assert {float(number.replace(",", ".")) for number in digits} <= numbers_of(findings)
        assert notice in text


@pytest.mark.parametrize("language", LEXICONS)
def test_the_impression_of_a_report_says_what_was_measured(language):
    rng = np.random.default_rng(3)
    for _ in range(20):
        findings = random_findings(rng)
        impression = re.search(r"(?:Impression|Conclusion) ?: (.*)", report(findings, language))[1]
        said = parse(impression).statement
        assert said.atrophy == {name: grade(value) for name, value in findings.deviation_percent.items()}
        assert said.lesion_count == (0 if findings.lesion_count == 0 else None)
        assert said.new_count == (findings.change.new_count if findings.change else None)


@pytest.mark.parametrize("language", LEXICONS)
@pytest.mark.parametrize("missing", ["lesions", "structures"])
def test_nothing_is_said_of_what_was_not_assessed(missing, language):
    """No count, no atrophy, no "otherwise normal" and no health from half of the masks; the report says so."""
    for seed in range(200):
        rng = np.random.default_rng(seed)
        whole = random_findings(rng)
        gone = dict(lesion_count=None, lesion_volume_ml=None) if missing == "lesions" else dict(
            structures_ml={}, deviation_percent={}, brain_parenchymal_fraction=None, intracranial_volume_ml=None)
        found = replace(whole, not_assessed=(*whole.not_assessed, missing), lesions_by_region={}, change=None,
                        dissemination_in_space=None, **gone)
        said = state(found, rng)
        assert not said.only and not said.lesions_by_region
        silent = (said.lesion_count, said.lesion_volume_ml, said.lesion_load) == (None, None, None)
        assert silent if missing == "lesions" else not said.atrophy
        assert write(said, language, rng)
        assert {"en": "not assessed.", "fr": "non évalué"}[language] in report(found, language)


@pytest.mark.parametrize("text, count", [
    ("lésions peu nombreuses", "few"), ("deux douzaines de lésions", 24), ("three dozen lesions", 36),
    ("nonante lésions", 90), ("half a dozen lesions", 6)])
def test_counts_in_other_words(text, count):
    read = parse(text)
    assert read.statement.lesion_count == count and not read.ignored
