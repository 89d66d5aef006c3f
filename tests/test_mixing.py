"""Two languages in one sentence, and the law of the reader: what is not used is named, wherever it stands."""

import string
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medfuse_jax.data.findings import ATROPHY, Amount, Statement
from medfuse_jax.data.language import LEXICONS, parse
from medfuse_jax.data.language.concepts import nearest
from medfuse_jax.data.language.lexicon import split, stem

NOWHERE = dict.fromkeys(ATROPHY, "none")


@pytest.mark.parametrize("text, statement, guests", [
    ("femme de 42 ans, heavy lesion load", Statement(age=42.0, sex="F", lesion_load="high"),
     ['"heavy lesion load" is read as English']),
    ("woman of 42, charge lésionnelle élevée", Statement(age=42.0, sex="F", lesion_load="high"),
     ['"woman of" is read as English']),
    ("woman of 42, plus de 10 lésions", Statement(age=42.0, sex="F", lesion_count=parse("more than 10 lesions")
                                                  .statement.lesion_count), ['"plus de 10 lésions" is read as French']),
    ("femme, no lesions", Statement(sex="F", lesion_count=0), ['"femme" is read as French']),
    ("no lesions, severe atrophie du thalamus", Statement(lesion_count=0, atrophy={"thalamus": "severe"}),
     ['"no" is read as English']),
    ("sans atrophy, nine lesions", Statement(lesion_count=9, atrophy=NOWHERE), ['"sans" is read as French']),
    ("hevy lesion load, femme de 42 ans", Statement(age=42.0, sex="F", lesion_load="high"),
     ['"hevy" is read as "heavy"', '"heavy lesion load" is read as English']),
])
def test_words_of_the_other_language_are_read_and_said(text, statement, guests):
    reading = parse(text)
    assert (reading.statement, reading.ignored, reading.warnings) == (statement, [], guests)


@pytest.mark.parametrize("text, ignored", [
    ("femme de 42 ans, brain tumour", ["brain tumour"]), ("woman of 42, AVC", ["AVC"]),
    ("patient H. Le Grand, woman of 42", ["H", "Le Grand"]), ("femme, left side only", ["left side only"]),
    ("mujer de 42 años, nueve lesiones", ["mujer", "42 años", "nueve lesiones"]),
    ("תשע nine lesions", ["תשע"]), ("<b>nine</b> lesions", ["<b>", "</b>"]),
])
def test_words_of_no_command_are_ignored_in_any_language(text, ignored):
    assert parse(text).ignored == ignored, parse(text)


SAID = [      # one matter a line: what it means, in English and in French
    (dict(sex="F", age=42.0), "woman of 42", "femme de 42 ans"),
    (dict(phenotype="SPMS"), "secondary progressive MS", "SEP secondairement progressive"),
    (dict(contrasts=("T1w",)), "T1w without gadolinium", "T1 sans injection"),
    (dict(edss=3.5), "EDSS 3.5", "score EDSS 3,5"),
    (dict(lesions_by_region={"periventricular": Amount(9)}), "nine periventricular lesions",
     "neuf lésions périventriculaires"),
    (dict(lesion_load="high"), "heavy lesion load", "charge lésionnelle élevée"),
    (dict(atrophy={"thalamus": "severe"}), "severe thalamic atrophy", "atrophie sévère du thalamus"),
    (dict(new_count=2), "two new lesions", "deux nouvelles lésions"),
    (dict(black_hole_count=0), "no black holes", "aucun trou noir"),
    (dict(treatment="high"), "natalizumab", "traitement hautement efficace"),
]
PHRASES = st.lists(st.tuples(st.integers(0, len(SAID) - 1), st.integers(1, 2)), min_size=1, max_size=6,
                   unique_by=lambda pair: pair[0])


@settings(max_examples=200, deadline=None)
@given(PHRASES)
def test_each_phrase_may_have_its_own_language(chosen):
    text = ", ".join(SAID[matter][language] for matter, language in chosen)
    meant = replace(Statement(), **{name: value for matter, _ in chosen for name, value in SAID[matter][0].items()})
    reading = parse(text)
    assert (reading.statement, reading.ignored) == (meant, []), text
    assert all(" is read as " in line for line in reading.warnings), reading


KNOWN = {part for lexicon in LEXICONS.values() for key in lexicon.phrases for part in key}
NONSENSE = st.text(string.ascii_letters + "éèêàçïôœ", min_size=5, max_size=14).filter(
    lambda word: stem(word) not in KNOWN and all(nearest(word, lexicon) is None for lexicon in LEXICONS.values()))
FORMS = sorted({form.replace("~", "") for lexicon in LEXICONS.values() for _, table in lexicon.tables
                for forms in table.values() for form in forms})
TOLD = st.sampled_from([*(phrase for matter in SAID for phrase in matter[1:]), *FORMS, "9", "6 ml", "9 lesions", ",",
                        ".", ":", "(", ")", "1½ ml", "1.200 mm3", "6 ml each", "chacune", "42 ans", "?", "-3", "F42"])


@settings(max_examples=500, deadline=None)
@given(st.lists(TOLD, max_size=8), NONSENSE, st.data())
def test_a_word_of_nobody_is_ignored_by_name_wherever_it_stands(told, nonsense, data):
    words = " ".join(told).split()
    at = data.draw(st.integers(0, len(words)))
    text = " ".join([*words[:at], nonsense, *words[at:]])
    assume(len(text) <= 2000)
    assert nonsense in " ".join(parse(text).ignored).split(), (text, parse(text))


# Kinds that may pass without a word: they join, or say what every command says (a patient with multiple sclerosis).
SILENT = {"skip", "article", "and", "or", "nor", "with", "end", "total", "to", "between", "spread", "apart", "mark",
          "someone", "MS"}
UNSAID = {"brain", "cerebral", "cérébrale", "cérébral", "cerveau", "encéphale", "encéphalique", "since", "for",
          "depuis"}


@pytest.mark.parametrize("language, sentence", [("en", "42 years old, {}, EDSS 3"), ("fr", "42 ans, {}, EDSS 3")])
def test_no_word_of_the_lexicon_is_dropped_in_silence(language, sentence):
    without = parse(sentence.replace("{}, ", ""))
    silent = []
    for name, table in LEXICONS[language].tables:
        kind = name.partition(".")[0]
        for form in (form for forms in table.values() for form in forms if kind not in SILENT and form not in UNSAID):
            reading = parse(sentence.format(" ".join(split(form))))
            if (reading.statement, reading.ignored, reading.warnings) == (
                    without.statement, without.ignored, without.warnings):
                silent.append(form)
    assert not silent
