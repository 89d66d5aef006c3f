import dataclasses
import json
import os
import shutil
from functools import partial

import numpy as np
import phantom
import pytest

from medfuse_jax import MedFuse, overrides
from medfuse_jax import family as house
from medfuse_jax.data import files, prepare
from medfuse_jax.errors import MedFuseError


@pytest.fixture
def train(family, root):
    """Train the ldm of the tiny family again, with some fields changed; into its workdir unless another is named."""
    def again(*changes, workdir=family, stage="ldm"):
        config = overrides.load(root / f"configs/{stage}.py", "tiny")
        config = overrides.change(config, ["mesh.data=1", "data.jobs=1", *changes], "config")
        return house.train(config, workdir, root / "configs")
    return again


@pytest.fixture(autouse=True)
def unmoved(monkeypatch):
    """Phantoms stay where they lie: registration is tested by itself, and costs seconds a study."""
    monkeypatch.setattr(prepare, "prepare", partial(prepare.prepare, register="none"))


def stamps(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_what_is_borrowed_was_trained_first_on_the_same_grid(family):
    assert {path.name for path in family.iterdir()} == set(house.STAGES)
    told = {name: json.loads((family / name / "summary.json").read_text()) for name in house.STAGES}
    assert all(summary["stage"] == name and summary["preset"] == "tiny" for name, summary in told.items())
    configs = {name: json.loads((family / name / "config.json").read_text()) for name in house.STAGES}
    assert all(config["data"] == configs["ldm"]["data"] for config in configs.values())


def test_the_last_judgement_says_how_the_model_obeys(family):
    final = json.loads((family / "ldm/summary.json").read_text())["final"]
    assert {"obey_lesion_volume/difference_ml", "obey_lesion_volume/permutation_p"} <= set(final)
    assert {"obey_thalamus/difference_ml", "obey_thalamus/permutation_p"} <= set(final)
    assert {f"denoise{seen}" for seen in ("", "_text", "_image", "_nothing", "_shuffled_text")} <= set(final)


def test_a_finished_family_is_left_alone(family, train):
    before = stamps(family)
    assert train() == family / "ldm" and train(stage="autoencoder") == family / "autoencoder"
    assert stamps(family) == before


@pytest.mark.parametrize("change, told", [
    ("model.width=48", r"ldm: made with another config \(model.width was 32, is 48\)"), ("seed=1", "seed was 0, is 1"),
    ("data.spacing=4", "trained at 8 mm, but this run is at 4 mm: choose the preset tiny or another --workdir"),
    ("data.subjects=9", "alignment: trained on other data .* or borrow it all the same: --config.borrow.alignment="),
    ("borrow.alignment=nowhere", "nowhere: no finished alignment there: train it, or leave the field empty"),
])
def test_another_config_is_refused(family, train, change, told):
    before = stamps(family)
    with pytest.raises(MedFuseError, match=told):
        train(change)
    assert stamps(family) == before


def test_more_steps_go_on_from_the_last_checkpoint(family, train, tmp_path):
    shutil.copytree(family, tmp_path / "runs")
    train("steps=6", stage="autoencoder", workdir=tmp_path / "runs")
    old, new = ([json.loads(line) for line in (folder / "autoencoder/metrics.jsonl").read_text().splitlines()]
                for folder in (family, tmp_path / "runs"))
    assert [line["step"] for line in new] == [1, 2, 3, 4, 5, 6]
    assert [line["loss"] for line in old] == [line["loss"] for line in new[:4]]


def test_a_family_may_borrow_from_another(family, train, tmp_path):
    train(*(f"borrow.{name}={family / name}" for name in ("alignment", "autoencoder")), workdir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ldm"]
    MedFuse.load(tmp_path)


def test_data_on_another_grid_are_refused(family, train, root, tmp_path):
    made = house.prepared(overrides.load(root / "configs/ldm.py", "tiny"), tmp_path)
    shutil.copytree(made, tmp_path / "prepared")
    information = json.loads((tmp_path / "prepared/prepared.json").read_text())
    (tmp_path / "prepared/prepared.json").write_text(json.dumps(information | {"spacing": 4.0}))
    with pytest.raises(MedFuseError, match="at 4.0 mm but data.spacing is 8.0: prepare it again with --spacing=8"):
        train(f"data.source={tmp_path / 'prepared'}", "steps=8", workdir=shutil.copytree(family, tmp_path / "runs"))


def test_a_workdir_keeps_to_one_data_set(train, tmp_path):
    folder = tmp_path / "prepared-8mm"
    folder.mkdir()
    (folder / "prepared.json").write_text('{"source": "hospital"}')
    with pytest.raises(MedFuseError, match="was prepared from hospital, not from clinic: choose another --workdir"):
        train(f"data.source={tmp_path / 'clinic'}", stage="autoencoder", workdir=tmp_path)


def test_a_family_lives_on_one_data_set(family, train, tmp_path):
    runs = shutil.copytree(family, tmp_path / "runs")
    source = prepare.prepare(phantom.tree(tmp_path / "tree", people=2), tmp_path / "prepared", phantom.SPACING)
    for stage, told in (("autoencoder", "autoencoder"), ("ldm", "alignment")):
        with pytest.raises(MedFuseError, match=f"{told}: trained on other data .*: name the same data, or another"):
            train(f"data.source={source}", stage=stage, workdir=runs)
    own = train(f"data.source={source}", stage="autoencoder", workdir=tmp_path / "own")
    told = json.loads((own / "summary.json").read_text())["data"]
    assert told["valid_is_train"] is True and told["studies"] == 2
    other = prepare.prepare(phantom.tree(tmp_path / "other/tree", people=3), tmp_path / "other/prepared", 8.0)
    with pytest.raises(MedFuseError, match="trained on other data"):
        train(f"data.source={other}", stage="autoencoder", workdir=tmp_path / "own")
    with pytest.raises(MedFuseError, match="data.describe.contents was .*, is "):
        train(f"data.source={other}", "steps=6", stage="autoencoder", workdir=tmp_path / "own")
    moved = shutil.move(source, tmp_path / "elsewhere")
    assert train(f"data.source={moved}", stage="autoencoder", workdir=tmp_path / "own") == own
    train(f"data.source={moved}", "steps=6", stage="autoencoder", workdir=tmp_path / "own")


def test_words_that_are_lost_are_told(family, train, tmp_path):
    shutil.copytree(family, tmp_path / "runs")
    (tmp_path / "runs/alignment/tokenizer.json").unlink()
    with pytest.raises(MedFuseError, match="tokenizer.json is missing: train the alignment again"):
        train("steps=8", workdir=tmp_path / "runs")


def test_a_borrowed_stage_is_what_was_trained(family, root):
    lent = house.borrow(family / "autoencoder")
    mine = overrides.load(root / "configs/autoencoder.py", "tiny")
    assert lent.config.model == mine.model and isinstance(lent.config.model.widths, tuple)
    assert lent.statistics["contrasts"] == ["FLAIR", "T1w", "T2w"]
    assert all(isinstance(leaf, np.ndarray) for leaf in lent.params["zero_lesion_head"].values())


@pytest.mark.parametrize("summary", [None, "", "{", '{"stage": "ldm"}', "[]"])
def test_an_unfinished_workdir_holds_no_model(tmp_path, summary):
    if summary is not None:
        (tmp_path / "ldm").mkdir()
        (tmp_path / "ldm/summary.json").write_text(summary)
    with pytest.raises(MedFuseError, match="no trained model here: run `python launch/train.py --config"):
        MedFuse.load(tmp_path)


@pytest.mark.parametrize("stage, changed, told", [
    ("autoencoder", lambda params: params | {"new": {"scale": np.ones(3, np.float32)}},
     r"new.scale was absent, is \[\[3\], 'float32'\]"),
    ("ldm", lambda params: {name: params[name] for name in sorted(params)[1:]}, "is absent"),
    ("alignment", lambda params: {}["text.kind"], "KeyError: 'text.kind'"),
])
def test_a_family_that_other_code_trained_is_refused(family, monkeypatch, stage, changed, told):
    """The code of today builds another network than the one that lies there."""
    build = house.STAGES[stage].build

    def other(config, borrowed):
        made = build(config, borrowed)
        return dataclasses.replace(made, init=lambda seed: changed(made.init(seed)))
    monkeypatch.setattr(house.STAGES[stage], "build", other)
    with pytest.raises(MedFuseError, match=told) as refused:
        MedFuse.load(family)
    assert f"{family / stage}: made by other code (version" in str(refused.value)
    assert "train it again in another --workdir, or use the code of version" in str(refused.value)


def test_two_trainings_do_not_share_a_folder(train, tmp_path):
    (tmp_path / "autoencoder").mkdir()
    with files.alone(tmp_path / "autoencoder"):
        with pytest.raises(MedFuseError, match=rf"autoencoder: process {os.getpid()} is at work there"):
            train(workdir=tmp_path, stage="autoencoder")
    assert train(workdir=tmp_path, stage="autoencoder") == tmp_path / "autoencoder"


def test_a_run_on_another_grid_is_refused_before_any_data_are_made(train, tmp_path, monkeypatch):
    (tmp_path / "autoencoder").mkdir()
    (tmp_path / "autoencoder/config.json").write_text('{"preset": "local", "data": {"spacing": 4.0}}')
    monkeypatch.setattr(house, "prepared", lambda *some: pytest.fail("data were made"))
    with pytest.raises(MedFuseError, match="trained at 4 mm, but this run is at 8 mm: choose the preset local"):
        train(workdir=tmp_path, stage="autoencoder")


@pytest.mark.parametrize("kinds", [("lesions",), pytest.param(("structures",), marks=pytest.mark.slow),
                                   pytest.param((), marks=pytest.mark.slow)])
def test_a_tree_without_some_labels_still_makes_brains(train, tmp_path, kinds):
    """What no study has is not made up: no label, no number, a line that says so; the images are there."""
    tree = phantom.tree(tmp_path / "tree", people=4)
    names = {"lesions": "label-lesion_mask", "structures": "dseg"}
    for mask in (tree / "derivatives/truth").rglob("*.nii.gz"):
        if not any(names[kind] in mask.name for kind in kinds):
            mask.unlink()
    folder = train(f"data.source={tree}", "batch=2", "mesh.data=1", workdir=tmp_path / "runs")
    final = json.loads((folder / "summary.json").read_text())["final"]
    assert ("obey_lesion_volume/difference_ml" in final) == ("lesions" in kinds)
    assert ("obey_thalamus/difference_ml" in final) == ("structures" in kinds)

    sample = MedFuse.load(tmp_path / "runs").sample("FLAIR, three lesions, no thalamic atrophy")
    shown = sample.volumes["FLAIR"]
    assert 500 < (shown > 0).sum() * 0.512 < 3000 and 0.3 < np.median(shown[shown > 0]) < 3
    assert (sample.structures is None, sample.lesions is None) == ("structures" not in kinds, "lesions" not in kinds)
    told = {verdict.finding: verdict.word for verdict in sample.verdicts}
    assert (told["lesion_count"] == "not measurable") == ("lesions" not in kinds)
    assert (told["atrophy.thalamus"] == "not measurable") == ("structures" not in kinds)
    assert sum("training data had no" in line for line in sample.record["warnings"]) == 2 - len(kinds)
    saved = sample.save(tmp_path / "sample")
    assert (saved / "structures.nii.gz").exists() == ("structures" in kinds)
    assert (saved / "labels.nii.gz").exists() and (saved / "preview.png").exists()
    assert set(sample.record["measured"]["not_assessed"]) >= set(names) - set(kinds)
