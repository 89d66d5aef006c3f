"""Masks that agree: by hand, and lesion by lesion against a count that goes through them one at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label

from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics import overlap

LAWS = settings(max_examples=25, deadline=None)


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
    assert overlap.lesions_by_size(truth, guess, 1.0)[3.0, 10.0][:2] == (1, 2)
    assert overlap.lesion_f1(truth, truth, 1.0) == overlap.lesion_f1(truth & False, guess & False, 1.0) == 1.0
    assert overlap.lesion_f1(truth, guess & False, 1.0) == overlap.lesion_f1(truth & False, guess, 1.0) == 0.0


def blobs(seed, shape=(18, 20, 16), share=0.06):
    """Two masks of some lesions each, of which some overlap."""
    generator = np.random.default_rng(seed)
    one, other = (ndimage.gaussian_filter(generator.standard_normal(shape), 1.0) for _ in range(2))
    return one > np.quantile(one, 1 - share), one + other > np.quantile(one + other, 1 - share)


def one_by_one(truth, guess, spacing):
    """(found, true, right, guessed) of each size bin, from sets of voxels."""
    cubic_mm = float(np.prod(spacing))
    sets = []
    for mask in (truth, guess):
        numbered = label(mask, connectivity=3)
        each = [set(map(tuple, np.argwhere(numbered == k))) for k in range(1, numbered.max() + 1)]
        sets.append([lesion for lesion in each if len(lesion) * cubic_mm >= 3.0 - 1e-6])
    true, guessed = sets
    counts = [[0, 0, 0, 0] for _ in overlap.SIZE_BINS_MM3]

    def place(lesion):
        return max(k for k, (low, _) in enumerate(overlap.SIZE_BINS_MM3) if len(lesion) * cubic_mm >= low - 1e-6)

    for lesion in true:
        counts[place(lesion)][1] += 1
        counts[place(lesion)][0] += any(lesion & other for other in guessed)
    for lesion in guessed:
        partner = max(true, key=lambda other: len(lesion & other), default=set())       # of equal ones the first
        right = bool(lesion & partner)
        counts[place(partner if right else lesion)][3] += 1
        counts[place(partner if right else lesion)][2] += right
    return [tuple(each) for each in counts]


@given(st.integers(0, 2**31), st.sampled_from([(1.0, 1.0, 1.0), (1.0, 0.9, 3.0), (4.0, 4.0, 4.0)]))
@LAWS
def test_lesions_by_size_one_by_one(seed, spacing):
    truth, guess = blobs(seed)
    found = overlap.lesions_by_size(truth, guess, spacing)
    assert [tuple(each) for each in found.values()] == one_by_one(truth, guess, spacing)
    scores, totals = overlap.lesion_scores(truth, guess, spacing), np.sum(list(found.values()), axis=0)
    whole = overlap.Detected(*map(int, totals))
    assert (whole.precision, whole.recall, whole.f1) == pytest.approx(scores[:3])
    assert (whole.true, whole.guessed) == scores[3:]


def test_a_size_at_the_end_of_a_bin_belongs_to_the_bin_that_begins_there():
    mask = np.zeros((40, 6, 6), bool)
    mask[1:4, 1, 1] = mask[6:16, 1, 1] = True                        # 3 and 10 voxels
    for spacing in (1.0, (0.3, 0.3, 1 / 0.09)):                       # of 1 mm3, the second a rounding error less
        found = overlap.lesions_by_size(mask, mask, spacing)
        assert [each.true for each in found.values()] == [1, 1, 0, 0, 0, 0]
        assert found[3.0, 10.0].f1 == 1.0 and np.isnan(found[30.0, 100.0].f1)


def test_detected_shares():
    assert overlap.Detected(0, 2, 0, 0).f1 == overlap.Detected(0, 0, 0, 2).f1 == 0.0
    assert np.isnan([overlap.Detected(0, 2, 0, 0).precision, overlap.Detected(0, 0, 0, 2).recall]).all()
    assert overlap.Detected(1, 2, 2, 8).f1 == pytest.approx(1 / 3)


def test_pooled_people_are_one_set_of_lesions():
    each = [overlap.lesions_by_size(*blobs(seed), 1.0) for seed in range(3)]
    together = [np.concatenate(masks) for masks in zip(*(np.pad(blobs(seed), ((0, 0), *[(1, 1)] * 3)) for seed in
                                                         range(3)), strict=True)]
    assert overlap.pooled(each) == overlap.lesions_by_size(*together, 1.0)
    assert overlap.pooled([]) == {}


@given(st.integers(0, 2**31), st.permutations(range(3)), st.integers(0, 2), st.sampled_from([0.0, 20.0]))
@LAWS
def test_laws_of_overlap(seed, order, flipped, smallest):
    truth, guess = blobs(seed)
    spacing = np.array([1.0, 1.2, 0.8])
    scores = overlap.lesion_scores(truth, guess, spacing, smallest)
    swapped = overlap.lesion_scores(guess, truth, spacing, smallest)
    assert swapped == (scores.recall, scores.precision, pytest.approx(scores.f1), *scores[:2:-1])
    moved = [np.flip(mask, flipped).transpose(order) for mask in (truth, guess)]
    assert overlap.lesion_scores(*moved, spacing[list(order)], smallest) == pytest.approx(scores)
    assert overlap.dice(*moved) == overlap.dice(truth, guess) == overlap.dice(guess, truth)
    assert all(0.0 <= each <= 1.0 for each in (*scores[:3], overlap.dice(truth, guess)))
    assert overlap.lesion_f1(truth, truth, spacing, smallest) == overlap.dice(truth, truth) == 1.0


def test_masks_of_other_shapes_are_refused():
    mask = np.ones((3, 4, 5), bool)
    for score in (overlap.dice, lambda a, b: overlap.lesion_f1(a, b, 1.0), overlap.dice_per_class):
        with pytest.raises(MedFuseError, match="one grid"):
            score(mask, mask[:1])                                    # numpy alone would stretch it
    with pytest.raises(MedFuseError, match="classes"):
        overlap.dice_per_class(np.array([7]), np.array([1]), classes=7)
