"""The judge of the simulated cohort: its numbers by hand, trial arms as in AFFIRM, a person measured as told."""

import numpy as np
import pytest

from medfuse_jax.data.findings import REGIONS
from medfuse_jax.data.simulate import change, course, lesions, plans, rows, trials, validation
from medfuse_jax.data.simulate.person import CohortSettings, plan, states


def person(sizes, region="periventricular", sex="F", edss=2.0):
    table = np.array([[size, REGIONS.index(region), number % 2] for number, size in enumerate(sizes)], float)
    volumes = dict.fromkeys(validation.STRUCTURES, 10.0)
    return validation.Person(sex, 40.0, "RRMS", edss, table.reshape(-1, 3), volumes, 0.5, np.arange(3, dtype=np.int32))


@pytest.mark.parametrize("treatment, target", trials.AFFIRM.items())
def test_trial_arms_reproduce_affirm(treatment, target):
    counts = trials.arm(np.random.default_rng(1), 10_000, treatment)
    assert len(counts) == 10_000 and counts.mean() == pytest.approx(target, rel=0.1)
    assert counts.var() > 1.5 * counts.mean()                        # never Poisson


@pytest.mark.parametrize("treatment", trials.AFFIRM)
def test_what_enhances_and_what_becomes_of_the_volume_is_affirm_s(treatment):
    people = trials.followed(np.random.default_rng(2), 1000, treatment)
    enhancing = np.array([one.enhancing for one in people])
    wide = 3 * enhancing.std() / np.sqrt(len(people))
    assert enhancing.mean() == pytest.approx(trials.ENHANCING[treatment], abs=wide)
    change_percent = np.median([one.volume_percent for one in people])
    assert change_percent == pytest.approx(trials.VOLUME_PERCENT[treatment], abs=3)


PEOPLE = CohortSettings(subjects=600, visits=3, spacing=1.0, natural_fraction=1.0, refine=1, counterfactual=False)


@pytest.fixture(scope="module")
def courses():
    every = [plan(3, index, PEOPLE) for index in range(PEOPLE.subjects)]
    return [visits for visits in every if visits[0].covariates.phenotype != "control"]


def of(courses, phenotype):
    return [visits for visits in courses if visits[0].covariates.phenotype == phenotype]


def test_a_phenotype_is_more_than_a_word(courses):
    edss, age = ({name: np.median([getattr(visits[0].covariates, field) for visits in of(courses, name)])
                  for name in plans.PHENOTYPE_SHARES} for field in ("edss", "age"))
    assert edss["CIS"] < edss["RRMS"] < 3 < min(edss["SPMS"], edss["PPMS"])
    assert age["RRMS"] + 4 < min(age["SPMS"], age["PPMS"])
    lost = {name: np.mean([visits[-1].covariates.edss - visits[0].covariates.edss for visits in of(courses, name)])
            for name in ("RRMS", "SPMS")}
    assert 0 <= lost["RRMS"] < lost["SPMS"]


def test_a_first_episode_becomes_relapsing_with_its_next_lesion_and_not_before(courses):
    later = [visit for visits in of(courses, "CIS") for visit in visits]
    for visit in later:
        date = visit.covariates.date_years
        born = any(0 < lesion.birth_years <= date for lesion in visit.lesions)
        assert visit.covariates.phenotype == ("RRMS" if born else "CIS")
    assert {visit.covariates.phenotype for visit in later} == {"CIS", "RRMS"}


def test_some_lesions_enhance_at_a_first_and_only_visit():
    visits = [plan(3, index, CohortSettings(subjects=400, visits=1, natural_fraction=natural))[0]
              for natural in (0.0, 1.0) for index in range(400)]
    for half in (visits[:400], visits[400:]):
        assert 0.05 < np.mean([sum(lesion.enhances(0.0) for lesion in visit.lesions) for visit in half]) < 2


@pytest.mark.parametrize("strength", [0.0, 1.0, 2.0])
def test_the_coupling_of_cortical_lesions_is_what_was_set(strength):
    settings = CohortSettings(spacing=1.0, visits=3, natural_fraction=1.0, counterfactual=False,
                              cortical_coupling=strength)
    people = [change.course_of(plan(1, index, settings)) for index in range(1500)]
    people = [one for one in people if one.phenotype != "control"]
    assert change._coupling(people) == pytest.approx(strength * plans.CORTICAL_COUPLING["thalamus"], abs=0.2)


def test_a_lesion_of_a_treated_person_shrinks_and_of_an_untreated_one_need_not():
    shrinking = lesions.Planned("deep_white", 1.0, drift=-0.06, until_years=2.0)
    growing = lesions.Planned("deep_white", 1.0, drift=0.06, until_years=2.0)
    assert shrinking.share(0.0) == 1.0 and shrinking.share(2.0) == pytest.approx(np.exp(-0.12))
    assert growing.share(2.0) == 1.0 and growing.share(0.0) == pytest.approx(np.exp(-0.12))


def test_a_trial_selects_the_active():
    everyone = course.frailty(np.random.default_rng(0), 50_000)
    assert everyone.mean() == pytest.approx(1.0, abs=0.03)
    assert (everyone == 0).mean() == pytest.approx(course.QUIET, abs=0.01)
    untreated = trials.arm(np.random.default_rng(0), 5000, "none").mean() / 2
    assert untreated > 2 * course.EVENTS_A_YEAR


def test_shares_by_hand():
    people = [person([5, 50, 2000]), person([5], "juxtacortical", "M")]
    assert validation.share(False, lambda every: every[:, 0] < 10)(people) == 0.5
    assert validation.share(True, validation.within("juxtacortical"))(people) == pytest.approx(5 / 2060)
    assert validation.loads(people) == pytest.approx([2.055, 0.005]) and list(validation.counts(people)) == [3, 1]
    assert validation.large_beside(people) == 1.0


def test_the_tail_of_a_pareto_distribution_has_its_exponent():
    sizes = 100 * (1 + np.random.default_rng(0).pareto(0.85, 20_000))
    assert validation.tail([person(sizes)]) == pytest.approx(0.85, abs=0.02)


def test_a_row_is_inside_or_not():
    inside = rows.row("mean", "data", 0.4, 0.6, [0.0, 1.0] * 50, np.mean, seed=0)
    assert inside.inside and inside.interval[0] < 0.5 < inside.interval[1] and inside.people == 100
    assert not rows.row("mean", "data", 0.6, 0.7, [0.0, 1.0] * 50, np.mean, seed=0).inside
    assert "| mean | 0.4 to 0.6 | 0.5 |" in rows.table([inside])


def test_a_person_is_measured_as_their_findings_say():
    settings = CohortSettings(subjects=2, visits=1, spacing=4.0, natural_fraction=1.0, refine=1)
    found = next(states(0, 1, settings)).findings
    seen = validation.look(0, settings, 1)
    assert len(seen.lesions) == found.lesion_count and seen.load_ml == pytest.approx(found.lesion_volume_ml)
    assert (seen.sex, seen.age, seen.edss) == (found.sex, found.age, found.edss)
    thalamus = sum(found.structures_ml[f"thalamus_{side}"] for side in ("left", "right"))
    assert seen.structures_ml["thalamus"] == pytest.approx(thalamus)


def test_a_lesion_enhances_when_young_and_darkens_when_old():
    lesion = lesions.Planned("deep_white", 0.1, birth_years=1.0, darkness=0.8, leaks_years=0.12)
    assert [lesion.enhances(years) for years in (0.9, 1.0, 1.1, 1.2)] == [False, True, True, False]
    assert not lesion.old(1.4) and lesion.old(1.6) and lesions.Planned("cortical", 0.1).old(0.0)
