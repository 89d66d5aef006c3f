"""Losses, against numbers worked out by hand."""

import jax.numpy as jnp
import numpy as np

from medfuse_jax.methods import losses


def test_divergence_of_the_standard_normal_is_zero_and_of_a_shifted_one_half_its_square():
    zero = jnp.zeros((2, 2, 2, 2, 3))
    np.testing.assert_allclose(losses.divergence(zero, zero), 0)
    np.testing.assert_allclose(losses.divergence(zero + 3.0, zero), 4.5)


def test_cross_entropy_of_equal_logits_is_log_of_the_number_of_classes():
    values = losses.cross_entropy(jnp.zeros((2, 3, 3, 3, 7)), jnp.ones((2, 3, 3, 3), jnp.int32), jnp.ones((2, 3, 3, 3)))
    np.testing.assert_allclose(values, np.log(7), rtol=1e-6)


def test_weighted_mean_counts_only_what_weighs():
    values = jnp.array([[1.0, 100.0], [3.0, 5.0]])
    np.testing.assert_allclose(losses.mean(values, jnp.array([[1.0, 0.0], [1.0, 1.0]])), [1.0, 4.0])
    np.testing.assert_allclose(losses.mean(values, jnp.zeros((2, 2))), 0)


def test_gradient_loss_ignores_a_constant_offset():
    volume = jnp.arange(2.0 * 4 * 4 * 4).reshape(2, 4, 4, 4, 1)
    np.testing.assert_allclose(losses.gradient(volume + 5, volume, jnp.ones_like(volume)), 0, atol=1e-5)
    tilted = volume + jnp.arange(4.0)[:, None, None]
    np.testing.assert_allclose(losses.gradient(tilted, volume, jnp.ones_like(volume)), 1 / 3, rtol=1e-5)


def test_a_certain_and_right_lesion_costs_nothing():
    fraction = jnp.zeros((1, 4, 4, 4)).at[0, 1, 2, 3].set(1.0)
    right = losses.lesion(40 * fraction - 20, fraction, jnp.ones_like(fraction))
    wrong = losses.lesion(20 - 40 * fraction, fraction, jnp.ones_like(fraction))
    np.testing.assert_allclose(right, 0, atol=1e-5)
    assert wrong[0] > 20


def test_infonce_of_vectors_that_say_nothing_is_log_of_the_batch():
    same = jnp.ones((8, 4)) / 2
    np.testing.assert_allclose(losses.infonce(same, same, jnp.array(5.0)), np.log(8), rtol=1e-5)
    np.testing.assert_allclose(losses.infonce(jnp.eye(4), jnp.eye(4), jnp.array(50.0)), 0, atol=1e-5)


def test_infonce_does_not_push_away_a_sentence_that_means_the_same():
    image, text = jnp.eye(3), jnp.eye(3)[jnp.array([0, 0, 2])]
    same = jnp.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    assert losses.infonce(image, text, jnp.array(10.0), same)[0] < losses.infonce(image, text, jnp.array(10.0))[0] - 0.1


def test_siglip_of_zero_logits_is_log_two_a_pair():
    zero = jnp.zeros((5, 4))
    np.testing.assert_allclose(losses.siglip(zero, zero, jnp.array(1.0), jnp.array(0.0)), 5 * np.log(2), rtol=1e-6)


def test_half_of_the_emphasis_moves_the_best_logit():
    """A fifth of equal voxels are lesions: entropy is least at the log odds, plus half of those that emphasis adds."""
    fraction, one = jnp.zeros((1, 5, 5, 5)).at[:, 0].set(1.0), jnp.ones((1, 5, 5, 5))

    def entropy(logit, emphasis):
        said = jnp.full(fraction.shape, logit)
        overlap = losses.lesion(said, fraction, 1e-12 * one)         # next to no weight: Dice alone
        return float((losses.lesion(said, fraction, one, emphasis) - overlap)[0])

    logits = np.arange(-3.0, 0.5, 0.05)
    for emphasis in (0.0, 6.0):
        best = logits[np.argmin([entropy(logit, emphasis) for logit in logits])]
        assert abs(best - np.log(0.25) - 0.5 * np.log(1.0 + emphasis)) < 0.03
