"""Where lesions lie: beds beside the ventricles, or where those of real masks lie; and an album of what came of it."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medfuse_jax.album import album
from medfuse_jax.data import MedFuseError, grid, nifti
from medfuse_jax.data.findings import REGIONS
from medfuse_jax.data.simulate import cohort, lesion_masks, person, sites, tree, validation
from medfuse_jax.data.simulate.person import CohortSettings
from medfuse_jax.planes import rgb

PATIENTS = CohortSettings(subjects=30, visits=1, spacing=2.0, natural_fraction=1.0, refine=1)
BOX = grid.standard(2.0)
WHERE = {"periventricular": (-20, -13, 28), "infratentorial": (3, -28, -30)}       # MNI mm of lesions


def test_beds_are_likely_and_the_midline_is_not():
    beds = np.array([place for place, _ in sites.BEDS]).T
    right, left = sites.likelihood(beds), sites.likelihood(beds * np.array([[-1], [1], [1]]))
    assert (np.diff(right) < 0).all() and (left > right).all() and left.max() <= 1
    above = np.array([[0.0], [-13.0], [30.0]])
    assert sites.likelihood(above)[0] < 0.3 * right[0]


def test_true_size_shrinks_about_the_middle_of_the_box():
    points = np.array([grid.CENTRE_MM, (10.0, -18.0, 8.0)], np.float32).T
    np.testing.assert_allclose(sites.true_size(points, 0.9), np.array([grid.CENTRE_MM, (9.0, -18.0, 8.0)]).T)


def test_lesions_of_many_people_are_most_frequent_beside_the_body_of_a_ventricle():
    people = [validation.look(5, PATIENTS, index) for index in range(PATIENTS.subjects)]
    people = [one for one in people if one.phenotype != "control"]
    assert validation.probability(people).max() == pytest.approx(0.5, abs=0.2)
    assert validation.from_body(people) < 20          # few people
    x = validation.peak_mm(people)[0]
    assert 10 < abs(x) < 32


def ball(centre: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    mm = np.tensordot(BOX.affine[:3, :3], np.indices(BOX.shape), axes=1) + BOX.affine[:3, 3, None, None, None]
    return ((mm - np.array(centre)[:, None, None, None]) ** 2).sum(axis=0) < radius_mm**2


@pytest.fixture(scope="module")
def masks(tmp_path_factory) -> Path:
    """Two patients: one with a lesion beside the ventricle and one in the brainstem, one with the first alone."""
    folder = tmp_path_factory.mktemp("masks")
    beside, below = ball(WHERE["periventricular"], 9), ball(WHERE["infratentorial"], 5)
    for number, mask in enumerate((beside | below, beside), start=1):
        nifti.write_volume(folder / f"sub-{number:02d}/sub-{number:02d}_space-MNI152_label-lesion_mask.nii.gz", mask,
                           BOX.affine)
    return folder


def test_masks_are_measured(masks):
    found = lesion_masks.measured(str(masks))
    names = [REGIONS[which] for which in found.regions]
    assert sorted(zip(found.patient, names, strict=True)) == [
        (0, "infratentorial"), (0, "periventricular"), (1, "periventricular")]
    volume = {name: ball(WHERE[name], radius).sum() * 0.008
              for name, radius in (("periventricular", 9), ("infratentorial", 5))}
    np.testing.assert_allclose(found.volumes_ml, [volume[name] for name in names], rtol=0.02)
    at = np.array([WHERE["periventricular"], (20, -13, 28), (0, 60, 20)], np.float32).T       # both sides are alike
    likely = found.likelihood(at)
    assert likely[0] == pytest.approx(likely[1], rel=0.05) and likely[0] > 0.8
    assert likely[2] == pytest.approx(lesion_masks.LEAST)


def test_people_get_the_lesions_of_the_masks(masks):
    settings = replace(PATIENTS, lesion_masks=str(masks), subjects=12)
    loads = [sum(lesion.volume_ml for lesion in person.plan(3, index, settings)[0].lesions) for index in range(12)]
    possible = np.add.outer(np.zeros(1), [0.5, 1.1, 3.1, 3.7, 6.3])           # draws of two, or of one
    assert all(load == 0 or np.abs(np.log(load / possible)).min() < 0.4 for load in loads)
    assert max(loads) > 2
    state = next(person.states(3, int(np.argmax(loads)), settings))
    assert state.findings.lesions_by_region["periventricular"].count >= 1
    told = cohort.told(settings)["lesion_masks"]
    assert str(masks) not in told and told == lesion_masks.digest(masks)


@pytest.mark.parametrize("spoil, says", [
    (lambda folder: shutil.rmtree(folder), "no such folder"),
    (lambda folder: [path.rename(path.with_name(path.name.replace("space-MNI152_", ""))) for path in
                     folder.rglob("*.nii.gz")], "no lesion mask in MNI space"),
    (lambda folder: nifti.write_volume(next(folder.rglob("*.nii.gz")), ball((70, 80, 90), 8), BOX.affine),
     "outside the brain"),
    (lambda folder: nifti.write_volume(next(folder.rglob("*.nii.gz")), np.zeros(BOX.shape, bool), BOX.affine),
     "empty"),
    (lambda folder: next(folder.rglob("*.nii.gz")).write_bytes(b"no image"), "nii.gz"),
])
def test_masks_that_cannot_be_used_are_refused(masks, tmp_path, spoil, says):
    folder = tmp_path / "masks"
    shutil.copytree(masks, folder)
    spoil(folder)
    with pytest.raises(MedFuseError, match=says) as refusal:
        lesion_masks.measured(str(folder))
    assert "\n" not in str(refusal.value)


# A tree and its album


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    settings = CohortSettings(subjects=2, visits=3, spacing=4.0, seed=7, counterfactual=False, natural_fraction=1.0,
                              refine=1, gadolinium=0.5, missing=0.3)
    return tree.bids(tmp_path_factory.mktemp("trees") / "tree", settings, progress=False)


def test_an_album_outlines_lesions_and_says_that_nothing_is_real(written, tmp_path):
    from matplotlib import image
    page = album(written, tmp_path / "album.png")
    pixels = image.imread(page)[..., :3]

    def seen(colour: str) -> int:
        return int((np.abs(pixels - np.array(rgb(colour))).max(axis=-1) < 0.1).sum())

    assert seen("#ff3b5c") > 30 and b"SYNTHETIC" in page.read_bytes()
    with pytest.raises(MedFuseError, match="sub-"):
        album(tmp_path, tmp_path / "none.png")


@pytest.mark.oracle
def test_the_official_validator_finds_no_error_in_a_simulated_tree(written):
    pytest.importorskip("bids_validator_deno", reason="the BIDS validator is not installed")
    found = subprocess.run([str(Path(sys.executable).parent / "bids-validator-deno"), str(written)],
                           capture_output=True, text=True, timeout=120)
    assert found.returncode == 0 and "[ERROR]" not in found.stdout + found.stderr, found.stdout[-2000:]


