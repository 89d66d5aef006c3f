"""Networks: exact inverses, two formulations of one thing, silence that leaves no trace, numbers of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from medfuse_jax.models import blocks
from medfuse_jax.models.alignment import Alignment
from medfuse_jax.models.autoencoder import LEAST, Atlas, Autoencoder, spread_over
from medfuse_jax.models.denoiser import Denoiser, Image
from medfuse_jax.models.initialise import initialise
from medfuse_jax.models.text import Text

ONE = np.ones(2, np.float32)
LATENT = np.random.default_rng(0).standard_normal((2, 6, 7, 6, 4), np.float32)
VOLUME = np.random.default_rng(1).random((2, 24, 28, 24, 4), np.float32)
WORDS, MASK, FACTS = np.ones((2, 8), np.int32), np.ones((2, 8), bool), np.zeros((2, 5, 3), np.float32)
TEXT = Text(np.random.default_rng(2).standard_normal((2, 9, 16), np.float32), np.ones((2, 9), bool),
            np.ones((2, 16), np.float32), np.ones((2, 5, 3), np.float32))
IMAGE = Image(LATENT[::-1].copy(), np.ones((2, 6, 7, 6, 1), np.float32), ONE, ONE)

NETWORKS = {
    "autoencoder": (Autoencoder(4, 29, 4, (8, 16), (0, 1), (1, 1), rank=2),
                    (VOLUME, np.ones((2, 4), np.float32)), 1_995_396),
    "alignment": (Alignment(64, 8, 5, 16, 2, 1, 1, 16), (LATENT, WORDS, MASK, FACTS), 9_554),
    "denoiser": (Denoiser(4, 16, 1, 2), (LATENT, ONE, TEXT, IMAGE, ONE, ONE), 11_868),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_number_of_parameters(name):
    network, inputs, expected = NETWORKS[name]
    assert sum(leaf.size for leaf in jax.tree.leaves(initialise(network, 0, *inputs))) == expected


def test_initialisation_does_not_depend_on_order_and_follows_the_seed():
    network, inputs, _ = NETWORKS["denoiser"]
    one, same, other = (initialise(network, seed, *inputs) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(same), strict=True))
    assert not np.array_equal(one["cube"]["kernel"], other["cube"]["kernel"])
    assert abs(one["cube"]["kernel"].std() * np.sqrt(one["cube"]["kernel"].shape[0]) - 1) < 0.1
    assert not one["zero_out"]["kernel"].any()


def test_haar_is_orthonormal_and_inverted_exactly():
    bands = blocks.haar(VOLUME)
    np.testing.assert_allclose(blocks.unhaar(bands), VOLUME, atol=1e-5)
    np.testing.assert_allclose(jnp.sum(bands**2), np.sum(VOLUME**2), rtol=1e-5)
    cubes = VOLUME.reshape(2, 12, 2, 14, 2, 12, 2, 4)
    np.testing.assert_allclose(bands[..., :4], cubes.sum((2, 4, 6)) / 8**0.5, rtol=1e-5)


def test_both_formulations_of_a_convolution_agree_in_value_and_gradient():
    x = np.random.default_rng(3).standard_normal((2, 5, 6, 7, 3), np.float32)
    kernel = np.random.default_rng(4).standard_normal((3, 3, 3, 3, 4), np.float32)

    def of(formulation):
        def loss(x, kernel):
            return jnp.mean(jnp.sin(blocks.convolve(x, kernel, formulation)))

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(x, kernel)

    for one, other in zip(jax.tree.leaves(of("direct")), jax.tree.leaves(of("depth_sum")), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_chunked_attention_is_attention():
    query, key, value = (np.random.default_rng(i).standard_normal((2, 11, 2, 8), np.float32) for i in range(3))
    mask = np.arange(11)[None] < np.array([[11], [4]])
    chunked = blocks.chunked(query, key, value, mask, size=4)
    np.testing.assert_allclose(chunked, blocks.plain(query, key, value, mask), atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 7, 6), (4, 4, 4), (5, 3, 2)])
def test_patches_come_back(shape):
    x = np.random.default_rng(5).standard_normal((2, *shape, 3), np.float32)
    np.testing.assert_array_equal(blocks.unpatch(blocks.patch(x, 2), 2, shape), x)


def test_group_norm_normalises():
    x = 5 + 3 * np.random.default_rng(6).standard_normal((2, 4, 4, 4, 16), np.float32)
    y = np.asarray(blocks.GroupNorm().apply({"params": initialise(blocks.GroupNorm(), 0, x)}, x)).reshape(2, 64, 8, 2)
    np.testing.assert_allclose(y.mean((1, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(y.std((1, 3)), 1, atol=1e-3)


def test_the_autoencoder_does_not_see_an_absent_contrast():
    network, (volume, present), _ = NETWORKS["autoencoder"]
    params = initialise(network, 0, volume, present)
    present = np.array([[1, 0, 1, 0]] * 2, np.float32)
    other = volume.copy()
    other[..., [1, 3]] = 7.0
    encode = jax.jit(lambda x: network.apply({"params": params}, x, present, method="encode")[0])
    np.testing.assert_array_equal(encode(volume), encode(other))


def test_planes_are_slices_of_the_whole():
    network, (volume, present), _ = NETWORKS["autoencoder"]
    params = initialise(network, 0, volume, present)
    whole = network.apply({"params": params}, LATENT, method="decode")
    some = network.apply({"params": params}, LATENT, np.array([1, 5]), method="decode")
    assert whole.volume.shape == (2, 24, 28, 24, 4) and whole.structures.shape == (2, 24, 28, 24, 29)
    np.testing.assert_allclose(some.structures, whole.structures[:, [2, 3, 10, 11]], atol=1e-5)


def awake(network, *inputs):
    """Parameters in which no branch is silent."""
    params = initialise(network, 0, *inputs)

    def noise(leaf):
        return np.random.default_rng(leaf.size).standard_normal(leaf.shape).astype(np.float32)

    return jax.tree.map(lambda leaf: leaf + 0.05 * noise(leaf), params)


@pytest.mark.parametrize("told, shown", [(0, 1), (1, 0), (0, 0), (1, 1)])
def test_a_silenced_modality_leaves_no_trace(told, shown):
    network, inputs, _ = NETWORKS["denoiser"]
    params = awake(network, *inputs)
    predict = jax.jit(lambda text, image: network.apply(
        {"params": params}, LATENT, 0.5 * ONE, text, image, told * ONE, shown * ONE))
    base = predict(TEXT, IMAGE)
    mask = TEXT.mask.copy()
    mask[:, 4:] = False
    other_text = predict(Text(TEXT.tokens + 1, mask, TEXT.pooled - 3, TEXT.facts * 2), IMAGE)
    other_image = predict(TEXT, Image(IMAGE.latent + 1, IMAGE.known * 0.5, 0 * ONE, 3 * ONE))
    assert bool(jnp.allclose(base, other_text, atol=1e-6)) == (not told)
    assert bool(jnp.allclose(base, other_image, atol=1e-6)) == (not shown)


def test_masked_words_are_not_read():
    network, (latent, words, mask, facts), _ = NETWORKS["alignment"]
    params = awake(network, latent, words, mask, facts)
    mask = np.arange(8)[None].repeat(2, 0) < 5
    other = np.where(mask, words, 9)
    read = jax.jit(lambda words, facts: network.apply({"params": params}, words, mask, facts, method="read").pooled)
    np.testing.assert_array_equal(read(words, facts), read(other, facts))
    unstated = facts.copy()
    unstated[..., :2] = 5.0
    np.testing.assert_array_equal(read(words, facts), read(words, unstated))


def test_embeddings_have_length_one():
    network, inputs, _ = NETWORKS["alignment"]
    aligned = network.apply({"params": initialise(network, 0, *inputs)}, *inputs)
    np.testing.assert_allclose(jnp.linalg.norm(aligned.image, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(aligned.text, axis=-1), 1, rtol=1e-5)


def test_the_autoencoder_is_linear_at_first_with_a_map_for_each_subset_of_contrasts():
    network, (volume, present), _ = NETWORKS["autoencoder"]
    params, random = initialise(network, 0, volume, present), np.random.default_rng(5)
    params["zero_linear_in"] = random.standard_normal(params["zero_linear_in"].shape, np.float32)
    params["linear_in_bias"] = random.standard_normal(params["linear_in_bias"].shape, np.float32)
    some = np.array([[1, 0, 1, 0], [0, 0, 0, 1]], np.float32)
    latent, _ = network.apply({"params": params}, volume, some, method="encode")
    bands = blocks.haar(blocks.haar(volume * some[:, None, None, None]))
    for row, subset in enumerate((0b0101, 0b1000)):
        expected = bands[row] @ params["zero_linear_in"][subset] + params["linear_in_bias"][subset]
        np.testing.assert_allclose(latent[row], expected, atol=1e-3)


def test_label_logits_of_some_planes_are_those_of_all():
    network, (volume, present), _ = NETWORKS["autoencoder"]
    params, random = initialise(network, 0, volume, present), np.random.default_rng(6)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * random.standard_normal(leaf.shape, np.float32), params)
    planes = np.array([0, 5, 11])
    every, some = (network.apply({"params": params}, LATENT, which, method="decode") for which in (None, planes))
    slices = (2 * planes[:, None] + np.arange(2)).reshape(-1)
    np.testing.assert_allclose(some.structures, every.structures[:, slices], atol=1e-4)
    np.testing.assert_allclose(some.lesion, every.lesion, atol=1e-4)


def test_an_atlas_is_interpolated_linearly():
    ramp = jnp.arange(6.0)[None, :, None, None, None] * jnp.ones((1, 6, 7, 6, 1))
    np.testing.assert_allclose(spread_over(ramp, jnp.arange(6), (6, 7, 6)), ramp)
    fine = spread_over(ramp, jnp.array([1, 2, 5, 10]), (12, 14, 12))
    np.testing.assert_allclose(fine[0, :, 3, 3, 0], [0.25, 0.75, 2.25, 4.75], atol=1e-5)


def test_the_atlas_bends_by_the_ratio_of_shares():
    atlas, latent = Atlas(3, 1), jnp.ones((1, 1, 1, 1, 2))
    params = {"bias": np.zeros((4, 4, 4, 4)), "mean": np.full((4, 4, 4, 4), 0.1), "axes": np.ones((1, 1, 1, 1, 2)),
              "centre": np.array([1.0]), "effects": np.full((1, 4, 4, 4, 4), 0.1) * np.array([1.0, 0.0, -5.0, -0.5])}
    _, bend = atlas.apply({"params": params}, latent)              # a score of 2 - 1
    np.testing.assert_allclose(bend[0, 0, 0, 0], np.log([2.0, 1.0, LEAST / 0.1, 0.5]), rtol=1e-4)
