"""The judge of the simulated cohort: its numbers by hand, trial arms as in AFFIRM, a person measured as told."""

import numpy as np
import pytest

from medfuse_jax.data.findings import REGIONS
from medfuse_jax.data.simulate import lesions, plans, trials, validation
from medfuse_jax.data.simulate.person import CohortSettings, states


def person(sizes, region="periventricular", sex="F", edss=2.0):
    table = np.array([[size, REGIONS.index(region), number % 2] for number, size in enumerate(sizes)], float)
    volumes = dict.fromkeys(validation.STRUCTURES, 10.0)
    return validation.Person(sex, 40.0, "RRMS", edss, table.reshape(-1, 3), volumes, np.arange(3, dtype=np.int32))


@pytest.mark.parametrize("treatment, target", trials.AFFIRM.items())
def test_trial_arms_reproduce_affirm(treatment, target):
    counts = trials.arm(np.random.default_rng(1), 10_000, treatment)
    assert len(counts) == 10_000 and counts.mean() == pytest.approx(target, rel=0.1)
    assert counts.var() > 1.5 * counts.mean()                        # never Poisson


def test_a_trial_selects_the_active():
    everyone = plans.frailty(np.random.default_rng(0), 50_000)
    assert everyone.mean() == pytest.approx(1.0, abs=0.03)
    assert (everyone == 0).mean() == pytest.approx(plans.QUIET, abs=0.01)
    untreated = trials.arm(np.random.default_rng(0), 5000, "none").mean() / 2
    assert untreated > 2 * plans.NEW_LESIONS_A_YEAR


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
    inside = validation.row("mean", "data", 0.4, 0.6, [0.0, 1.0] * 50, np.mean, seed=0)
    assert inside.inside and inside.interval[0] < 0.5 < inside.interval[1] and inside.people == 100
    assert not validation.row("mean", "data", 0.6, 0.7, [0.0, 1.0] * 50, np.mean, seed=0).inside
    assert "| mean | 0.4 to 0.6 | 0.5 |" in validation.table([inside])


def test_a_person_is_measured_as_their_findings_say():
    settings = CohortSettings(subjects=2, visits=1, spacing=4.0, natural_fraction=1.0, refine=1)
    found = next(states(0, 1, settings)).findings
    seen = validation.look(0, settings, 1)
    assert len(seen.lesions) == found.lesion_count and seen.load_ml == pytest.approx(found.lesion_volume_ml)
    assert (seen.sex, seen.age, seen.edss) == (found.sex, found.age, found.edss)
    thalamus = sum(found.structures_ml[f"thalamus_{side}"] for side in ("left", "right"))
    assert seen.structures_ml["thalamus"] == pytest.approx(thalamus)


def test_a_lesion_enhances_when_young_and_darkens_when_old():
    lesion = lesions.Planned("deep_white", 0.1, birth_years=1.0, darkness=0.8)
    assert [lesion.enhances(years) for years in (0.9, 1.0, 1.1, 1.2)] == [False, True, True, False]
    assert not lesion.old(1.4) and lesion.old(1.6) and lesions.Planned("cortical", 0.1).old(0.0)
