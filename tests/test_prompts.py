"""What people type: numbers in every dress, ranges, negations, other diseases, slips; nothing is dropped unsaid."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medfuse_jax.data import tokens
from medfuse_jax.data.findings import ATROPHY, Amount, Range, Statement
from medfuse_jax.data.language import LEXICONS, parse, random_statement, write
from medfuse_jax.errors import MedFuseError

NOWHERE = dict.fromkeys(ATROPHY, "none")
HEALTHY = Statement(phenotype="control", lesion_count=0, atrophy=NOWHERE)

READ = {
    # numbers
    "1 200 mm3": Statement(lesion_volume_ml=1.2),
    "1,200 mm3": Statement(lesion_volume_ml=1.2),
    "1,200 mm3 de lésions": Statement(lesion_volume_ml=1.2),
    "12\u202f500 mm³": Statement(lesion_volume_ml=12.5),
    "12\u00a0500 mm³ de lésions": Statement(lesion_volume_ml=12.5),
    "1'200 mm3": Statement(lesion_volume_ml=1.2),
    "1e3 mm3": Statement(lesion_volume_ml=1.0),
    "4500 mm^3": Statement(lesion_volume_ml=4.5),
    ".5 ml": Statement(lesion_volume_ml=0.5),
    "volume lésionnel de 6,5 ml": Statement(lesion_volume_ml=6.5),
    "F 42 120 lesions": Statement(age=42.0, sex="F", lesion_count=120),
    "two hundred and fifty lesions": Statement(lesion_count=250),
    "deux cents lésions": Statement(lesion_count=200),
    "une vingtaine de lésions": Statement(lesion_count=20),
    "half a dozen lesions": Statement(lesion_count=6),
    "1 000 lésions": Statement(lesion_count=1000),
    "nine (9) periventricular lesions": Statement(lesions_by_region={"periventricular": Amount(9)}),
    "lesions: periventricular 9 (4 ml), deep white 3": Statement(
        lesions_by_region={"periventricular": Amount(9, 4.0), "deep_white": Amount(3)}),
    # ranges and bounds
    "5-10 lesions": Statement(lesion_count=Range(5, 10)),
    "5 -10 lesions": Statement(lesion_count=Range(5, 10)),
    "between 5 and 10 lesions": Statement(lesion_count=Range(5, 10)),
    "entre 5 et 10 lésions": Statement(lesion_count=Range(5, 10)),
    "une ou deux lésions corticales": Statement(lesions_by_region={"cortical": Amount(Range(1, 2))}),
    "5 to 10 ml": Statement(lesion_volume_ml=Range(5.0, 10.0)),
    "6 à 8 ml": Statement(lesion_volume_ml=Range(6.0, 8.0)),
    "5 ml to 10 ml": Statement(lesion_volume_ml=Range(5.0, 10.0)),
    "6 ± 2 ml": Statement(lesion_volume_ml=Range(4.0, 8.0)),
    "more than 10 lesions": Statement(lesion_count=Range(11)),
    "plus de 10 lésions": Statement(lesion_count=Range(11)),
    "10 or more lesions": Statement(lesion_count=Range(10)),
    "10 lésions au moins": Statement(lesion_count=Range(10)),
    "less than 5 lesions": Statement(lesion_count=Range(0, 4)),
    "pas plus de 5 lésions": Statement(lesion_count=Range(0, 5)),
    "at least 10 ml": Statement(lesion_volume_ml=Range(10.0)),
    "moins de 5 ml": Statement(lesion_volume_ml=Range(0.0, 5.0)),
    "environ 6 ml": Statement(lesion_volume_ml=6.0),
    "woman aged 30 to 40": Statement(age=Range(30.0, 40.0), sex="F"),
    "EDSS 2-4, MS for over 10 years": Statement(edss=Range(2.0, 4.0), disease_duration_years=Range(10.0)),
    "EDSS 2 - 9 lesions": Statement(edss=2.0, lesion_count=9),
    "2-4 new lesions": Statement(new_count=Range(2, 4)),
    # people
    "femme, 42 a.": Statement(age=42.0, sex="F"),
    "femme 42 a 5 lésions": Statement(age=42.0, sex="F", lesion_count=5),
    "woman, 42y": Statement(age=42.0, sex="F"),
    "42F RRMS": Statement(age=42.0, sex="F", phenotype="RRMS"),
    "F42 RRMS": Statement(age=42.0, sex="F", phenotype="RRMS"),
    "H/55, SEP-SP": Statement(age=55.0, sex="M", phenotype="SPMS"),
    "femme (38), SEPRR": Statement(age=38.0, sex="F", phenotype="RRMS"),
    "woman of 42, 20 yrs disease": Statement(age=42.0, sex="F", disease_duration_years=20.0),
    "MS (25 years), 3 lesions": Statement(disease_duration_years=25.0, lesion_count=3),
    "maladie depuis 6 mois": Statement(disease_duration_years=0.5),
    "RRMS diagnosed 5 years ago": Statement(phenotype="RRMS", disease_duration_years=5.0),
    "SEP-RR diagnostiquée il y a 5 ans": Statement(phenotype="RRMS", disease_duration_years=5.0),
    # what is not there
    "no MS": HEALTHY,
    "sans sclérose en plaques": HEALTHY,
    "pas de SEP": HEALTHY,
    "MS negative": HEALTHY,
    "no MS lesions": Statement(lesion_count=0),
    "lesion-free": Statement(lesion_count=0),
    "retire toutes les lésions": Statement(lesion_count=0),
    "not many lesions": Statement(lesion_count="few"),
    "aucune anomalie": Statement(lesion_count=0, atrophy=NOWHERE),
    "no tumour, 5 lesions": Statement(lesion_count=5),
    "FLAIR sans gadolinium": Statement(contrasts=("FLAIR",)),
    "T1w without gadolinium": Statement(contrasts=("T1w",)),
    "FLAIR only": Statement(contrasts=("FLAIR",)),
    "healthy control, 3 lesions, 0.5 ml": replace(HEALTHY, lesion_count=3, lesion_volume_ml=0.5),
    "thalamic volume loss, mild": Statement(atrophy={"thalamus": "mild"}),
    "healthy brain except for 2 lesions": replace(HEALTHY, lesion_count=2),
    "infratentorial lesions absent": Statement(lesions_by_region={"infratentorial": Amount(0)}),
    "lésions corticales absentes": Statement(lesions_by_region={"cortical": Amount(0)}),
    "atrophie cortico-sous-corticale discrète": Statement(atrophy={"whole_brain": "mild"}),
    "lesion_count=9, lesion_volume_ml=6, thalamus=moderate": Statement(
        lesion_count=9, lesion_volume_ml=6.0, atrophy={"thalamus": "moderate"}),
    "Female. 60. FLAIR": Statement(age=60.0, sex="F", contrasts=("FLAIR",)),
}


@pytest.mark.parametrize("text", READ)
def test_what_people_type_is_read(text):
    reading = parse(text)
    assert (reading.statement, reading.ignored, reading.warnings) == (READ[text], [], []), reading


@pytest.mark.parametrize("text, statement, ignored, warning", [
    ("6 mm lesions", Statement(), ["6 mm"], "the size of a lesion is not commanded"),
    ("trois lésions de 6 mm", Statement(lesion_count=3), ["6 mm"], "the size of a lesion is not commanded"),
    ("a few small lesions", Statement(lesion_count="few"), ["small"], "the size of a lesion is not commanded"),
    ("thalamic atrophy of 20 %", Statement(atrophy={"thalamus": "moderate"}), ["20 %"], "a percentage"),
    ("-3 lesions", Statement(), ["-3"], "a negative number is not read"),
    ("age -5", Statement(), ["age -5"], "a negative number is not read"),
    ("−6 ml", Statement(), ["−6 ml"], "a negative number is not read"),
    ("lesion volume 6", Statement(), ["lesion volume 6"], "say the unit"),
    ("nine lesions, stroke", Statement(lesion_count=9), ["stroke"], "the model knows multiple sclerosis only"),
    ("tumeur cérébrale", Statement(), ["tumeur cérébrale"], "the model knows multiple sclerosis only"),
    ("NMOSD", Statement(), ["NMOSD"], "the model knows multiple sclerosis only"),
    ("leucoaraïose", Statement(), ["leucoaraïose"], "the model knows multiple sclerosis only"),
    ("RIS", Statement(), ["RIS"], 'nearest wording is "CIS"'),
    ("nine lesions 🧠", Statement(lesion_count=9), ["🧠"], None),
    ("no 🧠 lesions", Statement(lesion_count=0), ["🧠"], None),
    ("possible cortical lesions", Statement(possible=Statement(lesions_by_region={"cortical": Amount()})), [],
     "only possible"),
    ("probable SEP-RR", Statement(possible=Statement(phenotype="RRMS")), [], "nothing in the text commands"),
    ("mild to moderate atrophy", Statement(atrophy={"whole_brain": "moderate"}), [], "the last is read"),
    ("elderly man", Statement(sex="M"), [], "an age is said in years"),
    ("two years later, 3 new lesions", Statement(new_count=3), ["two years later"], "time between two visits"),
    ("FLAIR, lesions", Statement(contrasts=("FLAIR",)), [], "command nothing"),
    ("no disease activity", Statement(), ["no disease activity"], "cannot be commanded"),
    ("add 3 lesions", Statement(lesion_count=3), [], "a change is not commanded"),
    ("not, 5 lesions", Statement(lesion_count=5), ["not"], "what it denies was not understood"),
])
def test_what_is_left_out_is_said(text, statement, ignored, warning):
    reading = parse(text)
    assert (reading.statement, reading.ignored) == (statement, ignored), reading
    assert warning is None or [line for line in reading.warnings if warning in line], reading
    assert "heavy lesion load" not in " ".join(reading.warnings)


@pytest.mark.parametrize("text", [
    "healthy control with 20 ml of lesions", "témoin sain avec 20 lésions", "healthy with severe atrophy",
    "normal brain MRI, heavy lesion load", "no lesions, 6 ml", "no lesions, 3 new lesions", "2 lesions, 5 new lesions",
    "no lesion other than periventricular lesions", "1 to 2 ml, heavy lesion load", "3 lesions, 5-10 cortical lesions",
])
def test_what_cannot_be_true_together_is_said(text):
    assert sum(line.startswith("contradiction") for line in parse(text).warnings) == 1, parse(text)


@pytest.mark.parametrize("text, proposed", [
    ("periventriclar lesions", '"periventricular"'), ("sever thalamic atrophy", '"severe"'), ("temporal", None),
    ("tumeurs", None), ("abnormal", None), ("version", None), ("perpendiculaires", None), ("globus", None)])
def test_only_a_mistyped_word_is_read_as_another(text, proposed):
    proposals = [line for line in parse(text).warnings if "is read as" in line]
    assert [proposed in line for line in proposals] == [True] * (proposed is not None)


def test_bytes_that_are_no_text_end_in_one_line(root):
    told = subprocess.run([sys.executable, str(root / "launch/sample.py"), b"--prompt=l\xe9sions", "--check"],
                          capture_output=True, text=True)
    assert told.returncode == 2 and told.stderr.startswith("error: prompt: it is not valid UTF-8")
    assert len(told.stderr.splitlines()) == 1
    with pytest.raises(MedFuseError, match="10000 characters are too many"):
        parse("a " * 5000)


ends = st.tuples(st.integers(0, 40), st.integers(1, 40)).map(lambda pair: Range(pair[0], pair[0] + pair[1]))
counts = st.one_of(ends, st.integers(1, 40).map(Range))
volumes = counts.map(lambda count: Range(count.low / 2, None if count.high is None else count.high / 2))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(LEXICONS)), counts, volumes)
def test_ranges_that_are_written_are_read_back(seed, language, count, volume):
    rng = np.random.default_rng(seed)
    ranged = Statement(age=Range(30.0, 40.0), sex="F", edss=Range(2.5, 4.0), disease_duration_years=Range(5.0),
                       lesions_by_region={"cortical": Amount(count, volume)}, new_count=Range(1, 3))
    text = write(ranged, language, rng)
    assert parse(text).statement == ranged, text
    assert Statement.from_json(ranged.to_json()) == ranged


@pytest.mark.parametrize("text, name, low, high", [
    ("5-10 lesions", "lesion_count", np.log1p(5) / 2, np.log1p(10) / 2),
    ("at least 10 ml", "lesion_volume_ml", np.log1p(10) / 2, np.log1p(tokens.LARGEST_ML) / 2),
    ("woman of 25 to 75", "age", -0.5, 0.5),
    ("EDSS > 5", "edss", 0.0, 1.0),
])
def test_a_range_is_an_interval_for_the_model(text, name, low, high):
    fact = tokens.facts(parse(text).statement)[tokens.FACTS.index(name)]
    assert fact.tolist() == pytest.approx([low, high, 1.0])


def test_word_pieces_are_learned_from_other_words_than_are_read_as_well():
    for lexicon in LEXICONS.values():
        assert not {"NMOSD", "leucoaraïose", "Tysabri"} & set(lexicon.words) and lexicon.further


def test_reading_is_fast():
    rng = np.random.default_rng(0)
    texts = [write(random_statement(rng), language, rng) for language in LEXICONS for _ in range(50)]
    times = []
    for text in texts:
        start = time.perf_counter()
        parse(text)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 0.05       # checked types and a busy machine included; 1 ms alone
