"""From a tree to a prepared folder: grids, intensities, labels, findings and splits."""

import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from phantom import BRAIN, FINE, LESION, SPACING, X, Y, Z, opened, structures, tree
from scipy import ndimage

from medfuse_jax.data import MedFuseError, brain, grid, labels, nifti, poses, prepare, prepared, write_volume
from medfuse_jax.data.findings import Findings
from medfuse_jax.data.language import report
from medfuse_jax.data.resampling import resample


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
        "lesions.npy", "prepared.json", "provenance", "quality", "rejected.tsv", "structures.npy", "studies.jsonl",
        "volumes.npy"]
    assert sorted(line["split"] for line in lines) == ["test", "train", "train", "valid"]
    one = lines[0]
    told = {name: one[name] for name in ("study", "age", "sex", "phenotype")}
    assert told == dict(study="sub-01_ses-01", age=41, sex="F", phenotype="RRMS")
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


def test_each_study_has_a_record_and_a_picture(made):
    lines, _ = opened(made)
    for line in lines:
        told = json.loads((made / f"provenance/{line['study']}.json").read_text())
        assert told["fixups"] == line["fixups"] and told["medians"] == line["medians"] and told["seconds"] >= 0
        assert told["brain_mask"]["origin"].startswith("what a label map names") and told["code_version"]
        assert told["registration"]["asked"] == "auto" and told["registration"]["done"] == "none"
        assert 0 < told["registration"]["similarity"]["before"] <= 1
        assert len(told["files"]) == 4 and not any(name.startswith("/") for name in told["files"])
        path = f"sub-{line['person'][4:]}/ses-01/anat/{line['study']}_FLAIR.nii.gz"
        digest = hashlib.sha256((made.parent / "tree" / path).read_bytes()).hexdigest()
        assert told["files"][path]["sha256"] == digest
        picture = (made / f"quality/{line['study']}.png").read_bytes()
        assert picture.startswith(b"\x89PNG") and 10_000 < len(picture) < 1_000_000


def test_a_brain_elsewhere_is_moved_and_can_go_back(tmp_path):
    root = tree(tmp_path / "tree", people=1, shift=(30.0, -40.0, 16.0))
    scans = {"FLAIR": nifti.read_volume(root / "sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz")}
    volume, present, placed = prepare.to_grid(scans, 4.0)
    assert any("registered (rigid" in line for line in placed.fixups) and list(present) == [1, 0, 0, 0]
    move = placed.transform[:3] @ [30, -60, 26, 1]                    # the centre; an ellipsoid does not say its turn
    np.testing.assert_allclose(move, [0, -20, 10], atol=6)
    back = placed.back(volume[..., 0] * placed.medians["FLAIR"], scans["FLAIR"])
    inner = ndimage.binary_erosion(BRAIN, iterations=3)
    assert np.median(np.abs(back - scans["FLAIR"].array)[inner]) < 3


def stored(path, array, affine, **header):
    """A NIfTI as scanners and converters write them."""
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    for name, value in header.items():
        image.header[name] = value
    path.unlink()
    nibabel.save(image, path)


def as_int16(path, array, affine):
    image = nibabel.Nifti1Image(np.rint(array / 0.25).astype(np.int16), affine)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(0.25, 0.0)
    path.unlink()
    nibabel.save(image, path)


def in_slices(path, array, affine):
    """2D: fine in the plane, 5 mm apart, sagittal, and tilted by 12 degrees against the patient."""
    turn = np.eye(4)
    turn[:3, :3] = poses.turn(*np.radians([12.0, 0, 5.0]))
    place = np.eye(4)
    place[:3, 3] = [-95.0, -135.0, -85.0]
    scanner = grid.Grid((38, 120, 95), turn @ place @ np.diag([5.0, 2, 2, 1]))
    turned = np.transpose(resample(array, affine, scanner), (1, 2, 0))[::-1]
    axes = np.array([[0, 0, 1, 0], [-1, 0, 0, 119], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    stored(path, turned.astype(np.float32), scanner.affine @ axes)


FORMS = {
    "4D with one volume": lambda path, array, affine: stored(path, array[..., None], affine),
    "int16 with a slope": as_int16,
    "thick oblique slices": in_slices,
    "another orientation": lambda path, array, affine: stored(
        path, np.transpose(array, (2, 0, 1))[:, ::-1], affine @ np.array(
            [[0, -1.0, 0, 47], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])),
    "twice as bright": lambda path, array, affine: stored(path, 2 * array, affine),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_a_scan_come_to_the_same(made, tmp_path, form):
    root = tree(tmp_path / "tree", people=1)
    for path in (root / "sub-01/ses-01/anat").glob("*.nii.gz"):
        scan = nifti.read_volume(path)
        FORMS[form](path, scan.array, scan.affine)
    ((line,), arrays) = opened(prepare.prepare(root, tmp_path / "out", SPACING))
    plain = np.asarray(opened(made)[1]["volumes"][0], np.float32)
    here, core = np.asarray(arrays["volumes"][0], np.float32), plain[..., 0] > 0
    core = ndimage.binary_erosion(core)
    assert np.abs(here - plain)[core].mean() < (0.03 if form == "thick oblique slices" else 0.005)
    assert line["findings"]["lesion_volume_ml"] == pytest.approx(LESION.sum() * 0.064)


def test_foreign_label_numbers_are_not_believed(tmp_path):
    root = tree(tmp_path / "tree", people=1)
    write_volume(root / "derivatives/truth/sub-01/ses-01/anat/sub-01_ses-01_dseg.nii.gz", 1 + BRAIN, FINE.affine)
    lines, arrays = opened(prepare.prepare(root, tmp_path / "out", SPACING))
    assert not lines[0]["structures_known"] and not arrays["structures"][0].any() and lines[0]["split"] == "train"
    assert any("FreeSurfer" in line for line in lines[0]["fixups"])


def test_parts_that_freesurfer_names_finer_are_known(tmp_path):
    root = tree(tmp_path / "tree", people=1)
    fine = structures()
    fine[(fine == 3) & (fine.cumsum().reshape(fine.shape) % 2 == 0)] = 1024          # precentral gyrus of aparc
    fine[fine == 42] = 2024
    fine[5, 5, 5] = 999
    write_volume(root / "derivatives/truth/sub-01/ses-01/anat/sub-01_ses-01_dseg.nii.gz", fine, FINE.affine)
    ((line,), arrays) = opened(prepare.prepare(root, tmp_path / "out", SPACING))
    plain = opened(prepare.prepare(tree(tmp_path / "plain", people=1), tmp_path / "plain-out", SPACING))[1]
    assert line["structures_known"] and np.array_equal(arrays["structures"], plain["structures"])
    assert any("numbers 999 are not known here" in told for told in line["fixups"])


def test_skull_and_scalp_of_a_label_map_are_no_brain(tmp_path):
    root = tree(tmp_path / "tree", people=1)
    head = structures()
    wide = ndimage.binary_dilation(BRAIN, iterations=5)
    head[wide & ~BRAIN] = 165
    head[ndimage.binary_dilation(wide, iterations=2) & ~wide] = 258
    write_volume(root / "derivatives/truth/sub-01/ses-01/anat/sub-01_ses-01_dseg.nii.gz", head, FINE.affine)
    out = prepare.prepare(root, tmp_path / "out", SPACING, register="none")
    told = json.loads((out / "provenance/sub-01_ses-01.json").read_text())["brain_mask"]
    assert told["origin"].startswith("what a label map names") and (head > 0).sum() * 0.064 > 2300
    assert told["volume_ml"] == pytest.approx(BRAIN.sum() * 0.064, rel=0.03)


@pytest.mark.parametrize("known, missing", [(("dseg", "label-lesion_mask"), ()), (("dseg",), ("lesions",)),
                                            (("label-lesion_mask",), ("structures",)), ((), None)])
def test_findings_are_measured_on_the_masks_that_are_there(tmp_path, known, missing):
    root = tree(tmp_path / "tree", people=1)
    for mask in (root / "derivatives/truth").rglob("*.nii.gz"):
        if not any(name in mask.name for name in known):
            mask.unlink()
    ((line,), _) = opened(prepare.prepare(root, tmp_path / "out", SPACING))
    if missing is None:
        assert line["findings"] is None
        return
    told = Findings.from_json(line["findings"])
    assert told.not_assessed[2:] == ("spinal_cord", "optic_nerve", *missing) and told.whole == (not missing)
    assert (told.age, told.phenotype, told.contrasts, told.spacing_mm) == (41, "RRMS", ("FLAIR", "T1w"), (4, 4, 4))
    lesions = (1, pytest.approx(LESION.sum() * 0.064)) if "lesions" not in missing else (None, None)
    assert (told.lesion_count, told.lesion_volume_ml) == lesions
    if missing:
        assert told.lesions_by_region == {} and told.dissemination_in_space is None
    else:
        assert told.lesions_by_region["cortical"].count == 1 and told.dissemination_in_space is False
    head = None if "structures" in missing else pytest.approx(BRAIN.sum() * 0.064)
    assert told.intracranial_volume_ml == head and bool(told.deviation_percent) == (head is not None)


@pytest.mark.parametrize("dates, years", [("", (None, None)), ("ses-01\t2020-01-01\nses-02\t2021-01-01\n", (0, 1.0))])
def test_a_later_visit_is_measured_alone_and_its_report_says_so(tmp_path, dates, years):
    root = tree(tmp_path / "tree", people=1)
    for path in list(root.rglob("*_ses-01_*")):
        later = Path(str(path).replace("ses-01", "ses-02"))
        later.parent.mkdir(parents=True, exist_ok=True)
        later.write_bytes(path.read_bytes())
    if dates:
        (root / "sub-01/sub-01_sessions.tsv").write_text("session_id\tacq_time\n" + dates)
    lines, _ = opened(prepare.prepare(root, tmp_path / "out", SPACING, register="none"))
    found = [Findings.from_json(line["findings"]) for line in lines]
    assert [each.date_years for each in found] == [pytest.approx(when, abs=0.01) for when in years]
    assert [each.change for each in found] == [None, None]
    assert "not compared with an earlier visit." in report(found[1], "en")
    assert ("no earlier visit" in report(found[0], "en")) == bool(dates)


def test_masks_on_two_grids_are_compared_by_world_position(tmp_path):
    root = tree(tmp_path / "tree", people=1)
    place = next((root / "derivatives").rglob("*_mask.nii.gz"))
    fine = np.diag([0.5, 0.5, 0.5, 1.0])
    fine[:3, 3] = -0.25
    write_volume(place, LESION.repeat(2, 0).repeat(2, 1).repeat(2, 2), FINE.affine @ fine)
    ((line,), _) = opened(prepare.prepare(root, tmp_path / "out", SPACING))
    assert line["findings"]["lesion_volume_ml"] == pytest.approx(LESION.sum() * 0.064)
    assert any("two grids" in said for said in line["fixups"])


def test_a_head_with_its_skull():
    """Scalp and skull around the brain: the estimate overlaps the brain well and is said to be rough."""
    radius = np.sqrt((X / 66) ** 2 + ((Y + 20) / 82) ** 2 + ((Z - 10) / 62) ** 2)
    head = np.select([BRAIN, radius < 1.16, radius < 1.28], [300.0, 40.0, 500.0], 5.0)
    head += np.random.default_rng(0).normal(0, 5, head.shape)
    found, said = brain.estimate(nifti.Scan(head.astype(np.float32), FINE.affine, [], "head.nii"))
    assert "rough" in said and 2 * (found & BRAIN).sum() / (found.sum() + BRAIN.sum()) > 0.88


def test_normalise():
    array, mask = np.array([[[2.0, 4.0, 100.0, 8.0]]]), np.array([[[True, True, True, False]]])
    assert prepare.brain_median(array, mask) == 4.0
    np.testing.assert_array_equal(prepare.normalise(array, mask, 4.0), [[[0.5, 1.0, 4.0, 0.0]]])
    with pytest.raises(MedFuseError, match="x.nii: half of the brain is not brighter than 0"):
        prepare.brain_median(0 * array, mask, "x.nii")


@pytest.mark.parametrize("people, expected", [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (20, (16, 2, 2)),
                                              (100, (80, 10, 10))])
def test_splits(people, expected):
    chosen = prepared.splits([f"sub-{n}" for n in range(people)], 0)
    assert tuple(list(chosen.values()).count(name) for name in ("train", "valid", "test")) == expected
    assert chosen == prepared.splits([f"sub-{n}" for n in reversed(range(people))], 0)


def test_real_scans(shared, tmp_path):
    lines, arrays = opened(prepare.prepare(shared / "data/open_ms", tmp_path / "out", 4.0, jobs=2))
    assert [line["present"] for line in lines] == [[1, 1, 1, 1]] * 2 + [[1, 1, 1, 0]] * 2
    for row, ml in ((0, 1.3), (1, 49.769)):                          # the table's own volumes
        lesion, flair = arrays["lesions"][row] / 255.0, np.asarray(arrays["volumes"][row, ..., 0], np.float32)
        assert lesion.sum() * 0.064 == pytest.approx(ml, rel=0.02)
        assert flair[lesion > 0.5].mean() > 1.2                      # lesions are bright in FLAIR
        assert lines[row]["findings"]["lesion_volume_ml"] == pytest.approx(ml, rel=0.01)
    assert [line["findings"] and line["findings"]["lesion_count"] for line in lines] == [30, 87, None, None]
