"""From a tree to a prepared folder: grids, intensities, labels, splits, and a batch that goes on past a bad study."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medfuse_jax.data import MedFuseError, brain, grid, labels, nifti, prepare, prepared, write_volume

SPACING = 8.0
FINE = grid.Grid((48, 56, 48), grid.standard(4.0).affine)
X, Y, Z = np.tensordot(FINE.affine[:3, :3], np.indices(FINE.shape), axes=1) + FINE.affine[:3, 3, None, None, None]
BRAIN = (X / 66) ** 2 + ((Y + 20) / 82) ** 2 + ((Z - 10) / 62) ** 2 < 1                # about 1.4 l
LESION = (np.abs(X - 26) < 6) & (np.abs(Y - 20) < 6) & (np.abs(Z - 30) < 6)              # right, front, high


def phantom(seed: int = 0) -> np.ndarray:
    """A skull-stripped head: brighter to the front, bright in the lesion."""
    noise = np.random.default_rng(seed).normal(0, 2, BRAIN.shape)
    return np.where(BRAIN, 300 + Y + 200 * LESION + noise, 0).astype(np.float32)


def structures() -> np.ndarray:
    left, right = BRAIN & (X < 0), BRAIN & (X >= 0)
    made = 3 * left + 42 * right
    made[(np.abs(X + 14) < 8) & (np.abs(Y + 18) < 12) & (np.abs(Z - 6) < 8)] = 10
    made[(np.abs(X - 14) < 8) & (np.abs(Y + 18) < 12) & (np.abs(Z - 6) < 8)] = 49
    return made


def tree(root: Path, people: int = 4, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Path:
    """A small BIDS tree of phantoms, each stored in another orientation than RAS."""
    affine = FINE.affine.copy()
    affine[:3, 3] += shift
    flipped = affine @ np.array([[-1, 0, 0, 47], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    for person in range(1, people + 1):
        place = f"sub-{person:02d}/ses-01/anat/sub-{person:02d}_ses-01_"
        for contrast in ("FLAIR", "T1w"):
            write_volume(root / f"{place}{contrast}.nii.gz", phantom(person)[::-1], flipped)
        write_volume(root / f"derivatives/truth/{place}label-lesion_mask.nii.gz", LESION, affine)
        write_volume(root / f"derivatives/truth/{place}dseg.nii.gz", structures(), affine)
    rows = "".join(f"sub-{person:02d}\t{40 + person}\tF\tRR\n" for person in range(1, people + 1))
    (root / "participants.tsv").write_text("participant_id\tage\tsex\tms_type\n" + rows)
    return root


def opened(folder: Path) -> tuple[list[dict], dict[str, np.ndarray]]:
    lines = [json.loads(line) for line in (folder / "studies.jsonl").read_text().splitlines()]
    names = "volumes", "structures", "lesions"
    return lines, {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepare")
    return prepare.prepare(tree(folder / "tree"), folder / "out", SPACING, jobs=2)


def test_a_prepared_folder_is_whole(made):
    told = json.loads((made / "prepared.json").read_text())
    assert prepare.is_prepared(made) and not prepare.is_prepared(made.parent / "tree")
    assert told["shape"] == [24, 28, 24] and told["spacing"] == 8.0 and told["format"] == 1 and told["source"] == "tree"
    assert told["contrasts"] == list(labels.CONTRASTS) and told["structures"] == list(labels.NAMES)
    lines, arrays = opened(made)
    assert {name: (array.shape, array.dtype.name) for name, array in arrays.items()} == {
        "volumes": ((4, 24, 28, 24, 4), "float16"), "structures": ((4, 24, 28, 24), "uint8"),
        "lesions": ((4, 24, 28, 24), "uint8")}
    assert sorted(path.name for path in made.iterdir()) == [
        "lesions.npy", "prepared.json", "rejected.tsv", "structures.npy", "studies.jsonl", "volumes.npy"]
    assert sorted(line["split"] for line in lines) == ["test", "train", "train", "valid"]
    one = lines[0]
    told = {name: one[name] for name in ("study", "age", "sex", "phenotype", "findings")}
    assert told == dict(study="sub-01_ses-01", age=41, sex="F", phenotype="RRMS", findings=None)
    assert one["present"] == [1, 1, 0, 0] and one["structures_known"] and one["lesions_known"]


def test_front_is_high_h_and_right_is_high_w(made):
    _, arrays = opened(made)
    flair, lesion = np.asarray(arrays["volumes"][0, ..., 0], np.float32), arrays["lesions"][0] / 255.0
    inside = flair > 0
    assert flair[:, 18:][inside[:, 18:]].mean() > 1.05 * flair[:, :10][inside[:, :10]].mean()
    d, h, w = (lesion * np.indices(lesion.shape)).sum((1, 2, 3)) / lesion.sum()
    mm = grid.standard(SPACING).affine @ [w, h, d, 1]
    np.testing.assert_allclose(mm[:3], [26, 20, 30], atol=1.0)
    assert flair[lesion > 0.5].mean() > 1.2


def test_intensities_labels_and_volumes(made):
    _, arrays = opened(made)
    volume = np.asarray(arrays["volumes"][1], np.float32)
    classes, lesions = arrays["structures"][1], arrays["lesions"][1]
    brain_voxels = volume[..., 0] > 0
    np.testing.assert_allclose(np.median(volume[brain_voxels][:, :2], axis=0), 1, atol=1e-3)
    assert not volume[..., 2:].any() and volume.max() <= 4
    assert lesions.sum() / 255 * SPACING**3 == pytest.approx(LESION.sum() * 64, rel=0.01)
    thalamus = np.argwhere(classes == labels.CLASS["thalamus_left"])
    assert len(thalamus) and (thalamus[:, 2] < 12).all()
    assert np.count_nonzero(classes) * SPACING**3 == pytest.approx(BRAIN.sum() * 64, rel=0.03)


def test_the_same_source_gives_the_same_bytes(made, tmp_path):
    again = prepare.prepare(made.parent / "tree", tmp_path / "again", SPACING)
    for name in ("volumes.npy", "lesions.npy", "structures.npy", "studies.jsonl"):
        assert (again / name).read_bytes() == (made / name).read_bytes()


def test_a_brain_elsewhere_is_moved_and_can_go_back(tmp_path):
    root = tree(tmp_path / "tree", people=1, shift=(30.0, -40.0, 16.0))
    scans = {"FLAIR": nifti.read_volume(root / "sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz")}
    volume, present, placed = prepare.to_grid(scans, 4.0)
    assert any("moved by" in line for line in placed.fixups) and list(present) == [1, 0, 0, 0]
    np.testing.assert_allclose(placed.transform[:3, 3], [-30, 40, -16], atol=3)
    back = placed.back(volume[..., 0] * placed.medians["FLAIR"], scans["FLAIR"])
    inner = ndimage.binary_erosion(BRAIN, iterations=3)
    assert np.median(np.abs(back - scans["FLAIR"].array)[inner]) < 3


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


def test_foreign_label_numbers_are_not_believed(tmp_path):
    root = tree(tmp_path / "tree", people=1)
    write_volume(root / "derivatives/truth/sub-01/ses-01/anat/sub-01_ses-01_dseg.nii.gz", 1 + BRAIN, FINE.affine)
    lines, arrays = opened(prepare.prepare(root, tmp_path / "out", SPACING))
    assert not lines[0]["structures_known"] and not arrays["structures"][0].any() and lines[0]["split"] == "train"
    assert any("FreeSurfer" in line for line in lines[0]["fixups"])


@pytest.mark.parametrize("spacing, out, why", [(8.0, "tree/out", "inside the source"),
                                               (8.0, "full", "no prepared folder"),
                                               (99.0, "out", "spacing 99"), (8.0, "ok", "none of 1 studies")])
def test_refusals_write_nothing(tmp_path, spacing, out, why):
    (tmp_path / "tree/sub-01/anat").mkdir(parents=True)
    (tmp_path / "tree/sub-01/anat/sub-01_FLAIR.nii.gz").write_bytes(b"no")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MedFuseError, match=why):
        prepare.prepare(tmp_path / "tree", tmp_path / out, spacing)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_head_with_its_skull():
    """Scalp and skull around the brain: the rough estimate overlaps the brain well and is said to be rough."""
    radius = np.sqrt((X / 66) ** 2 + ((Y + 20) / 82) ** 2 + ((Z - 10) / 62) ** 2)
    head = np.select([BRAIN, radius < 1.16, radius < 1.28], [300.0, 40.0, 500.0], 5.0)
    head += np.random.default_rng(0).normal(0, 5, head.shape)
    found, said = brain.estimate(nifti.Scan(head.astype(np.float32), FINE.affine, [], "head.nii"))
    assert "rough" in said and 2 * (found & BRAIN).sum() / (found.sum() + BRAIN.sum()) > 0.9


def test_nothing_like_a_brain_is_refused():
    noise = np.random.default_rng(0).normal(size=FINE.shape).astype(np.float32)
    with pytest.raises(MedFuseError, match="no brain was found"):
        brain.estimate(nifti.Scan(noise, FINE.affine, [], "a.nii"))


def test_normalise():
    array, mask = np.array([[[2.0, 4.0, 100.0, 8.0]]]), np.array([[[True, True, True, False]]])
    np.testing.assert_array_equal(prepare.normalise(array, mask), [[[0.5, 1.0, 4.0, 0.0]]])
    with pytest.raises(MedFuseError, match="median"):
        prepare.normalise(0 * array, mask)


@pytest.mark.parametrize("people, expected", [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (20, (16, 2, 2)),
                                              (100, (80, 10, 10))])
def test_splits(people, expected):
    chosen = prepared.splits([f"sub-{n}" for n in range(people)], 0)
    assert tuple(list(chosen.values()).count(name) for name in ("train", "valid", "test")) == expected
    assert chosen == prepared.splits([f"sub-{n}" for n in reversed(range(people))], 0)


@pytest.mark.parametrize("source, code, told", [("tree", 0, "1 studies prepared"), ("nowhere", 2, "no such folder")])
def test_the_command(root, tmp_path, source, code, told):
    tree(tmp_path / "tree", people=1)
    flags = [f"--source={tmp_path / source}", f"--out={tmp_path / 'out'}", "--spacing=8"]
    ran = subprocess.run([sys.executable, "launch/prepare.py", *flags], cwd=root, capture_output=True, text=True,
                         env=os.environ | {"PYTHONPATH": str(root)})
    assert ran.returncode == code and told in ran.stderr and "Traceback" not in ran.stderr
    assert prepare.is_prepared(tmp_path / "out") == (code == 0) and (code == 0 or ran.stderr.count("\n") == 1)


def test_real_scans(shared, tmp_path):
    lines, arrays = opened(prepare.prepare(shared / "data/open_ms", tmp_path / "out", 4.0, jobs=2))
    assert [line["present"] for line in lines] == [[1, 1, 1, 1]] * 2 + [[1, 1, 1, 0]] * 2
    for row, ml in ((0, 1.3), (1, 49.769)):                          # the table's own volumes
        lesion, flair = arrays["lesions"][row] / 255.0, np.asarray(arrays["volumes"][row, ..., 0], np.float32)
        assert lesion.sum() * 0.064 == pytest.approx(ml, rel=0.02)
        assert flair[lesion > 0.5].mean() > 1.2                      # lesions are bright in FLAIR
