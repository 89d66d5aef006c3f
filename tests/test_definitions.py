"""The words mean what definitions.py says, at their edges too."""

import numpy as np
import pytest
from scipy import ndimage

from medfuse_jax.data import definitions, labels
from medfuse_jax.data.findings import ATROPHY, REGIONS, RegionLoad
from medfuse_jax.errors import MedFuseError

WHITE = labels.CLASS["cerebral_white_matter_left"]


def head(shape=(24, 24, 24), **places):
    """White matter everywhere, and a structure in each given box."""
    structures = np.full(shape, WHITE, np.uint8)
    for name, box in places.items():
        structures[box] = labels.CLASS[name]
    return structures


def mask_of(*boxes, shape=(24, 24, 24)):
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box] = True
    return mask


@pytest.mark.parametrize("ml, word", [(0, "none"), (0.2, "minimal"), (1, "mild"), (4.99, "mild"), (5, "moderate"),
                                      (15, "high"), (30, "high"), (30.01, "very_high"), (500, "very_high")])
def test_load_words(ml, word):
    assert definitions.load_word(ml) == word


@pytest.mark.parametrize("n, word", [(0, "none"), (1, "few"), (5, "few"), (6, "several"), (10, "several"),
                                     (11, "many"), (20, "many"), (21, "numerous"), (900, "numerous")])
def test_count_words(n, word):
    assert definitions.count_word(n) == word


@pytest.mark.parametrize("percent, word", [(4, "none"), (-4.9, "none"), (-5, "mild"), (-9.9, "mild"), (-10, "moderate"),
                                           (-20, "moderate"), (-20.1, "severe"), (-60, "severe")])
def test_grades(percent, word):
    assert definitions.grade(percent) == word


def test_grades_follow_their_table(monkeypatch):
    monkeypatch.setattr(definitions, "GRADES", {"none": (-1.0, np.inf), "mild": (-2.0, -1.0), "moderate": (-3.0, -2.0),
                                                "severe": (-np.inf, -3.0)})
    assert [definitions.grade(percent) for percent in (-0.9, -1, -1.9, -2, -3, -3.1)] == [
        "none", "mild", "mild", "moderate", "moderate", "severe"]


def test_components_join_at_corners_and_drop_the_smallest():
    mask = mask_of((0, 0, 0), (1, 1, 1), (2, 2, 2), (9, 9, slice(9, 11)))     # three by corners; two voxels alone
    labelled, count = definitions.components(mask, 1.0)
    assert count == 1 and labelled[2, 2, 2] == 1 and labelled[9, 9, 9] == 0
    assert definitions.components(mask, 2.0)[1] == 2                             # 16 mm3 is a lesion
    assert definitions.components(np.zeros_like(mask), 1.0)[1] == 0


# One head for all the rules: a ventricle at x < 4, cortex at x >= 20, brainstem at z < 4, a thalamus inside.
RULES = head(lateral_ventricle_left=np.s_[:4], cerebral_cortex_left=np.s_[20:], brainstem=np.s_[:, :, :4],
             thalamus_right=np.s_[8:14, 8:14, 8:14])


@pytest.mark.parametrize("box, region", [
    (np.s_[5:8, 5:8, 1:3], "infratentorial"),                 # also 3 mm from the ventricle: priority
    (np.s_[5:8, 5:8, 2:5], "infratentorial"),                 # two of three layers
    (np.s_[6:9, 5:8, 18:20], "periventricular"),              # nearest voxel 3 mm from the ventricle's last
    (np.s_[7:10, 5:8, 18:20], "deep_white"),                  # 4 mm
    (np.s_[6:12, 9:12, 9:12], "periventricular"),             # mostly thalamus, yet 3 mm from the ventricle
    (np.s_[9:12, 9:12, 9:12], "deep_grey"),
    (np.s_[18:22, 5:8, 18:20], "juxtacortical"),              # half is not most
    (np.s_[19:22, 5:8, 18:20], "cortical"),
    (np.s_[17:20, 5:8, 18:20], "juxtacortical"),              # 1 mm from cortex
    (np.s_[16:19, 5:8, 18:20], "deep_white"),                 # 2 mm
])
def test_regions(box, region):
    assert definitions.regions(mask_of(box).astype(np.int32), RULES, 1.0) == [region]


@pytest.mark.parametrize("spacing", [4.0, (1.0, 1.0, 6.0)])
def test_on_coarse_grids_a_shared_face_is_near(spacing):
    structures = head(lateral_ventricle_right=np.s_[:, :, :4])
    lesions = mask_of(np.s_[5:8, 5:8, 4]) + 2 * mask_of(np.s_[5:8, 5:8, 5])
    assert definitions.regions(lesions, structures, spacing) == ["periventricular", "deep_white"]


@pytest.mark.parametrize("spacing", [1.0, 2.0, (1.0, 1.5, 3.0)])
@pytest.mark.parametrize("within", [1.0, 3.0])
def test_near_is_the_distance_transform(spacing, within):
    target = np.random.default_rng(0).random((14, 12, 10)) < 0.02
    distance = ndimage.distance_transform_edt(~target, sampling=definitions.spacing_of(spacing))
    voxels = np.argwhere(np.ones_like(target))
    found = definitions.near(voxels, target, spacing, within, touching=False)
    assert np.array_equal(found, distance.ravel() <= within + 1e-6)


def test_regions_sum_to_the_total():
    structures = np.random.default_rng(0).integers(0, len(labels.STRUCTURES), (20, 20, 20)).astype(np.uint8)
    labelled, count = definitions.components(np.random.default_rng(1).random((20, 20, 20)) < 0.05, 2.0)
    loads = definitions.lesions_by_region(labelled, structures, 2.0)
    assert tuple(loads) == REGIONS and sum(load.count for load in loads.values()) == count
    assert sum(load.volume_ml for load in loads.values()) == pytest.approx((labelled > 0).sum() * 0.008)


@pytest.mark.parametrize("regions, disseminated", [
    ((), False), (("periventricular",), False), (("cortical", "juxtacortical"), False),
    (("deep_white", "deep_grey"), False),
    (("periventricular", "juxtacortical"), True), (("cortical", "infratentorial"), True),
])
def test_dissemination_needs_two_of_the_regions(regions, disseminated):
    assert definitions.dissemination_in_space({name: RegionLoad(1, 0.1) for name in regions}) is disseminated


@pytest.mark.parametrize("earlier, later, expected", [
    ([np.s_[2:5, 2:5, 2:5]], [np.s_[2:5, 2:5, 2:5]], (0, 0, 0)),
    ([], [np.s_[2:5, 2:5, 2:5]], (1, 0, 0)),
    ([np.s_[2:5, 2:5, 2:5]], [], (0, 0, 1)),
    ([np.s_[2:5, 2:5, 2:5]], [np.s_[5:8, 2:5, 2:5]], (0, 0, 1)),         # 1 mm beside it: not new, and no overlap left
    ([np.s_[2:5, 2:5, 2:5]], [np.s_[6:9, 2:5, 2:5]], (1, 0, 1)),         # 2 mm beside it
    ([np.s_[2:5, 2:5, 2:5]], [np.s_[2:5, 2:5, 2:7]], (0, 1, 0)),         # 27 -> 45 mm3
    ([np.s_[2:5, 2:5, 2:5]], [np.s_[2:5, 2:5, 2:6]], (0, 0, 0)),         # 27 -> 36: + 33 %, yet 9 mm3
    ([np.s_[2:12, 2:12, 2:12]], [np.s_[2:12, 2:12, 2:13]], (0, 0, 0)),   # 1000 -> 1100: 100 mm3, yet 10 %
    ([np.s_[2:5, 2:5, 2:5], np.s_[6:9, 2:5, 2:5]], [np.s_[2:9, 2:5, 2:5]], (0, 0, 0)),   # 54 -> 63: two that merged
    ([np.s_[2:9, 2:5, 2:5]], [np.s_[2:5, 2:5, 2:5], np.s_[6:9, 2:5, 2:5]], (0, 0, 0)),   # one that split
])
def test_changes(earlier, later, expected):
    assert definitions.changes(mask_of(*earlier), mask_of(*later), 1.0).counts == expected


def test_brain_parenchymal_fraction_counts_ventricles_and_csf_as_lost():
    structures = head((10, 10, 10), lateral_ventricle_left=np.s_[0], csf=np.s_[1], background=np.s_[9])
    assert definitions.brain_parenchymal_fraction(structures) == pytest.approx(700 / 900)
    assert definitions.intracranial_volume_ml(structures, 2.0) == pytest.approx(7.2)
    assert definitions.brain_parenchymal_fraction(np.zeros((4, 4, 4), np.uint8)) == 0.0


@pytest.mark.parametrize("v1, v2, years, percent", [(10, 11, 1, 10.0), (10, 12.1, 2, 10.0), (10, 9, 0.5, -19.0),
                                                    (10, 0, 1, -100.0)])
def test_annualised_percent_is_compound(v1, v2, years, percent):
    assert definitions.annualised_percent(v1, v2, years) == pytest.approx(percent)


@pytest.mark.parametrize("v1, v2, years", [(0, 5, 1), (10, 11, 0), (10, 11, -1), (0, 0, 0)])
def test_no_rate_is_made_up_where_none_is_defined(v1, v2, years):
    assert definitions.annualised_percent(v1, v2, years) is None


@pytest.mark.parametrize("structure", [*ATROPHY, "lateral_ventricle"])
def test_expected_volume_laws(structure):
    norm = definitions.NORMS[structure]
    at = definitions.expected_ml(structure, 40, "F", 1450.0)
    assert at == pytest.approx(norm.ml)
    assert definitions.expected_ml(structure, None, None, None) == pytest.approx(at)
    assert definitions.expected_ml(structure, 40, "M", 1450.0) == at, "sex enters through head size alone"
    assert definitions.expected_ml(structure, 40, "M", None) > definitions.expected_ml(structure, 40, "F", None)
    assert definitions.expected_ml(structure, 41, None, 1450.0) == pytest.approx(at * (1 + norm.percent_per_year / 100))
    assert definitions.deviation_percent(0.85 * at, at) == pytest.approx(-15.0)


def test_unknown_structures_are_refused_by_name():
    with pytest.raises(MedFuseError, match="claustrum"):
        definitions.classes_of("claustrum")
    with pytest.raises(MedFuseError, match="csf"):
        definitions.expected_ml("csf", 40, "F", 1450.0)
