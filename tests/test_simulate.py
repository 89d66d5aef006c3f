"""The simulated cohort: what was planned is what is measured, borders move, nothing folds, and seeds decide all."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from medfuse_jax.data import bids, definitions, labels, nifti
from medfuse_jax.data.findings import ATROPHY, Findings
from medfuse_jax.data.simulate import anatomy, atrophy, cohort, images, lesions, person, plans, tree
from medfuse_jax.data.simulate.atlas import atlas
from medfuse_jax.data.simulate.person import CohortSettings
from medfuse_jax.errors import MedFuseError

COARSE = CohortSettings(subjects=4, visits=2, spacing=8.0, counterfactual=False)


@pytest.fixture(scope="module")
def head():
    return anatomy.head(np.random.default_rng(5), "F", 2.0)


@pytest.fixture(scope="module")
def body(head):
    return atrophy.brain(head, 40.0, "F", {})


# Atlas: volumes in template millimetres, which are inflated by 1.28.
@pytest.mark.parametrize("structure, low, high", [
    ("thalamus", 15, 21), ("caudate", 6, 10.5), ("putamen", 10, 14), ("hippocampus", 6.5, 9.5), ("pallidum", 2.8, 4),
    ("lateral_ventricle", 20, 45), ("brainstem", 19, 32), ("cerebellum_cortex", 115, 150),
    ("fourth_ventricle", 1.2, 4.5),
])
def test_atlas_volumes_are_those_of_label_maps(structure, low, high):
    counts = definitions.voxel_counts(atlas().structures)
    assert low < counts[definitions.classes_of(structure)].sum() / 1000 < high


def test_atlas_has_every_class_on_its_side():
    made = atlas()
    x = np.arange(made.structures.shape[0]) + made.origin[0]
    for name in labels.NAMES[1:]:
        found = np.argwhere(made.structures == labels.CLASS[name])
        assert len(found), name
        if name.endswith(("_left", "_right")):
            assert (x[found[:, 0]].mean() < 0) == name.endswith("_left"), name


@pytest.mark.parametrize("seed", range(4))
def test_the_map_of_a_head_does_not_fold(seed):
    assert anatomy.jacobians(anatomy.head(np.random.default_rng(seed), "M", 4.0).nodes, anatomy.NODE_MM).min() > 0


# Atrophy


@pytest.mark.parametrize("structure", ATROPHY)
@pytest.mark.parametrize("percent", [0.0, -25.0])
def test_commanded_atrophy_reaches_the_measured_volume(head, structure, percent):
    made = atrophy.brain(head, 40.0, "F", {structure: percent})
    measured = definitions.voxel_counts(made.structures)[definitions.classes_of(structure)].sum() * 0.008
    expected = definitions.expected_ml(structure, 40.0, "F", made.intracranial_ml)
    assert 100 * (measured / expected - 1) == pytest.approx(percent, abs=3.0)


def test_both_sides_of_a_structure_have_their_half(head, body):
    counts = definitions.voxel_counts(body.structures)
    for place, name in enumerate(atrophy.SCALED):
        left, right = (int(counts[labels.CLASS[f"{name}_{side}"]]) for side in ("left", "right"))
        assert left / (left + right) == pytest.approx(0.5 * (1 + head.lean[place]), abs=0.015), name


def test_ventricles_widen_with_age(head):
    brains = [atrophy.brain(head, age, "F", {}).structures for age in (25.0, 50.0, 75.0)]
    volumes = [np.isin(structures, definitions.LATERAL_VENTRICLES).sum() for structures in brains]
    assert volumes[0] < volumes[1] < volumes[2]


# Lesions


@pytest.mark.parametrize("region", plans.COMMAND_REGIONS)
def test_lesions_are_measured_as_planned(body, region):
    plan = [lesions.Planned(region, 0.2, seed=seed) for seed in range(6)]
    mask = np.zeros(body.structures.shape, bool)
    for lesion in lesions.place(plan, body.structures, 2.0):
        mask[tuple(lesion.voxels.T)] = True
    labelled, count = definitions.components(mask, 2.0)
    assert count == 6 and mask.sum() * 0.008 == pytest.approx(1.2, rel=0.05)
    assert definitions.regions(labelled, body.structures, 2.0) == [region] * 6


def test_a_confluent_lesion_stays_beside_the_ventricle(body):
    placed, = lesions.place([lesions.Planned("periventricular", 15.0, seed=1)], body.structures, 2.0)
    distance = lesions.Ground(body.structures, 2.0).from_ventricles[tuple(placed.voxels.T)]
    assert len(placed.voxels) * 0.008 == pytest.approx(15.0, rel=0.01) and np.percentile(distance, 90) < 16


def test_lesions_are_born_grow_nested_and_shrink_partly():
    plan = lesions.Planned("deep_white", 1.0, birth_years=1.0, remains=0.6)
    placed = lesions.Placed(plan, np.argwhere(np.ones((5, 5, 4), bool)))
    sizes = [len(placed.at(years)) for years in (0.0, 0.99, 1.0, 1.05, 1.2, 5.0)]
    assert sizes[:2] == [0, 0] and sizes[2] < sizes[3] < sizes[4] and sizes[5] == 60
    assert (placed.at(1.05)[:sizes[2]] == placed.at(1.0)).all()


# Plans: numbers of the science notes, over many people without images


def test_natural_plans_have_the_measured_loads_and_counts():
    random = np.random.default_rng(0)
    drawn = [plans.natural_load(random) for _ in range(3000)]
    load, count = np.array(drawn).T
    assert 8 < np.median(load) < 20 and 0.6 < np.percentile(load, 10) < 2 and 32 < np.percentile(load, 90) < 52
    assert 50 < np.median(count) < 100 and count.var() / count.mean() > 40
    people = [plans.natural_lesions(random, ml, number) for ml, number in drawn[:300]]
    sizes = np.array([1000 * lesion.volume_ml for plan in people for lesion in plan])
    assert 15 < np.median(sizes) < 30 and 0.6 < sizes[sizes > 1000].sum() / sizes.sum() < 0.8


def test_command_plans_spread_over_the_range():
    settings = replace(COARSE, natural_fraction=0.0, counterfactual=True, spacing=4.0)
    states = [visit for index in range(300) for visit in person.plan(0, index, settings)]
    counts = np.array([len(state.lesions) for state in states])
    assert counts.max() == 20 and 0.10 < (counts == 0).mean() < 0.20
    thalamus = np.array([state.deviation["thalamus"] for state in states if state.lesions])
    assert all(0.1 < share < 0.5 for share in np.histogram(thalamus, [-30, -20, -10, -5, 2.001])[0] / len(thalamus))


# Whole people


def test_a_person_is_decided_by_seed_and_index():
    first, again, other = (person.simulate_person(seed, 5, COARSE) for seed in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        assert (one.images == two.images).all() and one.findings == two.findings
    assert (first[0].images != other[0].images).any()


def test_visits_are_consistent():
    visits = person.simulate_person(0, 5, replace(COARSE, spacing=4.0))
    for visit in visits:
        outside = visit.structures == 0
        assert set(np.unique(visit.structures)) == set(range(len(labels.STRUCTURES)))
        assert (visit.images[outside] == 0).all() and (visit.images[~outside][:, :3] > 0).mean() > 0.99
        assert np.allclose(np.median(visit.images[~outside][:, :3], axis=0), 1, atol=1e-3)
        assert visit.lesions.sum() * 0.064 == pytest.approx(visit.findings.lesion_volume_ml, rel=1e-3)
    assert visits[0].findings.change is None and visits[1].findings.change is not None
    assert visits[1].date_years > visits[0].date_years == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_cohort_is_the_same_for_any_jobs(tmp_path, jobs):
    settings = replace(COARSE, visits=1, counterfactual=True)
    folder = cohort.prepared(tmp_path / "cohort", settings, jobs=jobs, progress=False)
    lines = [json.loads(line) for line in (folder / "studies.jsonl").read_text().splitlines()]
    assert np.load(folder / "volumes.npy").shape == (4, 24, 28, 24, 4)
    assert np.load(folder / "structures.npy").dtype == np.load(folder / "lesions.npy").dtype == np.uint8
    assert {line["split"] for line in lines} == {"train", "valid", "test"}
    assert len(np.load(folder / "clean.npy")) == sum(line["clean_row"] is not None for line in lines) == 2
    seen = np.load(folder / "volumes.npy")[3, ..., 0].astype(np.float32)
    assert (seen.T == person.simulate_person(0, 3, settings)[0].images[..., 0].astype(np.float16)).all()
    assert Findings.from_json(lines[3]["findings"]).contrasts == images.SHOWN


@pytest.mark.parametrize("wrong", [{"subjects": 0}, {"visits": 0}, {"spacing": 3.0}, {"spacing": 0.1},
                                   {"missing": 1.5}, {"gadolinium": -0.1}, {"randomise": 2.0}])
def test_wrong_settings_are_refused_in_a_line(wrong):
    with pytest.raises(MedFuseError):
        CohortSettings(**wrong)


# The BIDS tree


def test_the_tree_is_read_back_and_agrees_with_its_truth(tmp_path):
    root = tree.bids(tmp_path / "bids", replace(COARSE, subjects=2, refine=1), "fr", progress=False)
    studies = bids.index(root)
    assert [study.name for study in studies] == [f"sub-{n:04d}_ses-{v:02d}" for n in (1, 2) for v in (1, 2)]
    study = studies[3]
    assert not study.problem and set(study.contrasts) == set(images.SHOWN) and study.date_years > 0
    truth = root / "derivatives" / "truth" / "sub-0002" / "ses-02" / "anat"
    told = json.loads(next(truth.glob("*_findings.json")).read_text())
    scan = nifti.read_volume(study.contrasts["FLAIR"])
    mask = nifti.read_mask(study.lesion_mask, like=scan)
    assert mask.sum() * 0.512 == pytest.approx(told["lesion_volume_ml"])
    assert definitions.components(mask, 8.0)[1] == told["lesion_count"]
    assert "IRM" in next(truth.glob("*_report.txt")).read_text() and (truth.parents[2] / "dseg.tsv").exists()
    with pytest.raises(MedFuseError, match="not empty"):
        tree.bids(root, COARSE)


@pytest.mark.parametrize("flags, line", [
    (["--out=x", "--subjects=0"], "subjects"), (["--out=x", "--spacing=3"], "spacing"),
    (["--out=x", "--language=de"], "language"), ([], "out"), (["--validate", "--visits=2"], "visits"),
])
def test_the_command_refuses_bad_flags_in_one_line(root, tmp_path, flags, line):
    made = subprocess.run([sys.executable, root / "launch" / "simulate.py", *flags], cwd=tmp_path, text=True,
                          capture_output=True, env={"PYTHONPATH": str(root), "PATH": ""})
    assert made.returncode == 2 and line in made.stderr and made.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
