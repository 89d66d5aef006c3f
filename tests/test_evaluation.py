"""The judge: figures hold what the contract says, laws hold exactly, and what is left out is left out."""

import json
import math
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from medfuse_jax.data.pipeline import Cohort
from medfuse_jax.errors import MedFuseError
from medfuse_jax.evaluation import autoencoder, judged, suites, zero_shot
from medfuse_jax.evaluation.estimate import by_person, estimate, law
from medfuse_jax.stages import autoencoder as stage
from medfuse_jax.stages import ldm

KEYS = {"value", "ci95", "n", "baseline", "higher_is_better", "reference", "spacing_mm"}
NAMES = {
    "autoencoder": {"psnr", "psnr_clean", "psnr_from_flair", "lesion_psnr", "ssim", "ssim_clean", "lesion_dice",
                    *(f"dice_{name}" for name in stage.JUDGED)},
    "alignment": {"negation_accuracy", "negation_accuracy/fr",
                  *(f"{way}_r@{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10))},
    "ldm": {"dial_zero_latent", "dial_zero_volume", "shares_sum_error", "dial_text_share_spearman", "denoise",
            "denoise_text", "denoise_image", "denoise_saved_beside_shuffled_text", "denoise_saved_beside_no_text",
            *(f"{what}/{name}" for what, *prompts in ldm.CONTRASTED
              for name in (*prompts, "difference", "pairs_in_order"))},
}


@pytest.fixture(scope="module")
def found(family, tmp_path_factory):
    """Where all suites of the tiny family lie."""
    out = tmp_path_factory.mktemp("eval")
    suites.evaluate(family, ["all"], out, number=3)
    return out


@pytest.fixture(scope="module")
def metrics(found):
    return json.loads((found / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("suite", list(NAMES))
def test_every_metric_is_there_as_the_contract_says(metrics, suite):
    open_ended = {name for name in metrics[suite] if name.startswith("auroc_")}       # of findings some have, some not
    assert set(metrics[suite]) - open_ended == NAMES[suite] and set(metrics) == set(NAMES)
    assert open_ended <= {f"auroc_{name}{ending}" for name in zero_shot.ASKED for ending in ("", "/fr")}
    for name, one in metrics[suite].items():
        low, high = one["ci95"] if one["n"] > 1 else (one["value"], one["value"])
        assert KEYS <= set(one) and one["baseline"] and one["reference"] and one["n"] >= 1, name
        assert math.isfinite(one["value"]) and low - 1e-9 <= one["value"] <= high + 1e-9, name
        assert all(value is None or math.isfinite(value) for value in one["baseline"].values()), name


def test_the_table_has_a_line_for_each_metric(found, metrics):
    lines = (found / "metrics.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4 + sum(len(figures) for figures in metrics.values())
    assert {line.count(" | ") for line in lines[4:]} == {8}


def test_the_dial_keeps_its_laws(metrics):
    told = metrics["ldm"]
    assert told["dial_zero_latent"]["value"] <= 1e-6 and told["dial_zero_volume"]["value"] <= 1e-6
    assert told["shares_sum_error"]["value"] <= 1e-5
    assert 1 / 10_001 <= told["lesion_volume_ml/difference"]["permutation_p"] <= 1


def test_the_same_seed_gives_the_same_figures(family, tmp_path, metrics):
    again = suites.evaluate(family, ["alignment"], tmp_path)
    assert json.loads(json.dumps(again)) == {"alignment": metrics["alignment"]}


def test_scores_are_the_stages_own(family, tmp_path):
    asked = judged.opened(family, "autoencoder", None, tmp_path, 2, 0)
    _, batch = next(asked.batches(asked.examples(("image", "clean"))))
    row = batch.pop("row")
    batch["clean_known"] = np.ones(len(row), np.float32)
    own = jax.jit(asked.stage.evaluate)(asked.params, {}, batch, jax.random.key(0))
    here = jax.jit(autoencoder.scores)(batch, autoencoder.speaker(asked)(asked.params, batch))
    assert set(own) == set(here)
    for name, value in own.items():
        expected, weight = value if isinstance(value, tuple) else (value, np.ones(len(row)))
        np.testing.assert_allclose(here[name][0], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(np.asarray(here[name][1], np.float32), weight)


def test_only_people_who_were_held_out_are_judged_and_neighbours_differ(family, tmp_path):
    asked = judged.opened(family, "autoencoder", None, tmp_path, 2, 0)
    assert {study["split"] for study in asked.cohort.studies} == {"valid", "test"}
    assert all(one != other for one, other in zip(asked.people, asked.people[1:], strict=False))
    whole, own = Cohort(asked.training), asked.cohort
    for row, study in enumerate(own.studies):
        there = [each["study"] for each in whole.studies].index(study["study"])
        np.testing.assert_array_equal(own.seen(np.array([row]))["volume"], whole.seen(np.array([there]))["volume"])
        np.testing.assert_array_equal(own.clean(np.array([row]))["clean"], whole.clean(np.array([there]))["clean"])


def test_the_baselines_are_the_training_studies_mean_and_most_frequent_class(family, tmp_path):
    folder = judged.opened(family, "autoencoder", None, tmp_path, 2, 0).training
    said, cohort = autoencoder.typical_study(folder), Cohort(folder)
    rows = cohort.rows("train")
    np.testing.assert_allclose(said.volume, cohort.arrays["volumes"][rows].astype(np.float32).mean(axis=0), atol=1e-5)
    for voxel in ((12, 14, 12), (8, 10, 16), (0, 0, 0)):
        seen = np.bincount(cohort.arrays["structures"][(rows, *voxel)])
        assert seen[said.structures[voxel]] == seen.max()


def test_data_without_truths_leave_metrics_out(family, tmp_path):
    source = judged.opened(family, "autoencoder", None, tmp_path, 2, 0).training
    folder = tmp_path / "plain"
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "studies.jsonl").unlink()
    lines = [json.loads(line) for line in (source / "studies.jsonl").read_text(encoding="utf-8").splitlines()][:5]
    plain = dict(structures_known=False, lesions_known=False, clean_row=None)
    (folder / "studies.jsonl").write_text("".join(json.dumps(line | plain) + "\n" for line in lines), encoding="utf-8")
    for name in ("volumes", "structures", "lesions"):
        (folder / f"{name}.npy").unlink()
        np.save(folder / f"{name}.npy", np.load(source / f"{name}.npy")[:5])
    told = suites.evaluate(family, ["autoencoder"], tmp_path / "out", data=folder)["autoencoder"]
    assert set(told) == {"psnr", "psnr_from_flair", "ssim"}
    assert told["psnr"]["n"] == len({line["person"] for line in lines})


@pytest.mark.parametrize("arguments, line", [
    (("--suite=autoencodr",), "'autoencodr' does not exist: choose from autoencoder, alignment, ldm, all"),
    (("--suite=",), "choose from autoencoder, alignment, ldm, all"),
    (("--suite=ldm", "--workdir=nowhere"), "nowhere: no trained model here"),
    (("--number=1",), "--number takes"),
])
def test_a_mistake_is_one_line_and_code_2(root, tmp_path, arguments, line):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    done = subprocess.run([sys.executable, str(root / "launch/evaluate.py"), *arguments], cwd=tmp_path,
                          capture_output=True, text=True, timeout=120, env={**inherited, "JAX_PLATFORMS": "cpu"})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and line in done.stderr
    assert not (tmp_path / "eval").exists()


@pytest.mark.parametrize("asked, line", [
    (dict(suites=["alignment"]), "the alignment is not trained"),
    (dict(suites=["autoencoder"], number=1), "give 2 or more"),
    (dict(suites=["autoencoder"], data="nothing here"), "nothing here does not exist: check --data"),
])
def test_what_cannot_be_judged_says_why(family, tmp_path, asked, line):
    (tmp_path / "autoencoder").symlink_to(family / "autoencoder")
    with pytest.raises(MedFuseError, match=line):
        suites.evaluate(tmp_path, out=tmp_path / "out", **asked)


def test_visits_are_averaged_before_people():
    values, people = np.array([1.0, 3.0, 10.0, np.nan]), np.array(["a", "a", "b", "c"])
    np.testing.assert_array_equal(by_person(values, people), [2.0, 10.0, np.nan])
    one = estimate(by_person(values, people), {"none": None}, True, "a mean")
    assert (one["value"], one["n"]) == (6.0, 2) and one["ci95"] == [2.0, 10.0]
    assert estimate(np.array([1.0]), {"none": None}, True, "alone")["ci95"] == [None, None]
    assert law([1e-7, 3e-7], {"none": None}, "a law")["ci95"] == [3e-7, 3e-7]
