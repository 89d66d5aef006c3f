"""Scans: what is damaged is refused in one line, what is odd is put right and said, what is written comes back."""

import gzip
import itertools
import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel import orientations
from spoilt import AFFINE, ARRAY, RANDOM, damaged, patched, saved, some, written

from medfuse_jax.data import MedFuseError, nifti, read_mask, read_volume, write_volume

SHEAR = AFFINE @ np.array([[1, 0.4, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
BROKEN = {
    "no such file": (lambda p: p / "a.nii.gz", "no such file"),
    "a folder": (lambda p: p, "a folder"),
    "DICOM by name": (lambda p: written(p / "a.dcm", b"x"), "dcm2niix"),
    "DICOM inside": (lambda p: written(p / "a.nii", b"\0" * 128 + b"DICM" + b"\0" * 600), "dcm2niix"),
    "FreeSurfer": (lambda p: written(p / "a.mgz", b"x"), "mri_convert"),
    "empty file": (lambda p: written(p / "a.nii", b""), "empty file"),
    "text": (lambda p: written(p / "a.nii", b"hello" * 200), "not a NIfTI file"),
    "short": (lambda p: written(p / "a.nii", b"\x5c\x01\0\0" * 10), "shorter than a NIfTI header"),
    "half a header": (lambda p: written(p / "a.nii.gz", saved(p / "b.nii.gz").read_bytes()[:60]), "gzip"),
    "truncated": (lambda p: written(p / "a.nii", saved(p / "b.nii").read_bytes()[:-50]), "cut short"),
    "truncated gz": (lambda p: written(p / "a.nii.gz", saved(p / "b.nii.gz").read_bytes()[:-50]), "gzip"),
    "bad checksum": (lambda p: damaged(p / "a.nii.gz", -7), "gzip"),
    "flipped bit": (lambda p: damaged(p / "a.nii.gz", 3000, 1), "gzip"),
    "Analyze": (lambda p: patched(p / "a.nii", 344, "4s", b"\0\0\0\0"), "signature"),
    "pair": (lambda p: patched(p / "a.nii", 344, "4s", b"ni1\0"), "another file"),
    "zero dimension": (lambda p: patched(p / "a.nii", 42, "<h", 0), "claims the size"),
    "negative dimension": (lambda p: patched(p / "a.nii", 42, "<h", -5), "claims the size"),
    "nine dimensions": (lambda p: patched(p / "a.nii", 40, "<h", 9), "9 dimensions"),
    "huge claim": (lambda p: patched(p / "a.nii", 42, "<3h", 32000, 32000, 32000), "32000 x 32000"),
    "larger claim": (lambda p: patched(p / "a.nii", 42, "<h", 90), "cut short"),
    "offset inside the header": (lambda p: patched(p / "a.nii", 108, "<f", 100.0), "byte 100"),
    "offset is NaN": (lambda p: patched(p / "a.nii", 108, "<f", float("nan")), "byte nan"),
    "offset beyond the end": (lambda p: patched(p / "a.nii", 108, "<f", 2.0**20), "cut short"),
    "unknown datatype": (lambda p: patched(p / "a.nii", 70, "<h", 999), "datatype 999"),
    "colour": (lambda p: patched(p / "a.nii", 70, "<h", 128), "colour"),
    "lying bits": (lambda p: patched(p / "a.nii", 72, "<h", 8), "8 bits"),
    "slope is infinite": (lambda p: patched(p / "a.nii", 112, "<f", float("inf")), "not finite"),
    "slice": (lambda p: saved(p / "a.nii", ARRAY[:, :, :1]), "slice"),
    "series": (lambda p: saved(p / "a.nii", np.stack([ARRAY] * 3, -1)), "3 volumes"),
    "two components": (lambda p: saved(p / "a.nii", ARRAY[..., None, None].repeat(2, -1)), "2 volumes"),
    "no orientation": (lambda p: saved(p / "a.nii", sform_code=0, qform_code=0), "neither sform nor qform"),
    "mirrored qform": (lambda p: saved(p / "a.nii", qform_code=1, quatern_c=1, qoffset_x=20), "left and right"),
    "sheared": (lambda p: saved(p / "a.nii", srow_x=SHEAR[0], qform_code=0), "sheared"),
    "singular": (lambda p: saved(p / "a.nii", srow_y=AFFINE[0], qform_code=0), "singular"),
    "affine is NaN": (lambda p: saved(p / "a.nii", srow_x=[np.nan] * 4, qform_code=0), "not finite"),
    "no rotation": (lambda p: saved(p / "a.nii", quatern_b=1, quatern_c=1, sform_code=0), "not a rotation"),
    "far away": (lambda p: saved(p / "a.nii", srow_x=[3, 0, 0, 9e5], qform_code=0), "metres from the origin"),
    "spacing": (lambda p: saved(p / "a.nii", affine=np.diag([30.0, 30, 30, 1])), "voxels of 30 x 30 x 30"),
    "micrometres unsaid": (lambda p: saved(p / "a.nii", affine=np.diag([1e3, 1e3, 1e3, 1])), "1e+03"),
    "too small a field": (lambda p: saved(p / "a.nii", affine=np.eye(4)), "field of view"),
    "too large a field": (lambda p: saved(p / "a.nii", affine=np.diag([15.0, 15, 15, 1]),
                                              dim=[3, 64, 13, 12, 1, 1, 1, 1]), "field of view"),
    "NaN": (lambda p: saved(p / "a.nii", some(np.nan, 0.3)), "NaN or infinite"),
    "infinite": (lambda p: saved(p / "a.nii", some(np.inf, 0.3)), "NaN or infinite"),
    "beyond float32": (lambda p: saved(p / "a.nii", 1e300 * ARRAY.astype(np.float64)), "NaN or infinite"),
    "constant": (lambda p: saved(p / "a.nii", np.ones_like(ARRAY)), "every voxel is 1"),
    "bomb behind the image": (lambda p: written(p / "a.nii.gz", gzip.compress(
        saved(p / "b.nii").read_bytes() + bytes(3 * 2**20))), "end of the gzip data"),
    "bomb in members": (lambda p: written(p / "a.nii.gz", gzip.compress(saved(p / "b.nii").read_bytes())
                                          + 4 * gzip.compress(bytes(2**20))), "more data than its header"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_in_one_line(tmp_path, name):
    make, why = BROKEN[name]
    path = make(tmp_path)
    with pytest.raises(MedFuseError) as told:
        read_volume(path)
    line = str(told.value)
    assert why in line and "\n" not in line and ":" in line.removeprefix(str(path))
    assert line.startswith(str(path))


ODD = {
    "one volume of a series": (lambda p: saved(p / "a.nii", ARRAY[..., None]), "4 dimensions"),
    "five dimensions": (lambda p: saved(p / "a.nii", ARRAY[..., None, None]), "5 dimensions"),
    "micrometres": (lambda p: _in_units(p, 1e3, 3), "micrometres"),
    "metres": (lambda p: _in_units(p, 1e-3, 1), "metres"),
    "no units": (lambda p: saved(p / "a.nii", xyzt_units=0), "not stated"),
    "gz by content": (lambda p: written(p / "a.nii", gzip.compress(saved(p / "b.nii").read_bytes())), "in spite"),
    "plain by content": (lambda p: written(p / "a.nii.gz", saved(p / "b.nii").read_bytes()), "not compressed"),
    "trailing bytes": (lambda p: written(p / "a.nii", saved(p / "b.nii").read_bytes() + b"xyz"), "3 bytes after"),
    "stale qform": (lambda p: saved(p / "a.nii", qoffset_x=-26), "disagree by 6.0 mm"),
    "wrong pixdim": (lambda p: saved(p / "a.nii", pixdim=[1, 1, 1, 1, 0, 0, 0, 0], qform_code=0), "pixdim"),
}


def _in_units(folder: Path, factor: float, code: int) -> Path:
    affine = AFFINE.copy()
    affine[:3] *= factor
    return saved(folder / "a.nii", affine=affine, xyzt_units=code)


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_put_right_and_said(tmp_path, name):
    make, told = ODD[name]
    scan = read_volume(make(tmp_path))
    assert [line for line in scan.fixups if told in line] and len(scan.fixups) == 1
    np.testing.assert_allclose(scan.affine, AFFINE, rtol=1e-5)
    np.testing.assert_array_equal(scan.array, ARRAY)


def test_a_clean_file_needs_no_fixup(tmp_path):
    assert read_volume(saved(tmp_path / "a.nii.gz")).fixups == []


def test_few_voxels_that_are_not_finite_become_zero(tmp_path):
    scan = read_volume(saved(tmp_path / "a.nii", some(np.nan, 0.005)))
    assert np.isfinite(scan.array).all() and scan.array.ravel()[0] == 0 and "NaN" in scan.fixups[0]


@pytest.mark.parametrize("turn", list(itertools.product(itertools.permutations(range(3)),
                                                        itertools.product((1, -1), repeat=3))))
def test_all_48_orientations_read_the_same(tmp_path, turn):
    order = np.array(list(zip(*turn, strict=True)), float)
    turned = orientations.apply_orientation(ARRAY, order)
    affine = AFFINE @ orientations.inv_ornt_aff(order, ARRAY.shape)
    scan = read_volume(saved(tmp_path / "a.nii", np.ascontiguousarray(turned), affine))
    np.testing.assert_array_equal(scan.array, ARRAY)
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-4)
    assert len(scan.fixups) == (turn != ((0, 1, 2), (1, 1, 1)))


@pytest.mark.parametrize("kind, slope", [(np.int16, 0.5), (np.uint16, 2.0), (np.uint8, 1.0), (np.float64, 1.0)])
@pytest.mark.parametrize("image", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_stored_numbers_are_scaled(tmp_path, kind, slope, image):
    stored = RANDOM.integers(0, 200, ARRAY.shape).astype(kind)
    made = image(stored, AFFINE, dtype=kind)
    made.header.set_xyzt_units("mm")
    made.header.set_slope_inter(slope, 1.0)
    (tmp_path / "a.nii").write_bytes(made.to_bytes())
    expected = nibabel.load(tmp_path / "a.nii").get_fdata()          # the oracle
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").array, expected, rtol=1e-6)


def test_big_endian(tmp_path):
    image = nibabel.Nifti1Image(ARRAY.astype(">f4"), AFFINE, nibabel.Nifti1Header(endianness=">"))
    image.header.set_xyzt_units("mm")
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").array, ARRAY)


BOMB = r"""
import gzip, re, sys, time
from pathlib import Path
import numpy as np, nibabel
from medfuse_jax.data import MedFuseError, read_volume
path = sys.argv[1]
header = nibabel.Nifti1Header(); header.set_data_shape((512, 512, 256)); header.set_data_dtype(np.float32)
header.set_sform(np.diag([1, 1, 2.0, 1]), 1); header.set_xyzt_units("mm")
header["vox_offset"] = 352; header["magic"] = b"n+1"
with gzip.open(path, "wb", 1) as file:
    file.write(header.binaryblock + bytes(4))
    for _ in range(int(sys.argv[2])): file.write(bytes(2**24))
start = time.process_time()
try: read_volume(path)
except MedFuseError as error: print(error)
seconds = time.process_time() - start
print(seconds, int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
@pytest.mark.parametrize("blocks, why", [(16, "every voxel is 0"), (48, "end of the gzip data")])
def test_a_bomb_costs_neither_time_nor_memory(tmp_path, blocks, why):
    """256 or 768 MiB of zeros in 1 or 3 MiB, where the header claims 256 MiB: at most 512 MiB held, at most 5 s."""
    run = subprocess.run([sys.executable, "-c", BOMB, str(tmp_path / "bomb.nii.gz"), str(blocks)],
                         capture_output=True, text=True, check=True)
    line, cost = run.stdout.splitlines()
    seconds, mebibytes = map(float, cost.split())
    assert why in line and mebibytes < 512 and seconds < 5


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("array", [ARRAY, ARRAY > 100, RANDOM.integers(0, 60, ARRAY.shape), -ARRAY.astype(np.int32)])
def test_what_is_written_comes_back(tmp_path, name, array):
    scan = read_volume(write_volume(tmp_path / name, array, AFFINE, "a scan"))
    np.testing.assert_array_equal(scan.array, array.astype(np.float32))
    np.testing.assert_allclose(scan.affine, AFFINE)
    stored = nibabel.load(tmp_path / name)
    assert stored.header.get_xyzt_units()[0] == "mm" and stored.header["sform_code"] == stored.header["qform_code"] == 1
    assert scan.fixups == [] and list(tmp_path.iterdir()) == [tmp_path / name]


def test_equal_input_gives_equal_bytes(tmp_path):
    one, two = (write_volume(tmp_path / name, ARRAY, AFFINE).read_bytes() for name in ("one.nii.gz", "two.nii.gz"))
    assert one == two


def test_a_synthetic_volume_says_so_and_names_nobody(tmp_path):
    sidecar = {"prompt": "FLAIR", "PatientName": "X", "deep": {"PatientID": 1, "seed": 3}, "AcquisitionDate": "2020"}
    path = write_volume(tmp_path / "a.nii.gz", ARRAY, AFFINE, "sample 0", sidecar, synthetic=True, space="MNI152")
    header = nibabel.load(path).header
    assert header["descrip"].item().decode() == "SYNTHETIC medfuse_jax; sample 0" and header["sform_code"] == 4
    inside = json.loads(bytes(header.extensions[0].get_content()))
    beside = json.loads((tmp_path / "a.json").read_text())
    assert inside == beside
    assert beside == {"synthetic": True, "notice": nifti.NOTICE, "prompt": "FLAIR", "deep": {"seed": 3}}


def test_writing_leaves_nothing_behind_when_it_fails(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MedFuseError, match="cannot be written"):
        write_volume(tmp_path / "file" / "a.nii.gz", ARRAY, AFFINE)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_mask_is_placed_by_position_not_by_index(tmp_path):
    scan = nifti.Scan(ARRAY, AFFINE)
    mask = np.zeros(ARRAY.shape, np.uint8)
    mask[4:8, 5:9, 3:7] = 1
    order = np.array([[1, -1], [2, 1], [0, -1]], float)
    affine = AFFINE @ orientations.inv_ornt_aff(order, mask.shape)
    turned = np.pad(orientations.apply_orientation(mask, order), ((2, 0), (0, 0), (0, 3)))
    affine[:3, 3] -= affine[:3, :3] @ [2, 0, 0]
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "m.nii", turned, affine), scan), mask.astype(bool))


@pytest.mark.parametrize("values, marked", [((0, 0), 0), ((0, 255), 8), ((0.2, 0.7), 8), ((0, 0.5), 8)])
def test_masks_of_all_kinds(tmp_path, values, marked):
    mask = np.full(ARRAY.shape, values[0], np.float32)
    mask[:2, :2, :2] = values[1]
    assert read_mask(saved(tmp_path / "m.nii", mask), nifti.Scan(ARRAY, AFFINE)).sum() == marked


@pytest.mark.parametrize("values, shift, why", [((0, 1, 2), 0, "not a mask"), ((0, -1), 0, "not a mask"),
                                                ((0, 1), 400, "inside")])
def test_what_is_no_mask_of_this_scan_is_refused(tmp_path, values, shift, why):
    mask = RANDOM.choice(values, ARRAY.shape).astype(np.int16)
    affine = AFFINE.copy()
    affine[0, 3] += shift
    with pytest.raises(MedFuseError, match=why):
        read_mask(saved(tmp_path / "m.nii", mask, affine), nifti.Scan(ARRAY, AFFINE))


def test_importing_labels_stays_light():
    code = "import sys, medfuse_jax.data.labels; assert not {'nibabel', 'scipy', 'jax'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
