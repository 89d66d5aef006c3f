"""A data set is its contents: a copy elsewhere is the same, another one of the same name is not."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from phantom import SPACING, phantom, tree

from medfuse_jax.data import MedFuseError, contents, files, nifti, prepare
from medfuse_jax.data.pipeline import Cohort, Examples
from medfuse_jax.data.simulate import cohort
from medfuse_jax.data.simulate.person import CohortSettings


def another_scan(root):
    path = root / "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz"
    nifti.write_volume(path, phantom(7), nifti.read_volume(path).affine)


def another_age(root):
    table = root / "participants.tsv"
    table.write_text(table.read_text().replace("\t42\t", "\t52\t"))


def another_name(root):
    path = root / "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz"
    path.rename(path.with_name("sub-02_ses-01_acq-3d_T1w.nii.gz"))


def no_mask(root):
    next((root / "derivatives/truth/sub-02").rglob("*lesion_mask*")).unlink()


CHANGES = [another_scan, another_age, another_name, no_mask]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tree, whose third study is damaged, and what was prepared from it."""
    folder = tmp_path_factory.mktemp("contents")
    root = tree(folder / "hospital", people=4)
    (root / "sub-03/ses-01/anat/sub-03_ses-01_FLAIR.nii.gz").write_bytes(b"no")
    return root, prepare.prepare(root, folder / "prepared", SPACING, jobs=2, register="none")


@pytest.mark.parametrize("name", ["hospital", "hôpital d'été"])
def test_a_tree_that_was_moved_is_the_same(made, tmp_path, name):
    root, folder = made
    copy = shutil.copytree(root, tmp_path / name)
    contents.same_tree(folder, copy, 2)
    again = prepare.prepare(copy, tmp_path / "again", SPACING, register="none")
    assert Cohort(again).contents == Cohort(folder).contents


@pytest.mark.parametrize("change", CHANGES)
def test_another_tree_of_the_same_name_is_refused(made, tmp_path, change):
    root, folder = made
    other = shutil.copytree(root, tmp_path / "hospital")
    change(other)
    with pytest.raises(MedFuseError, match=r"1 of 4 studies differ; the first: sub-02_ses-01\): choose another"):
        contents.same_tree(folder, other)
    again = prepare.prepare(other, tmp_path / "again", SPACING, register="none")
    assert Cohort(again).contents != Cohort(folder).contents


def test_a_study_more_or_mended_is_another_data_set(made, tmp_path):
    root, folder = made
    for name, people, first in (("more", 5, "sub-03"), ("mended", 4, "sub-03")):
        with pytest.raises(MedFuseError, match=f"the first: {first}"):
            contents.same_tree(folder, tree(tmp_path / name / "hospital", people=people))


def test_a_tree_that_is_gone_is_known_by_its_name(made, tmp_path):
    _, folder = made
    contents.same_tree(folder, tmp_path / "hospital")
    with pytest.raises(MedFuseError, match="was prepared from hospital, not from clinic"):
        contents.same_tree(folder, tmp_path / "clinic")


def test_how_a_tree_is_split_belongs_to_what_is_trained_on(made, tmp_path):
    root, folder = made
    other = Cohort(prepare.prepare(root, tmp_path / "seed", SPACING, seed=1, register="none"))
    assert other.contents != Cohort(folder).contents
    told = Examples(Cohort(folder), ("image",)).describe()
    assert told["contents"] == Cohort(folder).contents and told["valid_is_train"] is False


@pytest.mark.parametrize("change", [dict(seed=1), dict(subjects=4), dict(visits=2), dict(counterfactual=False)])
def test_simulated_people_are_known_by_their_settings(tmp_path, change):
    settings = CohortSettings(subjects=3, visits=1, spacing=8.0)
    named = [contents.of_prepared(dict(source="simulated", settings=json.loads(json.dumps(cohort.told(each)))))
             for each in (settings, settings, replace(settings, **change))]
    assert named[0] == named[1] != named[2]


def test_threads_that_write_one_file_leave_it_whole(tmp_path):
    def write(number):
        with files.whole_file(tmp_path / "kept") as temporary:
            temporary.write_text(str(number) * 1000)

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(write, range(64)))
    text = (tmp_path / "kept").read_text()
    assert text == text[:len(text) // 1000] * 1000 and [each.name for each in tmp_path.iterdir()] == ["kept"]
