"""findings -> text -> findings is the identity on every stated field, in both languages, through sentences and reports.

The whole figure: `pytest tests/test_round_trip.py -m slow` reads 10,000 random records of each language back twice.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medfuse_jax.data.definitions import COUNT_WORDS
from medfuse_jax.data.findings import (
    ACTIVITY,
    ATROPHY,
    PHENOTYPES,
    REGIONS,
    TREATMENTS,
    Statement,
)
from medfuse_jax.data.labels import CONTRASTS
from medfuse_jax.data.language import (
    LEXICONS,
    as_reported,
    parse,
    random_findings,
    read_report,
    report,
    state,
    write,
)
from medfuse_jax.data.language.reader import DOUBT

FEW, ALL = 300, 10_000
seeds = st.integers(0, 2**63 - 1)
languages = pytest.mark.parametrize("language", LEXICONS)


def read_back(seed: int, language: str) -> None:
    """A random record, a random choice of what to say of it, and one of all forms of saying it."""
    rng = np.random.default_rng(seed)
    findings = random_findings(rng)
    said = state(findings, rng)
    text = write(said, language, rng if seed % 5 else None)
    reading = parse(text)
    assert (reading.statement, reading.ignored) == (said, []), text
    assert reading.warnings == [DOUBT] * (said.possible is not None), text
    assert read_report(report(findings, language)) == as_reported(findings), seed


@languages
@settings(max_examples=FEW, deadline=None)
@given(seed=seeds)
def test_what_is_said_of_a_record_is_read_back(language, seed):
    read_back(seed, language)


@pytest.mark.slow
@languages
@settings(max_examples=ALL, deadline=None)
@given(seed=seeds)
def test_what_is_said_of_ten_thousand_records_is_read_back(language, seed):
    read_back(seed, language)


# Any statement, true of somebody or not, as its JSON record


def between(numbers, steps):
    """Records of ranges, half of them open."""
    return st.builds(lambda low, more: {"low": low, "high": None if more is None else round(low + more, 1)},
                     numbers, st.none() | steps)


words = st.sampled_from(sorted(COUNT_WORDS))
positive = st.one_of(st.integers(1, 60), words, between(st.integers(1, 60), st.integers(1, 9)))
counts = st.just(0) | positive
tenths = st.integers(1, 300).map(lambda tenths: tenths / 10)
volumes = tenths | between(tenths, tenths)
amounts = st.just({"count": 0}) | st.fixed_dictionaries({}, optional={"count": positive, "volume_ml": volumes})
grades, phenotypes = st.sampled_from(("none", "mild", "moderate", "severe")), st.sampled_from(PHENOTYPES)
loads = st.sampled_from(("none", "minimal", "mild", "moderate", "high", "very_high"))
regions, structures = st.sampled_from(REGIONS), st.sampled_from(ATROPHY)
doubts = st.one_of(
    st.dictionaries(regions, amounts, min_size=1).map(lambda told: {"lesions_by_region": told}),
    st.dictionaries(structures, grades, min_size=1).map(lambda told: {"atrophy": told}),
    st.dictionaries(st.sampled_from(ACTIVITY), counts, min_size=1), st.fixed_dictionaries({"phenotype": phenotypes}),
    st.fixed_dictionaries({"lesion_count": counts}), st.fixed_dictionaries({"lesion_load": loads}))
records = st.fixed_dictionaries({}, optional={
    "age": st.integers(10, 99).map(float), "sex": st.sampled_from("FM"), "phenotype": phenotypes,
    "treatment": st.sampled_from(TREATMENTS), "edss": st.integers(0, 20).map(lambda half: half / 2),
    "disease_duration_years": st.integers(1, 60).map(float), "lesion_count": counts, "lesion_volume_ml": volumes,
    "contrasts": st.sets(st.sampled_from(CONTRASTS)).map(lambda names: [n for n in CONTRASTS if n in names]),
    "lesion_load": loads, "lesions_by_region": st.dictionaries(regions, amounts),
    "atrophy": st.dictionaries(structures, grades), "only": st.booleans(), "possible": doubts,
    **dict.fromkeys(ACTIVITY, counts)})


@languages
@settings(max_examples=FEW, deadline=None)
@given(record=records, seed=st.integers(0, 2**32 - 1))
def test_any_statement_is_read_back(language, record, seed):
    statement = Statement.from_json(record)
    assume(replace(statement, only=False) != Statement())
    text = write(statement, language, np.random.default_rng(seed))
    assert (parse(text).statement, parse(text).ignored) == (statement, []), text
    assert Statement.from_json(statement.to_json()) == statement
