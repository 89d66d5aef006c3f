import json
from functools import partial

import jax
import nibabel
import numpy as np
import pytest

from medfuse_jax import MedFuse, synthetic
from medfuse_jax import family as house
from medfuse_jax.data import grid, labels, nifti, prepare
from medfuse_jax.data.grid import Grid
from medfuse_jax.data.resampling import resample
from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics import biomarkers
from medfuse_jax.request import Request

PROMPT = "FLAIR and T1w, woman of 42, RRMS, nine periventricular lesions, 6 ml, moderate thalamic atrophy"
OTHER = "IRM FLAIR et T1, homme de 55 ans, SEP-SP, forte charge lésionnelle, atrophie thalamique sévère"


@pytest.fixture(scope="module")
def model(family):
    """The tiny family with its silent branches woken, so that words are heard and lesions are seen."""
    random = np.random.default_rng(0)
    lent = {name: stage._replace(params=jax.tree.map(
        lambda leaf: leaf + 0.1 * random.standard_normal(leaf.shape).astype(np.float32), stage.params))
        for name, stage in house.load(family).items()}
    lent["autoencoder"].params["zero_lesion_head"]["bias"] += 1.5
    return MedFuse(lent, family)


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


def test_lesions_of_unsided_structures_lie_on_the_side_where_they_are():
    structures = np.zeros((12, 4, 4), np.uint8)
    structures[2:4], structures[8:10] = labels.CLASS["thalamus_left"], labels.CLASS["thalamus_right"]
    structures[4:8] = labels.CLASS["brainstem"]
    affine = np.diag([2.0, 2, 2, 1])
    affine[0, 3] = 40.0                                       # a head that is not centred: its middle is at x = 51
    made = synthetic.Sample({"FLAIR": np.ones(structures.shape, np.float32)}, structures, structures > 0, affine,
                            biomarkers.measure(structures, structures > 0, 2.0), {})
    side = np.where(np.arange(12) < 6, labels.LESION_LEFT, labels.LESION_RIGHT)
    side[[0, 1, 10, 11]] = 0
    assert np.array_equal(made.labels[:, 0, 0], side)


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


def test_outside_the_mask_no_label_hears_the_sentence(model, visit):
    """Labels there, and a contrast that was not given, are decoded from the reference, whatever is asked."""
    inside = nifti.read_volume(visit[1]).array > 0
    one, other = (model.sample(f"FLAIR and T1w, {prompt}", image=visit[0], mask=visit[1], text_weight=9.0)
                  for prompt in ("severe thalamic atrophy, 40 ml", "no lesions"))
    free = model.sample("FLAIR and T1w, no lesions", image=visit[0], text_weight=9.0)
    for mine, its, unmasked in ((one.labels, other.labels, free.labels),
                                (one.volumes["T1w"], other.volumes["T1w"], free.volumes["T1w"])):
        assert np.array_equal(mine[~inside], its[~inside]) and not np.array_equal(mine[inside], its[inside])
        assert not np.array_equal(its[~inside], unmasked[~inside])
    assert one.record["mask"] == "mask.nii.gz"


def test_a_second_contrast_on_another_grid_is_kept_outside_the_mask_too(model, visit):
    scan, inside = nifti.read_volume(visit[0]), nifti.read_volume(visit[1]).array > 0
    shifted = Grid((34, 40, 36), scan.affine + 5.5 * np.eye(4, k=3))
    other = resample(scan.array, scan.affine, shifted)
    second = nifti.write_volume(visit[0].parent / "sub-x_T1w.nii.gz", other, shifted.affine)
    made = model.sample(PROMPT, image={"FLAIR": visit[0], "T1w": second}, mask=visit[1])
    expected = resample(other, shifted.affine, scan.grid)
    np.testing.assert_allclose(made.volumes["T1w"][~inside], expected[~inside], atol=1e-4)


@pytest.mark.parametrize("sees", [False, True])
def test_what_is_measured_is_what_is_saved(model, visit, tmp_path, sees):
    folder = model.sample(PROMPT, image=visit[0] if sees else None, text_weight=3.0).save(tmp_path / "sample")
    saved, beneath = (nifti.read_labels(folder / f"{name}.nii.gz") for name in ("labels", "structures"))
    lesions = np.isin(saved.array, (labels.LESION_LEFT, labels.LESION_RIGHT))
    assert np.array_equal(saved.array[~lesions], beneath.array[~lesions]) and lesions.any()
    record = json.loads((folder / "sample.json").read_text())
    again = biomarkers.measure(labels.to_classes(beneath.array), lesions, saved.spacing, age=42.0, sex="F",
                               contrasts=("FLAIR", "T1w"), source="medfuse_jax sample")
    assert json.loads(json.dumps(synthetic.told(again))) == record["measured"]
    assert record["measured"]["spacing_mm"] == ([5.5] * 3 if sees else [8.0] * 3)


def test_studies_come_one_by_one_and_after_earlier_ones(model, plain):
    stream = model.stream(Request(PROMPT, number=2, seed=3))
    assert differ(next(stream), plain) < 1e-4
    later, = model.stream(Request(PROMPT, number=1, seed=3, first=1))
    assert differ(next(stream), later) < 1e-4 and later.record["number"] == 1
    with pytest.raises(MedFuseError, match="no such file|does not exist"):
        model.stream(Request(PROMPT, {"FLAIR": "lost.nii.gz"}))


def test_shares_of_text_and_image_sum_to_one(model, visit):
    told = model.sample(PROMPT, image=visit[0], text_weight=2.0, image_weight=1.5, shares=True).record["shares"]
    assert len(told["per_step"]["text"]) == 2 and told["sum_error"] < 1e-5
    assert told["text"] + told["image"] == pytest.approx(1, abs=1e-5) and 0 < told["text"] < 1


@pytest.mark.parametrize("interaction, text", [(1.0, 0.5), (0.0, None)])
def test_the_interaction_alone_is_shared_equally(model, visit, interaction, text):
    told = model.sample(PROMPT, image=visit[0], text_weight=0.0, image_weight=0.0, interaction_weight=interaction,
                        shares=True).record["shares"]
    assert (told["text"], told["image"]) == (pytest.approx(text), pytest.approx(text))
    assert told["interaction"] == (pytest.approx(1.0) if interaction else None) and ("reason" in told) != interaction


def test_a_weight_that_counts_nothing_is_told(model):
    made = model.sample(PROMPT, interaction_weight=1.0)
    assert "no image is given: the interaction weight counts nothing" in made.record["warnings"]
    assert made.record["weights"]["interaction"] == 0


def test_without_an_image_the_text_decides_all(model):
    told = model.sample(PROMPT, text_weight=3.0, shares=True).record["shares"]
    assert told["text"] == pytest.approx(1, abs=1e-5) and told["image"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("wrong, told", [
    (dict(text_weight=-1.0), "text weight -1.0 cannot be used: give a number from 0 to 100"),
    (dict(text_weight=float("nan")), "text weight nan"), (dict(text_weight=1e9), "text weight 1000000000.0"),
    (dict(number=0), "number 0 cannot be made"),
    (dict(seed=2**64), "up to 2147483647"), (dict(steps=0), "steps 0 cannot be taken: give 1 to 1000"),
    (dict(mask="mask.nii.gz"), "give the --image too"), (dict(prompt=" "), "prompt: it is empty"),
    (dict(image="scan.nii.gz"), "its name does not end in a contrast"),
    (dict(image="a_FLAIR.nii.gz"), "a_FLAIR.nii.gz"),
    (dict(image={"ce-gadolinium_T1w": __file__}), "not trained on ce-gadolinium_T1w: it knows FLAIR, T1w, T2w"),
])
def test_what_cannot_be_sampled_is_refused(model, wrong, told):
    with pytest.raises(MedFuseError, match=told):
        model.samples(**dict(prompt=PROMPT) | wrong)


def test_a_contrast_that_no_model_was_trained_on_is_told(model):
    made = model.sample("T1w after gadolinium, no lesions")
    assert list(made.volumes) == ["FLAIR", "T1w", "T2w"]
    assert any("not trained on ce-gadolinium_T1w" in line for line in made.record["warnings"])


@pytest.mark.parametrize("weight, sees", [(0.0, False), (1.5, True)])
def test_the_dial_at_zero_does_not_see_the_image(model, visit, weight, sees, monkeypatch):
    # Where the sample lies follows the scan's pose, as it should; here both lie as they are.
    monkeypatch.setattr("medfuse_jax.medfuse.prepare.to_grid", partial(prepare.to_grid, register="none"))
    scan = nifti.read_volume(visit[0])
    mirrored = nifti.write_volume(visit[0].parent / "mirrored_FLAIR.nii.gz", scan.array[::-1], scan.affine)
    one, other = (model.sample(PROMPT, image=image, text_weight=2.0, image_weight=weight)
                  for image in (visit[0], mirrored))
    assert np.array_equal(one.labels, other.labels) != sees


# On disk

def test_what_is_written(plain, tmp_path):
    folder = plain.save(tmp_path / "sample-000")
    assert {path.name for path in folder.iterdir()} == {"labels.tsv", "preview.png", "sample.json"} | {
        name + end for name in ("FLAIR", "T1w", "labels", "structures") for end in (".nii.gz", ".json")}
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
    assert told["checkpoint"].startswith("ldm/checkpoints/") and str(tmp_path) not in json.dumps(told)
    assert len(told["prompt_hash"]) == len(told["model_hash"]) == 12 and told["commanded"]["age"] == 42
    assert told["measured"]["expected_for"] == {"age": 42, "sex": "F"}
    assert {"phenotype", "edss"} <= set(told["measured"]["not_assessed"]) and "phenotype" not in told["measured"]
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
        assert beside["seed"] == 3 and beside["weights"] == plain.record["weights"] and "prompt" not in beside
        assert all(beside[name] == plain.record[name] for name in ("prompt_hash", "model_hash"))


def test_each_command_has_its_verdict_beside_it(plain, tmp_path):
    told = json.loads((plain.save(tmp_path) / "sample.json").read_text())
    verdicts = {each["finding"]: each for each in told["verdicts"]}
    assert list(verdicts) == ["contrasts", "lesion_volume_ml", "lesions_by_region.periventricular.count",
                              "atrophy.thalamus", "age", "sex", "phenotype"]
    volume = verdicts["lesion_volume_ml"]
    assert (volume["commanded"], volume["measured"]) == (6, told["measured"]["lesion_volume_ml"])
    assert volume["verdict"] == ("obeyed" if 5.1 <= volume["measured"] <= 6.9 else "not obeyed")
    assert verdicts["phenotype"]["verdict"] == "not measurable"
    judged = [each["verdict"] for each in told["verdicts"] if each["verdict"] != "not measurable"]
    assert plain.verdict.startswith(f"{judged.count('obeyed')} of {len(judged)} measurable commands obeyed")


def test_a_sample_is_whole_or_not_there(plain, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")
    with monkeypatch.context() as broken, pytest.raises(MedFuseError, match="No space left"):
        broken.setattr(synthetic.figures, "preview", full)
        plain.save(tmp_path / "sample-000")
    assert not list(tmp_path.iterdir())
    first = plain.save(tmp_path / "sample-000")
    (first / "T2w.nii.gz").write_text("of an older sample")
    assert plain.save(first) == first and not (first / "T2w.nii.gz").exists() and len(list(tmp_path.iterdir())) == 1


def test_a_folder_of_other_things_is_not_replaced(plain, tmp_path):
    (tmp_path / "thesis.txt").write_text("of three years")
    with pytest.raises(MedFuseError, match="holds thesis.txt, no sample: choose another folder"):
        plain.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
