import importlib.util
import json
import shutil
import sys

import jax
import nibabel
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from medfuse_jax import MedFuse, command, overrides
from medfuse_jax import family as house
from medfuse_jax.data import grid, labels, nifti
from medfuse_jax.data.grid import Grid
from medfuse_jax.data.resampling import resample
from medfuse_jax.errors import MedFuseError

PROMPT = "FLAIR and T1w, woman of 42, RRMS, nine periventricular lesions, 6 ml, moderate thalamic atrophy"
OTHER = "IRM FLAIR et T1, homme de 55 ans, SEP-SP, forte charge lésionnelle, atrophie thalamique sévère"


@pytest.fixture(scope="module")
def model(family):
    """The tiny family with its silent branches woken, so that words are heard and lesions are seen."""
    random = np.random.default_rng(0)
    lent = {name: stage._replace(params=jax.tree.map(
        lambda leaf: leaf + 0.1 * random.standard_normal(leaf.shape).astype(np.float32), stage.params))
        for name, stage in house.load(family).items()}
    lent["autoencoder"].params["lesion_head"]["bias"] += 1.5
    return MedFuse(lent, family)


@pytest.fixture(scope="module")
def visit(tmp_path_factory, root):
    """A simulated FLAIR on a scanner's own grid, in a scanner's units, and a mask over a part of it."""
    folder, config = tmp_path_factory.mktemp("visit"), overrides.load(root / "configs/ldm.py", "tiny")
    config.data.jobs = 1
    volume = np.load(house.prepared(config, folder) / "volumes.npy", mmap_mode="r")[0, ..., 0].astype(np.float32).T
    own = Grid((34, 40, 36), np.array([[5.5, 0, 0, -92.0], [0, 5.5, 0, -130], [0, 0, 5.5, -85], [0, 0, 0, 1]]))
    image = 300 * resample(volume, grid.standard(8.0).affine, own)
    inside = np.zeros(own.shape, np.uint8)
    inside[18:26, 12:28, 12:24] = 1
    scan = nifti.write_volume(folder / "sub-x_FLAIR.nii.gz", image, own.affine)
    return scan, nifti.write_volume(folder / "mask.nii.gz", inside, own.affine)


@pytest.fixture(scope="module")
def plain(model):
    return model.sample(PROMPT, seed=3)


def differ(one, other):
    return max(np.abs(one.volumes[name] - other.volumes[name]).max() for name in one.volumes)


def test_a_seed_makes_one_sample(model, plain):
    again, other = model.sample(PROMPT, seed=3), model.sample(PROMPT, seed=4)
    assert differ(plain, again) == 0 and np.array_equal(plain.labels, again.labels) and plain.record == again.record
    assert differ(plain, other) > 1e-2


def test_a_sample_does_not_depend_on_how_many_are_made(model, plain):
    first, second = model.samples(PROMPT, number=2, seed=3)
    assert differ(plain, first) < 1e-4 < differ(plain, second)
    assert (first.record["number"], second.record["number"]) == (0, 1)


@pytest.mark.parametrize("weight, hears", [(0.0, False), (1.0, True), (3.0, True)])
def test_the_dial_at_zero_does_not_hear_the_sentence(model, weight, hears):
    one, other = (model.sample(prompt, text_weight=weight) for prompt in (PROMPT, OTHER))
    shared = [name for name in one.volumes if name in other.volumes]
    assert shared and (max(np.abs(one.volumes[name] - other.volumes[name]).max() for name in shared) > 1e-3) == hears
    assert hears or differ(one, other) <= 1e-6 and np.array_equal(one.labels, other.labels)


def test_labels_agree_with_what_was_measured(plain):
    lesion = np.isin(plain.labels, (labels.LESION_LEFT, labels.LESION_RIGHT))
    voxel = 0.512
    assert lesion.any() and np.array_equal(lesion, plain.lesions)
    assert plain.findings.lesion_volume_ml == pytest.approx(lesion.sum() * voxel)
    covered = plain.structures == labels.CLASS["thalamus_left"]              # with the lesion voxels that cover it
    assert plain.findings.structures_ml["thalamus_left"] == pytest.approx(covered.sum() * voxel)
    assert np.array_equal(plain.labels[~lesion], labels.to_indices(plain.structures)[~lesion])
    assert not plain.lesions[plain.structures == 0].any()
    assert all((volume[plain.structures == 0] == 0).all() and volume.min() >= 0 for volume in plain.volumes.values())


def test_a_sample_lies_in_mni_space(plain):
    assert list(plain.volumes) == ["FLAIR", "T1w"]
    assert plain.labels.shape == plain.volumes["FLAIR"].shape == grid.standard(8.0).shape
    np.testing.assert_array_equal(plain.affine, grid.standard(8.0).affine)


def test_a_sample_with_an_image_lies_on_its_grid(model, visit):
    scan = nifti.read_volume(visit[0])
    made = model.sample(PROMPT, image=visit[0], text_weight=2.0, image_weight=1.5)
    assert made.labels.shape == made.volumes["T1w"].shape == scan.array.shape and made.space == "scanner"
    np.testing.assert_array_equal(made.affine, scan.affine)
    other = model.sample(PROMPT, text_weight=2.0)
    brain = other.volumes["FLAIR"][other.structures > 0].mean()              # in the scan's units: its median is 300
    assert 100 < made.volumes["FLAIR"][made.structures > 0].mean() / brain < 900
    assert made.record["reference"] == {"FLAIR": "sub-x_FLAIR.nii.gz"}
    assert made.record["weights"]["interaction"] == pytest.approx(3**0.5)


def test_outside_the_mask_nothing_changes(model, visit):
    scan, inside = nifti.read_volume(visit[0]), nifti.read_volume(visit[1]).array > 0
    made = model.sample(PROMPT, image=visit[0], mask=visit[1], text_weight=2.0, image_weight=1.5)
    np.testing.assert_array_equal(made.volumes["FLAIR"][~inside], scan.array[~inside])
    assert (made.volumes["FLAIR"][inside] != scan.array[inside]).mean() > 0.5


def test_shares_of_text_and_image_sum_to_one(model, visit):
    told = model.sample(PROMPT, image=visit[0], text_weight=2.0, image_weight=1.5, shares=True).record["shares"]
    assert len(told["per_step"]["text"]) == 2 and told["sum_error"] < 1e-5
    assert told["text"] + told["image"] == pytest.approx(1, abs=1e-5) and 0 < told["text"] < 1


def test_without_an_image_the_text_decides_all(model):
    told = model.sample(PROMPT, text_weight=3.0, shares=True).record["shares"]
    assert told["text"] == pytest.approx(1, abs=1e-5) and told["image"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("wrong, told", [
    (dict(text_weight=-1.0), "text weight -1.0 cannot be used: give a number from 0 to 100"),
    (dict(text_weight=float("nan")), "text weight nan"), (dict(text_weight=1e9), "text weight 1000000000.0"),
    (dict(number=0), "number 0 cannot be made"), (dict(steps=0), "steps 0 cannot be taken: give 1 to 1000"),
    (dict(mask="mask.nii.gz"), "give the --image too"), (dict(prompt=" "), "prompt: it is empty"),
    (dict(image="scan.nii.gz"), "its name does not end in a contrast"),
    (dict(image="a_FLAIR.nii.gz"), "a_FLAIR.nii.gz"),
    (dict(image={"ce-gadolinium_T1w": "a.nii.gz"}), "not trained on ce-gadolinium_T1w: it knows FLAIR, T1w, T2w"),
])
def test_what_cannot_be_sampled_is_refused(model, wrong, told):
    with pytest.raises(MedFuseError, match=told):
        model.samples(**dict(prompt=PROMPT) | wrong)


def test_a_contrast_that_no_model_was_trained_on_is_told(model):
    made = model.sample("T1w after gadolinium, no lesions")
    assert list(made.volumes) == ["FLAIR", "T1w", "T2w"]
    assert any("not trained on ce-gadolinium_T1w" in line for line in made.record["warnings"])


@pytest.mark.parametrize("weight, sees", [(0.0, False), (1.5, True)])
def test_the_dial_at_zero_does_not_see_the_image(model, visit, weight, sees):
    scan = nifti.read_volume(visit[0])
    mirrored = nifti.write_volume(visit[0].parent / "mirrored_FLAIR.nii.gz", scan.array[::-1], scan.affine)
    one, other = (model.sample(PROMPT, image=image, text_weight=2.0, image_weight=weight)
                  for image in (visit[0], mirrored))
    assert np.array_equal(one.labels, other.labels) != sees


# On disk

def test_what_is_written(plain, tmp_path):
    folder = plain.save(tmp_path / "sample-000")
    assert {path.name for path in folder.iterdir()} == {"labels.tsv", "preview.png", "sample.json"} | {
        name + end for name in ("FLAIR", "T1w", "labels") for end in (".nii.gz", ".json")}
    named = {int(line.split("\t")[0]) for line in (folder / "labels.tsv").read_text().splitlines()[1:]}
    written = nifti.read_labels(folder / "labels.nii.gz").array
    assert set(np.unique(written)) <= named and np.array_equal(written, plain.labels)


def test_the_record_of_a_sample(plain, tmp_path):
    told = json.loads((plain.save(tmp_path) / "sample.json").read_text())
    assert set("synthetic prompt language weights seed steps sampler checkpoint config_hash package_versions commanded "
               "measured notice".split()) <= set(told)
    assert told["synthetic"] is True and set(told["weights"]) == {"text", "image", "interaction"}
    assert told["commanded"]["lesions_by_region"]["periventricular"]["count"] == 9
    assert told["commanded"]["lesion_volume_ml"] == 6 and told["commanded"]["atrophy"] == {"thalamus": "moderate"}
    assert told["measured"]["lesion_volume_ml"] == pytest.approx(plain.findings.lesion_volume_ml)
    assert {"lesion_count", "lesions_by_region", "structures_ml", "brain_parenchymal_fraction"} <= set(told["measured"])


def test_a_sample_says_that_it_is_synthetic(plain, tmp_path):
    folder = plain.save(tmp_path)
    for name in ("FLAIR", "labels"):
        header = nibabel.load(folder / f"{name}.nii.gz").header
        beside = json.loads((folder / f"{name}.json").read_text())
        assert header["descrip"].item().startswith(b"SYNTHETIC medfuse_jax") and header.get_xyzt_units()[0] == "mm"
        inside = json.loads(header.extensions[0].get_content())
        assert inside == beside and beside["synthetic"] is True and "not for clinical use" in beside["notice"]
        assert (beside["prompt"], beside["seed"]) == (PROMPT, 3) and beside["weights"] == plain.record["weights"]


# The command, in this process

@pytest.fixture
def sample(launched):
    return launched("sample")


@pytest.fixture
def launched(root, monkeypatch, capsys, tmp_path):
    """launched(name)(*arguments) runs launch/NAME.py: (exit code, stdout, stderr). Its flags are gone afterwards."""
    before = set(flags.FLAGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "speak", lambda: None)
    yield lambda name: loaded(root / f"launch/{name}.py", monkeypatch, capsys)
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


def loaded(path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location(f"launch_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        with flagsaver.flagsaver(), pytest.raises(SystemExit) as left:
            command.run(module.main)
        return left.value.code or 0, *capsys.readouterr()
    return run


def test_check_reads_a_prompt_without_any_model(sample, tmp_path):
    code, told, _ = sample(f"--prompt={OTHER}, et trois licornes", "--check", "--workdir=nowhere")
    read = json.loads(told)
    assert code == 0 and set(read) == {"commanded", "ignored", "warnings"} and not list(tmp_path.iterdir())
    assert read["commanded"]["atrophy"] == {"thalamus": "severe"} and "licornes" in " ".join(read["ignored"])


def test_the_command_writes_its_samples(sample, family, tmp_path):
    code, *_ = sample(f"--prompt={PROMPT}", f"--workdir={family}", "--number=2", "--seed=3", "--text_weight=3",
                      "--out=a/b")
    told = [json.loads((tmp_path / f"a/b/sample-00{number}/sample.json").read_text()) for number in (0, 1)]
    assert code == 0 and [(one["seed"], one["number"]) for one in told] == [(3, 0), (3, 1)]
    assert told[0]["weights"]["text"] == 3.0 and told[0]["checkpoint"] == str(family / "ldm")


@pytest.mark.parametrize("arguments, told", [
    (("--text_weight=-1",), "text weight -1.0 cannot be used: give a number from 0 to 100"),
    (("--image_weight=nan", "--image={scan}"), "image weight nan cannot be used"),
    (("--mask={mask}",), "give the --image too"),
    (("--image=lost_FLAIR.nii.gz",), "lost_FLAIR.nii.gz does not exist: check --image"),
    (("--image={mask}",), "mask.nii.gz: its name does not end in a contrast: rename it"),
    (("--image={scan}", "--image=FLAIR={scan}"), "a second FLAIR beside"),
    (("--image={scan}", "--mask=lost.nii.gz"), "lost.nii.gz"),
    (("--out={full}",), "holds samples already: choose another --out"),
    (("--workdir=nowhere",), "nowhere: no trained model here: run `python launch/train.py"),
    (("--number=0",), "number 0 cannot be made"), (("--seed=-1",), "--seed takes a non-negative integer, not '-1'"),
    (("--prompt=",), "prompt: it is empty"),
])
def test_a_mistake_is_one_line_and_code_2(sample, family, visit, tmp_path, arguments, told):
    (tmp_path / "full/sample-000").mkdir(parents=True)
    places = dict(scan=visit[0], mask=visit[1], full=tmp_path / "full")
    arguments = [text.format(**places) for text in arguments]
    code, out, error = sample(f"--prompt={PROMPT}", f"--workdir={family}", *arguments)
    assert (code, out, error.count("\n")) == (2, "", 1) and error.startswith("error: ") and told in error
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_finished_family_shows_two_brains_once_and_says_what_comes_next(launched, family, root, tmp_path):
    runs, train = shutil.copytree(family, tmp_path / "runs"), launched("train")
    asked = (f"--config={root / 'configs/ldm.py'}:tiny", "--workdir=runs", "--config.mesh.data=1")
    code, out, _ = train(*asked)
    places = [runs / f"ldm/samples/{name}/sample.json" for name in ("control", "heavy")]
    told, written = [json.loads(place.read_text()) for place in places], [place.stat().st_mtime_ns for place in places]
    assert code == 0 and told[0]["commanded"]["phenotype"] == "control" and told[1]["commanded"]["phenotype"] == "SPMS"
    assert "python launch/sample.py --workdir=runs --prompt=" in out and "tensorboard --logdir=runs" in out
    assert train(*asked)[0] == 0 and [place.stat().st_mtime_ns for place in places] == written
