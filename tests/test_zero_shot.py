"""Zero-shot findings: truths by definition, sentences that say them, and an image that knows is always right."""

import numpy as np
import pytest

from medfuse_jax.data import tokens
from medfuse_jax.data.findings import Findings, RegionLoad
from medfuse_jax.data.language import parse, write
from medfuse_jax.evaluation import zero_shot


def test_truths_are_those_of_the_definitions():
    ill = Findings(lesion_count=3, lesion_volume_ml=15.0, deviation_percent={"thalamus": -5.1, "caudate": -4.9},
                   lesions_by_region={"cortical": RegionLoad(1, 0.1), "infratentorial": RegionLoad(0, 0.0)},
                   structures_ml={}, brain_parenchymal_fraction=None, intracranial_volume_ml=None,
                   dissemination_in_space=None)
    row = dict(zip(zero_shot.ASKED, zero_shot.truths([ill])[0], strict=True))
    assert row["lesions"] == row["high_load"] == row["cortical_lesions"] == row["thalamus_atrophy"] == 1
    assert row["infratentorial_lesions"] == row["caudate_atrophy"] == 0
    assert np.isnan(row["deep_white_lesions"]) and np.isnan(row["putamen_atrophy"])
    assert np.isnan(zero_shot.truths([None])).all()


@pytest.mark.parametrize("spoken", zero_shot.LANGUAGES)
@pytest.mark.parametrize("name", zero_shot.ASKED)
def test_each_sentence_says_what_is_asked(name, spoken):
    for statement in zero_shot.ASKED[name][:2]:
        assert parse(write(statement, spoken)).statement == statement


def test_the_two_sentences_of_a_finding_differ_in_words_and_in_facts():
    said = zero_shot.sentences(tokens.build(512), 64, "en")
    assert len(said["words"]) == 2 * len(zero_shot.ASKED)
    for one, other in zip(range(0, len(said["words"]), 2), range(1, len(said["words"]), 2), strict=True):
        assert (said["words"][one] != said["words"][other]).any() and (said["facts"][one] != said["facts"][other]).any()


def test_an_image_is_nearer_to_its_own_sentence():
    pairs = np.eye(6)
    image = np.array([[1, 0, 0, 1, 0.5, 0.5]])
    np.testing.assert_array_equal(zero_shot.nearer(image, pairs), [[1, -1, 0]])
