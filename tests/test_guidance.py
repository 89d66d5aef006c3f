"""The dial: corners where the answer is known, and laws that hold for any numbers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medfuse_jax.errors import MedFuseError
from medfuse_jax.methods import guidance
from medfuse_jax.methods.guidance import BOTH, IMAGE, NOTHING, TEXT, Weights

SUBSETS = guidance.subsets(BOTH)


def toy(text=10.0, image=1.0, together=5.0, nothing=2.0) -> dict:
    """Text adds 10, image adds 1, both together 5 more."""
    ones = jnp.ones((2, 3, 3, 3, 4))
    return {NOTHING: nothing * ones, TEXT: (nothing + text) * ones, IMAGE: (nothing + image) * ones,
            BOTH: (nothing + text + image + together) * ones}


def drawn(seed: int) -> dict:
    keys = jax.random.split(jax.random.key(seed), 4)
    return {subset: jax.random.normal(key, (2, 3, 3, 3, 4)) for subset, key in zip(SUBSETS, keys, strict=True)}


@pytest.mark.parametrize("text, image, together, expected", [
    (0, 0, 0, 2.0), (1, 1, 1, 18.0), (1, 0, 0, 12.0), (0, 1, 0, 3.0), (3, 0, None, 32.0), (0, 2, None, 4.0),
    (4, 1, None, 2 + 40 + 1 + 2 * 5), (2, 1, 2, 2 + 20 + 1 + 10)])
def test_corners(text, image, together, expected):
    fused = guidance.fuse(toy(), Weights(text, image, together).checked().terms())
    np.testing.assert_allclose(fused, expected, rtol=1e-6)


def test_classifier_free_guidance_is_the_dial_with_text_alone():
    v, weight = drawn(0), 3.5
    fused = guidance.fuse(v, Weights(weight, 0.0).checked().terms())
    np.testing.assert_allclose(fused, v[NOTHING] + weight * (v[TEXT] - v[NOTHING]), rtol=1e-5, atol=1e-5)


def test_two_weight_form_of_instructpix2pix():
    """e({}) + s_I (e(I) - e({})) + s_T (e(I, T) - e(I)): the dial with w(text, image) = w(text)."""
    v, s_image, s_text = drawn(1), 1.5, 4.0
    theirs = v[NOTHING] + s_image * (v[IMAGE] - v[NOTHING]) + s_text * (v[BOTH] - v[IMAGE])
    ours = guidance.fuse(v, Weights(s_text, s_image, s_text).checked().terms())
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weights, needed", [
    (Weights(0.0, 0.0), {NOTHING}), (Weights(1.0, 0.0), {TEXT}), (Weights(3.0, 0.0), {NOTHING, TEXT}),
    (Weights(1.0, 1.0), {BOTH}), (Weights(0.0, 2.0), {NOTHING, IMAGE}), (Weights(2.0, 2.0, 2.0), {NOTHING, BOTH}),
    (Weights(3.0, 1.0), set(SUBSETS))])
def test_only_the_required_subsets_are_evaluated(weights, needed):
    terms = weights.checked().terms()
    assert set(guidance.required(terms)) == needed
    v = drawn(2)
    alone = guidance.fuse({subset: v[subset] for subset in needed}, terms)
    np.testing.assert_allclose(alone, guidance.fuse(v, terms), rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), text=st.floats(0, 10), image=st.floats(0, 10))
def test_shares_sum_to_one_and_vectors_to_the_whole(seed, text, image):
    v, terms = drawn(seed), Weights(text, image).checked().terms()
    vectors = guidance.shapley(v, terms)
    delta = guidance.fuse(v, terms) - v[NOTHING]
    np.testing.assert_allclose(sum(vectors.values()), delta, rtol=1e-4, atol=1e-4)
    total = sum(guidance.shares(vectors).values())
    np.testing.assert_allclose(total, 1.0 if float(jnp.sum(delta**2)) > 1e-9 else total, atol=1e-5)


def test_shares_split_the_interaction_equally():
    shares = guidance.shares(guidance.shapley(toy(), Weights(1.0, 1.0, 1.0).terms()))
    np.testing.assert_allclose(shares["text"], 12.5 / 16)
    np.testing.assert_allclose(shares["image"], 3.5 / 16)


def test_moebius_turns_round():
    v = drawn(3)
    pure = guidance.moebius(v)
    for outer in SUBSETS:
        whole = sum(pure[inner] for inner in SUBSETS if inner <= outer)
        np.testing.assert_allclose(whole, v[outer], rtol=1e-5, atol=1e-5)


def test_a_sweep_of_weights_compiles_once():
    v, compiled = drawn(4), []

    @jax.jit
    def swept(weights: Weights):
        compiled.append(1)
        return guidance.fuse(v, weights.terms())

    for text in (0.5, 1.0, 6.0):
        swept(Weights(text, 1.0).checked())
    assert len(compiled) == 1


@pytest.mark.parametrize("text", [-1.0, math.nan, math.inf, 1e9])
def test_weights_that_mean_nothing_are_refused(text):
    with pytest.raises(MedFuseError, match="text weight"):
        Weights(text, 1.0).checked()
