"""People made of label maps: a map's own volumes, the same labels as the template's, no fold, and clear refusals."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medfuse_jax.data import MedFuseError, definitions, grid, labels, nifti
from medfuse_jax.data.simulate import anatomy, atrophy, cohort, label_maps, person
from medfuse_jax.data.simulate.atlas import Atlas, atlas
from medfuse_jax.data.simulate.person import CohortSettings

SKULL, LESION = 502, 25
COARSE = CohortSettings(subjects=4, visits=1, spacing=8.0, counterfactual=False)


class Still(np.random.Generator):
    """Chance that does not deform."""

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        return np.zeros(() if size is None else size, dtype)


def undeformed(source: Atlas) -> anatomy.Head:
    return anatomy.head(Still(np.random.PCG64()), "F", 1.0, source)


def numbers(shrink: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """FreeSurfer numbers and affine of a phantom: structures of the template in a skull, a lesion in white matter."""
    made = labels.to_indices(atlas().structures)
    inside = made > 0
    made[np.roll(inside, 8, 2) & ~inside] = SKULL
    made[60:63, 120:123, 110:113][made[60:63, 120:123, 110:113] == 2] = LESION
    affine = np.diag([shrink, shrink, shrink, 1.0]) @ grid.standard(1.0).affine
    affine[:3, 3] += (17.0, -30.0, 12.0)
    return made, affine


@pytest.fixture(scope="module")
def maps(tmp_path_factory) -> Path:
    """A folder of a phantom, stored L-I-A, twice, and one of MNI space."""
    folder, (made, affine) = tmp_path_factory.mktemp("maps"), numbers()
    x, y, z = made.shape
    turned = affine @ np.array([[-1, 0, 0, x - 1], [0, 0, 1, 0], [0, -1, 0, z - 1], [0, 0, 0, 1.0]])
    for name in ("one_dseg.nii.gz", "two_dseg.nii.gz"):
        nifti.write_volume(folder / name, made[::-1, :, ::-1].transpose(0, 2, 1), turned)
    nifti.write_volume(folder / "one_space-MNI152_dseg.nii.gz", made, affine)
    return folder


@pytest.fixture(scope="module")
def own(maps) -> Atlas:
    return label_maps.own_atlas(label_maps.found(maps)[0])


def ml(structures: np.ndarray, spacing: float = 1.0) -> np.ndarray:
    return definitions.voxel_counts(structures) * spacing**3 / 1000


def test_who_is_not_deformed_has_the_volumes_of_the_map(own):
    truth = ml(atlas().structures)
    for made in (own.structures, atrophy.brain(undeformed(own), 40.0, "F", {}).structures):
        np.testing.assert_allclose(ml(made)[1:], truth[1:], rtol=0.03)


@pytest.mark.parametrize("name", ["01", "05", "16"])
def test_real_maps_keep_their_volumes(shared, name):
    """All but CSF, whose stray voxels in neck and scalp are left out."""
    path = shared / f"data/label_maps/synthseg-{name}_space-native_dseg.nii.gz"
    truth = ml(labels.to_classes(nifti.read_labels(path).array))
    made = ml(atrophy.brain(undeformed(label_maps.own_atlas(path)), 40.0, "F", {}).structures)
    csf = labels.CLASS["csf"]
    np.testing.assert_allclose(np.delete(made, [0, csf]), np.delete(truth, [0, csf]), rtol=0.03)
    assert made[csf] == pytest.approx(truth[csf], rel=0.1)


def test_every_side_is_kept_and_the_middle_is_in_the_middle(own):
    x = np.arange(own.structures.shape[0]) + own.origin[0]
    for name in labels.NAMES[1:]:
        if name.endswith(("_left", "_right")):
            found = np.argwhere(own.structures == labels.CLASS[name])
            assert (x[found[:, 0]].mean() < 0) == name.endswith("_left"), name
    both = np.isin(own.structures, definitions.LATERAL_VENTRICLES)
    assert abs(x[np.argwhere(both)[:, 0]].mean()) < 2.0


def test_the_order_of_brightness_is_that_of_the_tissues(own):
    csf, cortex, white = (own.brightness[np.isin(own.structures, labels.classes_in(group))]
                          for group in ("csf", "cortex", "white_matter"))
    assert np.percentile(csf, 97) < np.percentile(cortex, 3) and np.percentile(cortex, 97) < np.percentile(white, 3)
    assert own.texture.std() > 0.05 and (own.texture[own.structures == 0] == 0).all()


@pytest.mark.parametrize("structure, percent", [("thalamus", -20.0), ("whole_brain", -10.0), ("hippocampus", -15.0)])
def test_atrophy_starts_from_the_persons_own_volumes(own, structure, percent):
    head = anatomy.head(np.random.default_rng(1), "F", 2.0, own)
    before, after = (ml(atrophy.brain(head, 40.0, "F", deviation).structures)[definitions.classes_of(structure)].sum()
                     for deviation in ({}, {structure: percent}))
    assert 100 * (after / before - 1) == pytest.approx(percent, abs=2.0)


def test_nobody_is_folded(own):
    """Twenty people, of both kinds: the drawn deformation, and the whole map with a strong atrophy."""
    strong = {"thalamus": -25.0, "caudate": -20.0, "whole_brain": -10.0}
    for seed in range(20):
        head = anatomy.head(np.random.default_rng(seed), "FM"[seed % 2], 4.0, own if seed % 4 < 2 else None)
        assert head.smallest_jacobian > 0.15
        assert atrophy.smallest_jacobian(head, 50.0, "F", strong) > 0, seed


def test_people_of_maps_and_of_the_template_have_the_same_labels(maps):
    for folder in (str(maps), None):
        visit, = person.simulate_person(0, 1, replace(COARSE, spacing=4.0, label_maps=folder))
        assert set(np.unique(visit.structures)) == set(range(len(labels.STRUCTURES)))


def test_each_map_comes_once_before_any_comes_again(maps):
    paths = [maps / name for name in "abc"]
    drawn = [[label_maps.one_of(paths, seed, index) for index in range(6)] for seed in range(6)]
    assert all(sorted(one[:3]) == sorted(one[3:]) == paths for one in drawn) and len(set(map(tuple, drawn))) > 1
    assert label_maps.chosen(None, 0, 0) is atlas()


def test_a_cohort_is_known_by_its_maps_not_by_their_place(maps, tmp_path):
    here, there = (replace(COARSE, label_maps=str(folder)) for folder in (maps, shutil.copytree(maps, tmp_path / "m")))
    assert cohort.home(here) == cohort.home(there) != cohort.home(COARSE)
    assert str(maps) not in str(cohort.told(here)) and len(cohort.told(here)["label_maps"]) == 2


def test_a_map_without_sulci_gets_them(own):
    """FreeSurfer's aseg names no CSF around the brain."""
    made, affine = numbers(0.92)
    made[(made == 24) | (made == SKULL)] = 0
    made[96:98, 112, 100:110] = 24
    made = ml(label_maps.structures_of(nifti.Scan(made.astype(np.int32), affine)))
    truth, csf = 0.92**3 * ml(own.structures), labels.CLASS["csf"]
    assert 0.4 < made[csf] / truth[csf] < 1.1
    np.testing.assert_allclose(np.delete(made, [0, csf]), np.delete(truth, [0, csf]), rtol=0.1)     # another grid


@pytest.mark.parametrize("change, why", [
    (lambda made: np.where(np.isin(made, (10, 49)), 0, made), "no thalamus_left, thalamus_right: give a whole-brain"),
    (lambda made: np.where(made > 0, made + 500, 0), "numbers that FreeSurfer's aseg and aparc do not"),
    (lambda made: np.where(made == 24, 24, 0), "no cerebral_white_matter_left"),
    (lambda made: np.where(made > 40, 0, made), "no cerebral_white_matter_right"),
    (lambda made: made[::-1], "left structures lie on the right"),
])
def test_what_is_no_brain_is_refused(change, why):
    made, affine = numbers()
    with pytest.raises(MedFuseError, match=why):
        label_maps.structures_of(nifti.Scan(change(made).astype(np.int32), affine, path="m.nii.gz"))


def test_what_does_not_fit_is_refused():
    made, affine = numbers(1.5)
    with pytest.raises(MedFuseError, match="of its brain fits the standard box"):
        label_maps.structures_of(nifti.Scan(made.astype(np.int32), affine, path="m.nii.gz"))


@pytest.mark.parametrize("names, why", [((), "no label map"), (("a_space-MNI152_dseg.nii.gz",), "in MNI space"),
                                        (None, "no such folder"), (("a.txt",), "no label map")])
def test_a_folder_without_maps_is_refused(tmp_path, names, why):
    folder = tmp_path / "maps"
    if names is not None:
        folder.mkdir()
    for name in names or ():
        (folder / name).touch()
    with pytest.raises(MedFuseError, match=why):
        CohortSettings(label_maps=str(folder))


def test_people_of_one_map_are_not_in_training_and_held_out(maps, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(5):
        shutil.copy(next(maps.glob("one_dseg*")), folder / f"{number}_dseg.nii.gz")
    names = [f"sub-{number:04d}" for number in range(20)]
    split = cohort.held_apart(names, replace(COARSE, subjects=20, label_maps=str(folder)))
    source = [label_maps.one_of(label_maps.found(folder), COARSE.seed, index) for index in range(20)]
    assert set(split.values()) == {"train", "valid", "test"}
    assert all(len({split[name] for name, its in zip(names, source, strict=True) if its == one}) == 1 for one in source)
    few = cohort.held_apart(names, replace(COARSE, subjects=20, label_maps=str(maps)))
    assert set(few.values()) == {"train", "valid", "test"}
