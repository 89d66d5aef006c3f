"""The measurer finds in a hand-made head what was put there."""

import json
import time

import numpy as np
import pytest

from medfuse_jax.data import definitions, labels
from medfuse_jax.data.findings import ATROPHY, Findings
from medfuse_jax.metrics import biomarkers

CLASS = labels.CLASS
SHAPE = (40, 40, 40)


@pytest.fixture
def head():
    structures = np.full(SHAPE, CLASS["cerebral_white_matter_right"], np.uint8)
    structures[:, :, 36:] = CLASS["cerebral_cortex_right"]
    structures[:, :, :6] = CLASS["brainstem"]
    structures[18:22, 10:30, 18:24] = CLASS["lateral_ventricle_right"]
    structures[8:14, 10:30, 12:18] = CLASS["thalamus_right"]
    structures[0] = CLASS["csf"]
    return structures


@pytest.fixture
def lesions():
    mask = np.zeros(SHAPE, bool)
    mask[5:9, 5:9, 1:4] = True         # brainstem: 48 voxels
    mask[23:26, 12:16, 20:22] = True   # beside the ventricle: 24
    mask[9:12, 11:14, 13:15] = True    # thalamus: 18
    mask[30:32, 30:32, 37:39] = True   # cortex: 8
    mask[30:32, 10:12, 34:36] = True   # against cortex: 8
    mask[34:37, 34:37, 14:17] = True   # deep white: 27
    return mask


def test_each_region_is_found(head, lesions):
    found = biomarkers.measure(head, lesions, 1.0)
    assert found.lesion_count == 6 and found.lesion_volume_ml == pytest.approx(0.133)
    assert {name: round(1000 * load.volume_ml) for name, load in found.lesions_by_region.items()} == {
        "infratentorial": 48, "periventricular": 24, "deep_grey": 18,
        "cortical": 8, "juxtacortical": 8, "deep_white": 27}
    assert all(load.count == 1 for load in found.lesions_by_region.values())
    assert found.dissemination_in_space and found.change is None


def test_volumes_in_ml_count_the_lesions_that_cover_them(head, lesions):
    found = biomarkers.measure(head, lesions, 2.0, age=50.0, sex="F", phenotype="RRMS", source="by hand")
    assert found.structures_ml["thalamus_right"] == pytest.approx(6 * 20 * 6 * 0.008)
    assert found.structures_ml["thalamus_left"] == 0.0 and "background" not in found.structures_ml
    assert found.intracranial_volume_ml == pytest.approx(np.prod(SHAPE) * 0.008)
    fluid = 4 * 20 * 6 + 40 * 40
    assert found.brain_parenchymal_fraction == pytest.approx(1 - fluid / np.prod(SHAPE))
    assert (found.age, found.sex, found.phenotype, found.source) == (50.0, "F", "RRMS", "by hand")


def test_deviation_is_from_the_expected_volume(head):
    found = biomarkers.measure(head, np.zeros(SHAPE), 2.0, age=50.0, sex="F")
    expected = definitions.expected_ml("thalamus", 50.0, "F", found.intracranial_volume_ml)
    assert found.deviation_percent["thalamus"] == pytest.approx(100 * (5.76 / expected - 1))
    assert set(found.deviation_percent) == set(ATROPHY)
    unknown, forty = (biomarkers.measure(head, np.zeros(SHAPE), 2.0, age=age) for age in (None, 40.0))
    assert unknown.deviation_percent == forty.deviation_percent and unknown.age is None


def test_change_since_an_earlier_visit(head, lesions):
    earlier = lesions.copy()
    earlier[34:37] = False             # so the deep white one is new
    earlier[25] = False                # so the periventricular one grew from 16 to 24 voxels
    earlier[36:38, 2:4, 14:16] = True  # and one went away
    before = head.copy()
    before[14, 10:30, 12:18] = CLASS["thalamus_right"]                 # the thalamus was 7 wide, is 6
    change = biomarkers.measure(head, lesions, 2.0, earlier=(before, earlier, 2.0)).change
    assert (change.new_count, change.enlarging_count, change.resolved_count) == (1, 1, 1)
    assert change.annualised_percent["thalamus"] == pytest.approx(100 * ((6 / 7) ** 0.5 - 1))
    assert change.annualised_percent["whole_brain"] == 0.0 and "caudate" not in change.annualised_percent
    at_once = biomarkers.measure(head, lesions, 2.0, earlier=(before, earlier, 0.0)).change
    assert at_once.new_count == 1 and at_once.annualised_percent == {}


def test_a_fraction_is_lesion_above_one_half(head):
    fraction = np.zeros(SHAPE, np.float32)
    fraction[34:37, 34:37, 14:17] = 0.5
    assert biomarkers.measure(head, fraction, 1.0).lesion_count == 0
    assert biomarkers.measure(head, fraction + 0.01 * (fraction > 0), 1.0).lesion_count == 1


def test_nothing_at_all_is_said_plainly():
    found = biomarkers.measure(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, bool), 1.0)
    assert found.lesion_count == 0 and found.deviation_percent == {} and "structures" in found.not_assessed


def test_what_has_no_mask_is_not_assessed(head, lesions):
    whole = biomarkers.measure(head, lesions, 1.0)
    found = biomarkers.measure(None, lesions, 1.0, earlier=(head, lesions, 1.0))
    assert (found.lesion_count, found.lesion_volume_ml) == (whole.lesion_count, whole.lesion_volume_ml)
    assert found.lesions_by_region == found.structures_ml == {} and found.not_assessed[-1] == "structures"
    assert found.dissemination_in_space is found.intracranial_volume_ml is found.change is None and not found.whole
    found = biomarkers.measure(head, None, 1.0)
    assert found.structures_ml == whole.structures_ml and found.not_assessed[-1] == "lesions" and not found.whole
    assert found.lesion_count is found.lesion_volume_ml is found.dissemination_in_space is None and whole.whole


def test_the_record_survives_json(head, lesions):
    found = biomarkers.measure(head, lesions, (1.0, 1.0, 3.0), age=33.0, earlier=(head, lesions, 1.0))
    assert Findings.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_measuring_is_fast_at_two_millimetres():
    generator = np.random.default_rng(0)
    structures = np.zeros((96, 112, 96), np.uint8)
    structures[8:88, 8:104, 8:88] = generator.integers(1, len(labels.STRUCTURES), (80, 96, 80))
    lesions = (generator.random(structures.shape) < 0.002) & (structures > 0)
    start = time.perf_counter()
    biomarkers.measure(structures, lesions, 2.0, earlier=(structures, lesions, 1.0))
    assert time.perf_counter() - start < 2.0       # 0.15 s on a quiet core; a crowded machine is forgiven
