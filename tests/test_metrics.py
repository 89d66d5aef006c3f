"""Each judge against a value worked out by hand or a reference library."""

import itertools

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from medfuse_jax.metrics import image, interval, overlap, retrieval


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    truth = generator.random((20, 22, 24))
    return truth, truth + 0.1 * generator.standard_normal(truth.shape)


def test_psnr_against_scikit_image(pair):
    assert image.psnr(*pair, data_range=1.0) == pytest.approx(peak_signal_noise_ratio(*pair, data_range=1.0))


def test_psnr_by_hand():
    truth, mask = np.zeros((4, 4, 4)), np.zeros((4, 4, 4), bool)
    mask[0] = True
    off = truth + np.where(mask, 0.1, 5.0)                     # the rest is wrong, and not asked
    assert image.psnr(truth, off, mask, data_range=1.0) == pytest.approx(20.0)
    assert image.psnr(truth, truth, data_range=1.0) == np.inf
    assert np.isnan(image.psnr(truth, off, np.zeros_like(mask), data_range=1.0))


def test_ssim_against_scikit_image(pair):
    expected, full = structural_similarity(*pair, data_range=1.0, gaussian_weights=True, sigma=1.5,
                                           use_sample_covariance=False, full=True)
    assert image.ssim(*pair, data_range=1.0) == pytest.approx(expected, abs=1e-10)
    mask = pair[0] > 0.5
    assert image.ssim(*pair, mask, data_range=1.0) == pytest.approx(full[mask].mean(), abs=1e-10)


def test_ssim_of_a_volume_with_itself_is_one(pair):
    assert image.ssim(pair[0], pair[0]) == pytest.approx(1.0)
    assert image.ssim(np.zeros((5, 5, 5)), np.zeros((5, 5, 5))) == 1.0


@pytest.mark.parametrize("truth, guess, expected", [([1, 1, 0, 0], [1, 0, 0, 0], 2 / 3), ([1, 1], [1, 1], 1.0),
                                                    ([0, 0], [0, 0], 1.0), ([1, 0], [0, 1], 0.0)])
def test_dice(truth, guess, expected):
    assert overlap.dice(truth, guess) == pytest.approx(expected)


def test_dice_per_class_is_dice_of_each():
    generator = np.random.default_rng(0)
    truth, guess = generator.integers(0, 5, (2, 6, 6, 6)).astype(np.uint8)
    found = overlap.dice_per_class(truth, guess, classes=7)
    assert found[:5] == pytest.approx([overlap.dice(truth == k, guess == k) for k in range(5)])
    assert np.isnan(found[5:]).all()


def test_lesion_scores_by_hand():
    truth, guess = np.zeros((2, 20, 20, 20), bool)
    truth[1:3, 1:3, 1:3] = truth[8:10, 8:10, 8:10] = truth[15:18, 15:18, 15:18] = True     # 8, 8, 27 mm3
    guess[2, 2, 2:5] = guess[16:18, 16:18, 16:18] = guess[1:3, 15:17, 1:3] = guess[1:3, 1:3, 15:17] = True
    scores = overlap.lesion_scores(truth, guess, 1.0)
    assert scores[:3] == pytest.approx((2 / 4, 2 / 3, 4 / 7)) and scores[3:] == (3, 4)
    assert overlap.lesion_scores(truth, guess, 1.0, smallest_mm3=20.0).recall == 1.0
    assert overlap.recall_by_size(truth, guess, 1.0)[3.0, 10.0] == (1, 2)
    assert overlap.lesion_f1(truth, truth, 1.0) == overlap.lesion_f1(truth & False, guess & False, 1.0) == 1.0
    assert overlap.lesion_f1(truth, guess & False, 1.0) == overlap.lesion_f1(truth & False, guess, 1.0) == 0.0


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


@pytest.mark.parametrize("scores, positive, expected", [
    ([1, 2, 3, 4], [0, 0, 1, 1], 1.0), ([4, 3, 2, 1], [0, 0, 1, 1], 0.0), ([1, 1, 1, 1], [0, 1, 0, 1], 0.5),
    ([1, 3, 2, 4], [0, 0, 1, 1], 0.75), ([1, 2, 2, 3], [0, 0, 1, 1], 0.875)])
def test_auroc(scores, positive, expected):
    assert retrieval.auroc(scores, positive) == pytest.approx(expected)
    assert np.isnan(retrieval.auroc(scores, np.ones(4)))


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        low, high = interval.bootstrap(generator.standard_normal(50), n=400, seed=seed)
        inside += low <= 0.0 <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_bootstrap_repeats_and_leaves_the_unmeasured_out():
    values = np.array([1.0, 2.0, np.nan, 3.0, 7.0])
    assert interval.bootstrap(values, seed=3) == interval.bootstrap(values[[0, 1, 3, 4]], seed=3)
    assert interval.bootstrap(values, np.max, n=200, seed=3)[1] == 7.0
    assert interval.bootstrap(np.array([[1, 1], [2, 2], [5, 5.0]]), lambda v: np.ptp(v[:, 0] - v[:, 1])) == (0.0, 0.0)
    assert np.isnan(interval.bootstrap(np.array([4.0]))).all()


def test_permutation_p_matches_all_arrangements():
    a, b = np.array([5.0, 6.0, 7.0]), np.array([1.0, 2.0, 3.5])
    assert interval.permutation_p(a, b) == pytest.approx(2 / 20, abs=0.015)              # 20 splits, two as extreme
    assert interval.permutation_p(a, b, paired=True) == pytest.approx(2 / 8, abs=0.02)   # 8 signs, two as extreme
    assert interval.permutation_p(a, a) == interval.permutation_p(a, a, paired=True) == 1.0


def test_spearman():
    assert interval.spearman([1, 2, 3, 4], [1, 8, 27, 64]) == pytest.approx(1.0)
    assert np.isnan(interval.spearman([1, 1, 1], [1, 2, 3]))
