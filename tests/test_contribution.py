import jax
import numpy as np
import pytest

from medfuse_jax.explain.contribution import decided
from medfuse_jax.methods import guidance
from medfuse_jax.methods.guidance import Weights

SUBSETS = guidance.subsets(guidance.BOTH)
DRAWN = dict(zip(SUBSETS, jax.random.normal(jax.random.key(1), (4, 2, 3, 4, 5, 6)), strict=True))


@pytest.mark.parametrize("weights", [Weights(3.0, 1.0), Weights(1.0, 1.0), Weights(0.5, 4.0, 0.0)])
def test_shares_sum_to_one_and_maps_to_shares(weights):
    told = decided(DRAWN, weights.checked().terms())
    np.testing.assert_allclose(told["text"] + told["image"], 1, atol=1e-5)
    for name in ("text", "image"):
        np.testing.assert_allclose(told[f"map_{name}"].sum(axis=(1, 2, 3)), told[name], atol=1e-5)


def test_a_silenced_modality_decides_nothing():
    told = decided(DRAWN, Weights(0.0, 2.0).checked().terms())
    np.testing.assert_allclose(told["image"], 1, atol=1e-5)
    assert not np.asarray(told["text"]).any() and not np.asarray(told["interaction"]).any()


def test_where_nothing_was_decided_all_is_zero():
    told = decided(DRAWN, Weights(0.0, 0.0).checked().terms())
    assert all(not np.asarray(value).any() for value in told.values())
