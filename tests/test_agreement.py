"""Amounts that agree, findings that are told, and intervals: against closed forms, all pairs and repeated studies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics import agreement, classification, interval

LAWS = settings(max_examples=25, deadline=None)


def amounts(seed, n=12):
    generator = np.random.default_rng(seed)
    truth = generator.gamma(2.0, 5.0, n)
    return truth, 0.8 * truth + generator.normal(1.0, 2.0, n)


def test_limits_by_hand():
    limits = agreement.bland_altman([1, 2, 3, 4], [2, 2, 5, 4])            # differences 1, 0, 2, 0
    reach = 1.96 * np.sqrt((0.25**2 + 0.75**2 * 2 + 1.25**2) / 3)
    assert limits == pytest.approx((0.75, 0.75 - reach, 0.75 + reach, 4))
    alone = agreement.bland_altman([5.0], [7.0])
    assert alone.bias == 2.0 and np.isnan([alone.low, alone.high]).all() and alone.n == 1
    assert agreement.absolute_error([1, 2, 3, 4], [2, 2, 5, 4]) == 0.75


@given(st.integers(0, 2**31))
@LAWS
def test_correlations_against_scipy_and_lin_against_strangers(seed):
    truth, said = amounts(seed)
    assert agreement.pearson(truth, said) == pytest.approx(stats.pearsonr(truth, said).statistic)
    ranks = [np.argsort(np.argsort(each)) for each in (truth, said)]
    assert agreement.spearman(truth, said) == pytest.approx(stats.pearsonr(*ranks).statistic)
    # Lin 1989: 1 - the squared distance of pairs / that of two strangers, were they independent.
    strangers = np.mean((truth[:, None] - said[None]) ** 2)
    assert agreement.concordance(truth, said) == pytest.approx(1 - np.mean((truth - said) ** 2) / strangers)


@given(st.integers(0, 2**31), st.floats(-50, 50), st.floats(0.1, 9.0))
@LAWS
def test_laws_of_agreement(seed, shift, scale):
    truth, said = amounts(seed)
    order = np.random.default_rng(seed).permutation(len(truth))
    for score in (agreement.pearson, agreement.spearman, agreement.concordance, agreement.absolute_error,
                  agreement.bland_altman):
        value = score(truth, said)
        assert score(truth[order], said[order]) == pytest.approx(value), "people have no order"
        assert score(np.r_[truth, np.nan, 1.0], np.r_[said, 2.0, np.nan]) == pytest.approx(value), "nan: not measured"
    for score in (agreement.pearson, agreement.spearman, agreement.concordance):
        assert score(said, truth) == pytest.approx(score(truth, said)) and score(truth, truth) == pytest.approx(1.0)
        assert score(truth * scale + shift, said * scale + shift) == pytest.approx(score(truth, said), abs=1e-6)
        assert score(truth, -truth + 2 * truth.mean()) == pytest.approx(-1.0)
    assert abs(agreement.concordance(truth, said)) <= abs(agreement.pearson(truth, said)) + 1e-12
    limits, moved = agreement.bland_altman(truth, said), agreement.bland_altman(truth, said + shift)
    assert moved[:3] == pytest.approx(np.array(limits[:3]) + shift)
    assert agreement.bland_altman(truth, truth)[:3] == (0, 0, 0) and agreement.absolute_error(truth, truth) == 0


def test_nothing_agrees_with_nothing():
    for score in (agreement.pearson, agreement.spearman, agreement.concordance):
        assert np.isnan([score([], []), score([1.0], [1.0]), score([2.0, 2.0], [2.0, 2.0])]).all()
    assert np.isnan(agreement.pearson([1.0, 1.0], [1.0, 2.0])) and agreement.concordance([1.0, 1.0], [1.0, 2.0]) == 0
    assert np.isnan(agreement.bland_altman([], [])[:3]).all() and np.isnan(agreement.absolute_error([], []))
    with pytest.raises(MedFuseError, match="cannot be compared"):
        agreement.pearson([1.0, 2.0], [1.0])


def test_volume_difference():
    truth, guess = np.zeros((2, 10, 10, 10), bool)
    truth[:4], guess[6:] = True, True
    guess[5, :5] = True                                                     # 400 voxels beside 450, none in common
    assert agreement.volume_difference_ml(truth, guess, (1.0, 2.0, 0.5)) == pytest.approx(0.05)
    assert agreement.volume_difference_ml(guess, truth, (1.0, 2.0, 0.5)) == pytest.approx(0.05)
    assert agreement.volume_difference_percent(truth, guess) == pytest.approx(12.5)
    nothing = truth & False
    assert agreement.volume_difference_ml(nothing, nothing, 1.0) == 0.0
    assert agreement.volume_difference_percent(nothing, nothing) == 0.0
    assert agreement.volume_difference_percent(nothing, guess) == np.inf


def test_spearman():
    assert agreement.spearman([1, 2, 3, 4], [1, 8, 27, 64]) == pytest.approx(1.0)
    assert np.isnan(agreement.spearman([1, 1, 1], [1, 2, 3]))


@pytest.mark.parametrize("scores, positive, expected", [
    ([1, 2, 3, 4], [0, 0, 1, 1], 1.0), ([4, 3, 2, 1], [0, 0, 1, 1], 0.0), ([1, 1, 1, 1], [0, 1, 0, 1], 0.5),
    ([1, 3, 2, 4], [0, 0, 1, 1], 0.75), ([1, 2, 2, 3], [0, 0, 1, 1], 0.875)])
def test_auroc(scores, positive, expected):
    assert classification.auroc(scores, positive) == pytest.approx(expected)
    assert np.isnan(classification.auroc(scores, np.ones(4)))


@given(st.integers(0, 2**31), st.integers(2, 30))
@LAWS
def test_auroc_against_all_pairs_and_sklearn(seed, n):
    generator = np.random.default_rng(seed)
    scores, positive = generator.integers(0, 6, n).astype(float), generator.random(n) < 0.5
    positive[:2] = True, False
    pairs = np.sign(scores[positive][:, None] - scores[~positive][None])
    value = classification.auroc(scores, positive)
    assert value == pytest.approx((pairs.mean() + 1) / 2) == pytest.approx(roc_auc_score(positive, scores))
    assert classification.auroc(-scores, positive) == pytest.approx(1 - value)
    assert classification.auroc(scores, ~positive) == pytest.approx(1 - value)
    assert classification.auroc(np.exp(scores), positive) == pytest.approx(value), "only the order counts"
    assert classification.auroc(np.r_[scores, np.nan, 3], np.r_[positive, 1.0, np.nan]) == pytest.approx(value)


def test_auroc_over_people_keeps_visits_together():
    generator = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 4)
    own = generator.standard_normal(30)
    positive = (own > 0)[people]
    scores = (own + generator.standard_normal(30))[people]                   # all visits of a person say the same
    once = classification.auroc_over_people(scores[::4], positive[::4], n=500)
    visits = classification.auroc_over_people(scores, positive, people, n=500)
    strangers = classification.auroc_over_people(scores, positive, n=500)
    assert visits[:3] == pytest.approx(once[:3]), "a study that is repeated is no new person"
    assert visits.low <= visits.value <= visits.high and (visits.with_finding + visits.without) == 120
    assert strangers.high - strangers.low < 0.7 * (visits.high - visits.low)
    perfect = classification.auroc_over_people(positive, positive, people, n=50)
    assert perfect[:3] == (1.0, 1.0, 1.0)
    alone = classification.auroc_over_people(scores, np.ones(120), people)
    assert np.isnan(alone[:3]).all() and alone[3:] == (120, 0)
    single = classification.auroc_over_people([1.0, 2.0], [0.0, 1.0], ["a", "a"])
    assert single.value == 1.0 and np.isnan(single[1:3]).all()


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


def test_bootstrap_of_visits_covers_the_truth_as_often_as_it_says():
    generator, people = np.random.default_rng(0), np.repeat(np.arange(40), 5)
    inside = np.zeros(2)
    for seed in range(150):
        visits = generator.standard_normal(40)[people] + 0.3 * generator.standard_normal(200)
        for k, owner in enumerate((people, None)):
            low, high = interval.bootstrap(visits, n=200, seed=seed, people=owner)
            inside[k] += low <= 0.0 <= high
    assert 0.86 <= inside[0] / 150 <= 0.99, "people are drawn"
    assert inside[1] / 150 <= 0.75, "visits taken for people promise too much"


@given(st.integers(0, 2**31), st.integers(2, 8), st.integers(1, 4))
@LAWS
def test_repeated_visits_say_nothing_new(seed, n, visits):
    values = np.random.default_rng(seed).standard_normal(n)
    once = interval.bootstrap(values, n=50, seed=seed)
    names = np.repeat([f"sub-{k}" for k in range(n)], visits)
    assert interval.bootstrap(np.repeat(values, visits), n=50, seed=seed, people=names) == pytest.approx(once)
    spoilt = np.r_[np.repeat(values, visits), np.nan]
    assert interval.bootstrap(spoilt, n=50, seed=seed, people=[*names, "sub-nan"]) == pytest.approx(once)


def test_intervals_of_too_little():
    assert np.isnan(interval.bootstrap([], people=[])).all()
    assert np.isnan(interval.bootstrap([1.0, 2.0], people=["a", "a"])).all()
    assert np.isnan(interval.bootstrap([1.0, 2.0], lambda some: np.nan, n=9)).all()
    assert np.isnan(interval.permutation_p([], [1.0]))
    with pytest.raises(MedFuseError, match="each row"):
        interval.bootstrap([1.0, 2.0], people=["a"])
    with pytest.raises(MedFuseError, match="pairs"):
        interval.permutation_p([1.0, 2.0], [1.0], paired=True)
