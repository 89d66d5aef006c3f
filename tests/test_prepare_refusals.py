"""A preparation goes on past a bad study, says what is wrong with it, and refuses what cannot be; and the command."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from phantom import FINE, SPACING, leg, opened, phantom, tree

from medfuse_jax.data import MedFuseError, brain, nifti, prepare, write_volume

FAR = np.array([[2.0, 0, 0, 200], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])


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
     "is it a head"),
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


def test_a_scan_far_from_mni_is_warned_of(tmp_path, caplog):
    root = tree(tmp_path / "tree", people=1, shift=(30.0, -40.0, 16.0))
    for register in (False, True):         # who asks for the move is not warned of it
        caplog.clear()
        prepare.prepare(root, tmp_path / "out", SPACING, register=register)
        assert ("register a tilted head to MNI152 first" in caplog.text) != register


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
    flags = [f"--source={tmp_path / source}", f"--out={tmp_path / 'out'}", "--spacing=8"]
    ran = subprocess.run([sys.executable, "launch/prepare.py", *flags], cwd=root, capture_output=True, text=True,
                         env=os.environ | {"PYTHONPATH": str(root)})
    assert ran.returncode == code and told in ran.stderr and "Traceback" not in ran.stderr
    assert prepare.is_prepared(tmp_path / "out") == (code == 0) and (code == 0 or ran.stderr.count("\n") == 1)


def test_the_command_that_is_printed_works(root, tmp_path):
    """Accents and spaces included; the preset is that of the grid."""
    source, out = tree(tmp_path / "arbre d'été", people=3), tmp_path / "dossier préparé"
    known = os.environ | {"PYTHONPATH": str(root), "XLA_FLAGS": ""}
    ran = subprocess.run([sys.executable, "launch/prepare.py", f"--source={source}", f"--out={out}", "--spacing=8"],
                         cwd=root, capture_output=True, text=True, env=known)
    told = shlex.split(ran.stderr.splitlines()[-1].partition("next: ")[2])
    assert told[:3] == ["python", "launch/train.py", "--config=configs/autoencoder.py:tiny"]
    assert told[3:] == ["--workdir=runs-dossier préparé", f"--config.data.source={out}"]
    (tmp_path / "configs").symlink_to(root / "configs")
    ran = subprocess.run([sys.executable, root / told[1], *told[2:]], cwd=tmp_path, capture_output=True, text=True,
                         env=known)
    assert ran.returncode == 0, ran.stderr
    told = json.loads((tmp_path / "runs-dossier préparé/autoencoder/summary.json").read_text())["data"]
    assert told["valid_is_train"] is False and told["studies"] == 3
    assert "a batch of 2 holds some of the 1 training studies more than once: give --config.batch=1" in ran.stderr


def test_a_stopped_preparation_leaves_nothing(root, tmp_path):
    flags = [f"--source={tree(tmp_path / 'tree', people=30)}", f"--out={tmp_path / 'new/out'}", "--spacing=2"]
    for number in (signal.SIGINT, signal.SIGTERM):
        ran = subprocess.Popen([sys.executable, "launch/prepare.py", *flags], cwd=root, stderr=subprocess.PIPE,
                               text=True, env=os.environ | {"PYTHONPATH": str(root)})
        while "reoriented" not in ran.stderr.readline():
            assert ran.poll() is None
        ran.send_signal(number)
        said = ran.communicate(timeout=60)[1]
        assert ran.returncode == 128 + number and "Traceback" not in said and not list((tmp_path / "new").iterdir())
