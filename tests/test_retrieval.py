"""Retrieval by hand, and against every order that ties and chance could give."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics import retrieval


def test_recall_counts_the_right_rank():
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.1, 0.2, 0.3]])        # the second comes second
    assert retrieval.recall_at(similarity, "abc", 1) == pytest.approx(2 / 3)
    assert retrieval.recall_at(similarity, "abc", 2) == 1.0
    assert retrieval.recall_at(similarity, "aac", 1) == 1.0, "an equal caption is a right answer"
    assert retrieval.recall_at(similarity.T, "abc", 1) == 1.0


@pytest.mark.parametrize("identities, k", [("abcd", 1), ("abcd", 3), ("aabc", 2), ("aaab", 1), ("ab", 10)])
def test_chance_is_the_mean_over_all_orders(identities, k):
    orders = list(itertools.permutations(range(len(identities))))
    hits = [any(identities[j] == own for j in order[:k]) for own in identities for order in orders]
    assert retrieval.chance_at(identities, k) == pytest.approx(np.mean(hits))
    silent = np.zeros((len(identities), len(identities)))
    assert retrieval.recall_at(silent, identities, k) == pytest.approx(np.mean(hits)), "ties are worth chance"


def test_retrieval_names():
    found = retrieval.recall_both_ways(np.eye(12), range(12))
    assert found["image_to_text_r@1"] == found["text_to_image_r@10"] == 1.0
    assert found["chance_r@5"] == pytest.approx(5 / 12)


@given(st.integers(0, 2**31), st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_ties_are_the_mean_over_all_orders(seed, identities, k):
    similarity = np.random.default_rng(seed).integers(0, 3, (len(identities),) * 2).astype(float)
    hits = []
    for row, own in zip(similarity, identities, strict=True):
        orders = itertools.permutations(range(len(identities)))
        ranked = [sorted(order, key=lambda column: -row[column]) for order in orders]       # stable: ties as drawn
        hits.append(np.mean([any(identities[column] == own for column in order[:k]) for order in ranked]))
    np.testing.assert_allclose(retrieval.hits_at(similarity, identities, k), hits, atol=1e-12)


@given(st.integers(0, 2**31), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_laws_of_retrieval(seed, k):
    generator = np.random.default_rng(seed)
    similarity, identities = generator.integers(0, 5, (9, 9)).astype(float), generator.integers(0, 6, 9)
    value, order = retrieval.recall_at(similarity, identities, k), generator.permutation(9)
    assert retrieval.recall_at(similarity[order][:, order], identities[order], k) == pytest.approx(value)
    assert retrieval.recall_at(np.exp(similarity), identities, k) == pytest.approx(value), "only the order counts"
    assert 0.0 <= value <= retrieval.recall_at(similarity, identities, k + 1) <= 1.0
    assert retrieval.recall_at(identities[:, None] == identities, identities, k) == 1.0


def test_nothing_to_retrieve():
    assert np.isnan(retrieval.recall_at(np.zeros((0, 0)), [], 1)) and np.isnan(retrieval.chance_at([], 1))


@pytest.mark.parametrize("similarity", [np.eye(3)[:2], np.eye(4), np.full((3, 3), np.nan)])
def test_what_cannot_be_ranked_is_refused(similarity):
    with pytest.raises(MedFuseError, match="each pair"):
        retrieval.recall_at(similarity, "abc", 1)
