"""A preparation goes on past a bad study, says what is wrong with it, and refuses what cannot be; and the command."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from phantom import FINE, LESION, SPACING, Z, leg, opened, phantom, stop_at, structures, tree

from medfuse_jax.data import MedFuseError, brain, nifti, prepare, write_volume
from medfuse_jax.data.files import JOURNAL, kept_folder

FAR = np.array([[2.0, 0, 0, 200], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])


@pytest.fixture(autouse=True)
def unmoved(monkeypatch):
    """Phantoms stay where they lie: registration is tested by itself, and costs seconds a study."""
    monkeypatch.setattr(prepare, "prepare", partial(prepare.prepare, register="none"))


def test_a_bad_study_is_listed_and_the_batch_goes_on(tmp_path):
    root = tree(tmp_path / "tree", people=3)
    broken = root / "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz"
    broken.write_bytes(broken.read_bytes()[:900])
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    out = prepare.prepare(root, tmp_path / "out", SPACING)
    header, line = (out / "rejected.tsv").read_text().splitlines()
    assert header == "path\treason" and line.startswith("sub-02/ses-01\t") and "gzip" in line
    lines, arrays = opened(out)
    assert [study["person"] for study in lines] == ["sub-01", "sub-03"] and len(arrays["volumes"]) == 2
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_who_cannot_be_used_is_in_no_split(tmp_path):
    """Whoever is left out, those who remain are dealt to all three splits."""
    root = tree(tmp_path / "tree", people=5)
    for out in (("01", "02"), ("04", "05")):
        for person in out:
            (root / f"sub-{person}/ses-01/anat/sub-{person}_ses-01_T1w.nii.gz").write_bytes(b"no")
        lines, _ = opened(prepare.prepare(root, tmp_path / "out", SPACING))
        assert sorted(line["split"] for line in lines) == ["test", "train", "valid"]
        shutil.rmtree(root)
        tree(root, people=5)
    told = json.loads((tmp_path / "out/prepared.json").read_text())
    assert told["people"] == dict(train=1, valid=1, test=1) and told["valid_is_train"] is False
    told = json.loads((prepare.prepare(tree(tmp_path / "two", people=2), tmp_path / "2", SPACING) / "prepared.json")
                      .read_text())
    assert told["people"] == dict(train=2, valid=0, test=0) and told["valid_is_train"] is True


@pytest.mark.parametrize("spoil, why", [
    (lambda root, flair, mask: write_volume(mask, np.ones((20, 20, 20), bool), FAR),
     "of the lesion mask lies in the image's brain: give a mask of the same space"),
    (lambda root, flair, mask: (flair.unlink(), flair.mkdir()), "a folder: give a .nii"),
    (lambda root, flair, mask: (write_volume(flair, -phantom() - 1, FINE.affine), _forget(root)),
     "no image is brighter than 0 where the brain is"),
    (lambda root, flair, mask: (write_volume(flair, leg(), np.diag([2.0, 2, 3, 1])), _forget(root, "derivatives")),
     "is it a whole head"),
    (lambda root, flair, mask: write_volume(mask.with_name("sub-01_ses-01_desc-brain_mask.nii.gz"),
                                            np.ones(FINE.shape, bool), FINE.affine),
     "desc-brain_mask.nii.gz: the brain mask is of 8258 ml, and .* 500 to 2300: give one of the whole brain"),
    (lambda root, flair, mask: write_volume(
        mask.with_name("sub-01_ses-01_dseg.nii.gz"),
        np.where((Z > 30) | np.isin(structures(), (10, 49)), structures(), 0), FINE.affine),
     "dseg.nii.gz: what the label map names is of .* ml, and .* 500 to 2300: give one of the whole brain"),
])
def test_what_is_no_brain_is_told_with_a_cure(tmp_path, spoil, why):
    root = tree(tmp_path / "tree", people=1)
    flair = root / "sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz"
    spoil(root, flair, root / "derivatives/truth/sub-01/ses-01/anat/sub-01_ses-01_label-lesion_mask.nii.gz")
    with pytest.raises(MedFuseError, match=why):
        prepare.prepare(root, tmp_path / "out", SPACING)


def _forget(root: Path, *folders: str) -> None:
    (root / "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz").unlink()
    for folder in folders:
        shutil.rmtree(root / folder)


def test_who_asks_for_no_registration_gets_none(tmp_path):
    root = tree(tmp_path / "tree", people=1, shift=(30.0, -40.0, 16.0))
    (line,), _ = opened(prepare.prepare(root, tmp_path / "out", SPACING, register="none"))
    assert line["transform"] == np.eye(4).tolist()
    assert not any("registered" in said for said in line["fixups"])
    (line,), _ = opened(prepare.prepare(root, tmp_path / "out", SPACING, register="affine"))
    assert any("registered (affine" in said and "volumes in ml stay" in said for said in line["fixups"])
    with pytest.raises(MedFuseError, match="--register=maybe: unknown: choose one of auto, rigid, affine, none"):
        prepare.prepare(root, tmp_path / "out", SPACING, register="maybe")


@pytest.mark.parametrize("spacing", [-1.0, 0.5, 3.0, 99.0, float("nan")])
def test_only_grids_that_train_are_prepared(tmp_path, spacing):
    with pytest.raises(MedFuseError, match=r"choose one of 8 \(tiny\), 4 \(local\), 2 \(gpu\), 1 \(pod\) mm"):
        prepare.prepare(tmp_path, tmp_path / "out", spacing)


@pytest.mark.parametrize("spacing, out, why", [(8.0, "tree/out", "inside the source"),
                                               (8.0, "full", "no prepared folder"), (8.0, "ok", "none of 1 studies")])
def test_refusals_write_nothing(tmp_path, spacing, out, why):
    (tmp_path / "tree/sub-01/anat").mkdir(parents=True)
    (tmp_path / "tree/sub-01/anat/sub-01_FLAIR.nii.gz").write_bytes(b"no")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MedFuseError, match=why):
        prepare.prepare(tmp_path / "tree", tmp_path / out, spacing)
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_like_a_brain_is_refused():
    noise = np.random.default_rng(0).normal(size=FINE.shape).astype(np.float32)
    with pytest.raises(MedFuseError, match="no brain was found"):
        brain.estimate(nifti.Scan(noise, FINE.affine, [], "a.nii"))


@pytest.mark.parametrize("source, code, told", [("tree", 0, "1 studies prepared"), ("nowhere", 2, "no such folder")])
def test_the_command(root, tmp_path, source, code, told):
    tree(tmp_path / "tree", people=1)
    flags = [f"--source={tmp_path / source}", f"--out={tmp_path / 'out'}", "--spacing=8", "--register=none"]
    ran = subprocess.run([sys.executable, "launch/prepare.py", *flags], cwd=root, capture_output=True, text=True,
                         env=os.environ | {"PYTHONPATH": str(root)})
    assert ran.returncode == code and told in ran.stderr and "Traceback" not in ran.stderr
    assert prepare.is_prepared(tmp_path / "out") == (code == 0) and (code == 0 or ran.stderr.count("\n") == 1)


def test_the_command_that_is_printed_works(root, tmp_path):
    """Accents and spaces included; the preset is that of the grid."""
    source, out = tree(tmp_path / "arbre d'été", people=3), tmp_path / "dossier préparé"
    known = os.environ | {"PYTHONPATH": str(root), "XLA_FLAGS": ""}
    flags = [f"--source={source}", f"--out={out}", "--spacing=8", "--register=none"]
    ran = subprocess.run([sys.executable, "launch/prepare.py", *flags],
                         cwd=root, capture_output=True, text=True, env=known)
    told = shlex.split(ran.stderr.splitlines()[-1].partition("next: ")[2])
    assert told[:3] == [sys.executable, "launch/train.py", "--config=configs/autoencoder.py:tiny"]
    assert told[3:] == ["--workdir=runs-dossier préparé", f"--config.data.source={out}"]
    (tmp_path / "configs").symlink_to(root / "configs")
    ran = subprocess.run([sys.executable, root / told[1], *told[2:]], cwd=tmp_path, capture_output=True, text=True,
                         env=known)
    assert ran.returncode == 0, ran.stderr
    told = json.loads((tmp_path / "runs-dossier préparé/autoencoder/summary.json").read_text())["data"]
    assert told["valid_is_train"] is False and told["studies"] == 3
    assert "a batch of 2 holds some of the 1 training studies more than once: give --config.batch=1" in ran.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_preparation_goes_on_where_it_was(root, tmp_path, number):
    """The same command makes the same bytes as one that was never stopped, and makes nothing twice."""
    source, out = tree(tmp_path / "tree", people=6), tmp_path / "new/out"
    (source / "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz").write_bytes(b"no")
    command = [sys.executable, "launch/prepare.py", f"--source={source}", f"--out={out}", "--spacing=4",
               "--register=none"]
    known = os.environ | {"PYTHONPATH": str(root)}
    ran = subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=known)
    journal = None
    while journal is None or len(journal.read_text().splitlines()) < 3:
        assert ran.poll() is None, ran.stderr.read()
        journal = next(out.parent.glob(".out.*.draft/journal.jsonl"), None)
        time.sleep(0.02)
    ran.send_signal(number)
    told, said = ran.communicate(timeout=60)
    assert "Traceback" not in said and not out.exists()
    assert number == signal.SIGKILL or ran.returncode == 128 + number and told.startswith("go on with: ")
    finished = len(journal.read_text().splitlines())
    stamp = next(journal.parent.glob("provenance/sub-01*")).stat().st_mtime_ns
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, env=known)
    assert ran.returncode == 0 and f"{finished} of 6 studies are finished already" in ran.stderr, ran.stderr
    assert next(out.glob("provenance/sub-01*")).stat().st_mtime_ns == stamp
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"]
    whole = prepare.prepare(source, tmp_path / "whole", 4.0)
    for name in ("volumes.npy", "lesions.npy", "structures.npy", "studies.jsonl", "rejected.tsv", "prepared.json"):
        assert (whole / name).read_bytes() == (out / name).read_bytes(), name


def test_a_draft_goes_on_only_with_what_is_still_the_same(tmp_path, monkeypatch):
    """Stopped at the fourth study; then the second one is mended: it and what follows are made again."""
    source, made, limit = tree(tmp_path / "tree", people=4), [], 3
    example = prepare.Making.example

    def until(making, study):
        if len(made) == limit:
            raise KeyboardInterrupt
        made.append(study.person)
        return example(making, study)

    monkeypatch.setattr(prepare.Making, "example", until)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(source, tmp_path / "out", SPACING)
    limit = None
    made.clear()
    path = source / "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz"
    write_volume(path, phantom(9), nifti.read_volume(path).affine)
    (tmp_path / ".out.0123.draft").mkdir()                             # another key's, that nobody fills
    out = prepare.prepare(source, tmp_path / "out", SPACING)
    assert made == ["sub-02", "sub-03", "sub-04"] and [line["person"] for line in opened(out)[0]] == [
        "sub-01", "sub-02", "sub-03", "sub-04"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tree"]


def test_two_at_once_do_not_fill_one_folder(tmp_path):
    with kept_folder(tmp_path / "out", "key") as draft:
        (draft / JOURNAL).write_text("")
        with pytest.raises(MedFuseError, match="another process is making it"), kept_folder(tmp_path / "out", "key"):
            pass
        assert draft.exists()


@pytest.mark.parametrize("spoil", [lambda content: content[:20], lambda content: content[:-5000], lambda content: b""])
def test_a_draft_whose_arrays_were_cut_short_is_believed_as_far_as_it_goes(tmp_path, monkeypatch, spoil):
    source = tree(tmp_path / "tree", people=3)
    whole = prepare.prepare(source, tmp_path / "whole", SPACING)
    stop_at(monkeypatch, lambda study: study.person == "sub-03")
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(source, tmp_path / "out", SPACING)
    monkeypatch.undo()
    array = next(tmp_path.glob(".out.*.draft/volumes.npy"))
    array.write_bytes(spoil(array.read_bytes()))
    out = prepare.prepare(source, tmp_path / "out", SPACING)
    for name in ("volumes.npy", "structures.npy", "studies.jsonl"):
        assert (whole / name).read_bytes() == (out / name).read_bytes()


def test_a_lesion_mask_that_covers_a_part_of_the_brain_is_refused(tmp_path):
    root = tree(tmp_path / "bids", people=2)
    affine = FINE.affine
    path = next((root / "derivatives").rglob("sub-01*label-lesion_mask.nii.gz"))
    write_volume(path, LESION[:, :, :30], affine)                    # what lies above is not in its grid
    write_volume(next((root / "derivatives").rglob("sub-02*label-lesion_mask.nii.gz")), LESION, affine)
    prepare.prepare(root, tmp_path / "prepared", SPACING, register="none")
    lines, _ = opened(tmp_path / "prepared")
    rejected = (tmp_path / "prepared" / "rejected.tsv").read_text()
    assert [line["person"] for line in lines] == ["sub-02"] and "% of the brain" in rejected and "sub-01" in rejected
