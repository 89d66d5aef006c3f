"""A corpus of broken and odd files, made on the spot: volumes, masks and label maps (tables and trees lie beside).

Each is refused in one line that names it and a cure, or read as RAS+, mm, float32, finite, with every fix-up named.
"""

import gzip
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel import Nifti2Image
from spoilt import AFFINE, ARRAY, damaged, patched, saved, some, written

from medfuse_jax.data import MedFuseError, nifti, read_mask, read_volume
from medfuse_jax.data.nifti import read_labels, read_marks

COLOUR = np.zeros(ARRAY.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
CORNER = np.zeros(ARRAY.shape, np.uint8)
CORNER[:5, :6, :7] = 1
TURN = np.deg2rad(20)
OBLIQUE = np.array([[np.cos(TURN), -np.sin(TURN), 0, 0], [np.sin(TURN), np.cos(TURN), 0, 0], [0, 0, 1, 0],
                    [0, 0, 0, 1.0]]) @ AFFINE
NIFTI2 = {"sizes": 16, "sides": "<8q", "offset": 168}           # where they stand in a NIfTI-2 header


def archive(path: Path) -> Path:
    """A whole scan in a tar, or in a zip, whatever the name says."""
    inside = saved(path.with_name("inside.nii"))
    if ".zip" in path.suffixes:
        with zipfile.ZipFile(path, "w") as packed:
            packed.write(inside)
    else:
        with tarfile.open(path, "w:gz") as packed:
            packed.add(inside, "inside.nii")
    return path


def second(path: Path, where: int, kind: str, *values: float) -> Path:
    """A NIfTI-2 file with other bytes in its header."""
    content = bytearray(saved(path, kind=Nifti2Image).read_bytes())
    struct.pack_into(kind, content, where, *values)
    return written(path, bytes(content))


def packed(path: Path, *parts: bytes) -> Path:
    return written(path, b"".join(gzip.compress(part, 1) for part in parts))


def plain(folder: Path, **header: object) -> bytes:
    return saved(folder / "plain.nii", **header).read_bytes()


def linked(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def locked(path: Path) -> Path:
    saved(path).chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    return path


REFUSED = {
    # what is no NIfTI file
    "empty gz": (lambda p: written(p / "a.nii.gz", b""), "an empty file"),
    "gz of nothing": (lambda p: packed(p / "a.nii.gz", b""), "shorter than a NIfTI header"),
    "gz of gz": (lambda p: packed(p / "a.nii.gz", gzip.compress(plain(p))), "gunzip"),
    "gz of gz of gz": (lambda p: packed(p / "a.nii.gz", gzip.compress(gzip.compress(plain(p)))), "gunzip"),
    "two magic bytes": (lambda p: written(p / "a.nii.gz", b"\x1f\x8b"), "gzip"),
    "a gz header alone": (lambda p: written(p / "a.nii.gz", gzip.compress(b"", 1)[:10]), "gzip"),
    "an unknown method": (lambda p: damaged(p / "a.nii.gz", 2), "gzip"),
    "half a gz": (lambda p: written(p / "a.nii.gz", saved(p / "b.nii.gz").read_bytes()[:4000]), "gzip"),
    "gz without its trailer": (lambda p: written(p / "a.nii.gz", saved(p / "b.nii.gz").read_bytes()[:-8]), "gzip"),
    "wrong length in gz": (lambda p: damaged(p / "a.nii.gz", -1), "gzip"),
    "garbage after gz": (lambda p: written(p / "a.nii.gz", saved(p / "b.nii.gz").read_bytes() + b"junk"), "gzip"),
    "a page of HTML": (lambda p: written(p / "a.nii.gz", b"<!DOCTYPE html>" * 99), "not a NIfTI file"),
    "zip by content": (lambda p: archive(p / "x.zip").rename(p / "a.nii.gz"), "not a NIfTI file"),
    "tar.gz by content": (lambda p: archive(p / "x.tar.gz").rename(p / "a.nii.gz"), "not a NIfTI file"),
    "zip": (lambda p: archive(p / "a.zip"), "an archive: unpack it"),
    "tar.gz": (lambda p: archive(p / "a.tar.gz"), "an archive: unpack it"),
    "nrrd": (lambda p: written(p / "a.nrrd", b"NRRD0004"), "convert it to .nii.gz"),
    "header of a pair": (lambda p: written(p / "a.hdr", plain(p)[:348]), "half of a pair"),
    "image of a pair": (lambda p: written(p / "a.img.gz", b"x"), "half of a pair"),
    "no suffix": (lambda p: saved(p / "a.nii").rename(p / "a"), "only .nii and .nii.gz"),
    # what is no readable file
    "a folder by that name": (lambda p: folder(p / "a.nii.gz"), "a folder"),
    "a link to itself": (lambda p: linked(p / "a.nii", p / "a.nii"), "check the path"),
    "a circle of links": (lambda p: linked(linked(p / "b.nii", p / "a.nii").with_name("a.nii"), p / "b.nii"), "path"),
    "a link to nothing": (lambda p: linked(p / "a.nii", p / "b.nii"), "no such file"),
    "a device": (lambda p: linked(p / "a.nii", Path("/dev/zero")), "not a regular file"),
    "a pipe": (lambda p: pipe(p / "a.nii"), "not a regular file"),
    "below a file": (lambda p: saved(p / "a.nii") / "b.nii", "no such file"),
    "too long a name": (lambda p: p / ("a" * 300 + ".nii"), "check the path"),
    "NUL in the name": (lambda p: p / "a\0b.nii", "no such file"),
    "no permission": (lambda p: locked(p / "a.nii"), "permissions"),
    # sizes and numbers that lie
    "no dimension": (lambda p: patched(p / "a.nii", 40, "<h", 0), "claims 0 dimensions"),
    "fewer than none": (lambda p: patched(p / "a.nii", 40, "<h", -3), "claims -3 dimensions"),
    "a line": (lambda p: saved(p / "a.nii", ARRAY.ravel()), "a slice and not a volume"),
    "2D": (lambda p: saved(p / "a.nii", ARRAY[..., 0]), "a slice and not a volume"),
    "a vector field": (lambda p: saved(p / "a.nii", np.stack([ARRAY] * 3, -1)[..., None, :]), "3 volumes"),
    "no volume in a series": (lambda p: patched(p / "a.nii", 40, "<5h", 4, 14, 13, 12, 0), "claims the size"),
    "NIfTI-2 of 2^60": (lambda p: second(p / "a.nii", 16, "<4q", 3, 2**20, 2**20, 2**20), "claims 1048576 x"),
    "NIfTI-2 that overflows": (lambda p: second(p / "a.nii", 16, "<4q", 3, 2**62, 2**62, 2), "more than"),
    "NIfTI-2, negative": (lambda p: second(p / "a.nii", 24, "<q", -(2**40)), "claims the size"),
    "NIfTI-2, far offset": (lambda p: second(p / "a.nii", 168, "<q", 2**62), "the image starts at byte"),
    "NIfTI-2, inside itself": (lambda p: second(p / "a.nii", 168, "<q", 352), "the image starts at byte 352"),
    "NIfTI-2, bad signature": (lambda p: second(p / "a.nii", 4, "8s", b"n+2\0\0\0\0\0"[::-1]), "signature"),
    "NIfTI-2, pair": (lambda p: second(p / "a.nii", 4, "4s", b"ni2\0"), "another file"),
    "NIfTI-2, short": (lambda p: written(p / "a.nii", saved(p / "b.nii", kind=Nifti2Image).read_bytes()[:400]), "ends"),
    "big-endian, no side": (lambda p: saved(p / "a.nii", order=">", dim=[3, 0, 9, 9, 1, 1, 1, 1]), "claims the size"),
    "wrong byte order": (lambda p: patched(p / "a.nii", 0, ">i", 348), "dimensions"),
    "a negative offset": (lambda p: patched(p / "a.nii", 108, "<f", -352.0), "byte -352"),
    "half a byte": (lambda p: patched(p / "a.nii", 108, "<f", 352.5), "byte 352.5"),
    "an infinite offset": (lambda p: patched(p / "a.nii", 108, "<f", float("inf")), "byte inf"),
    "RGB": (lambda p: saved(p / "a.nii", COLOUR), "colour"),
    "RGBA": (lambda p: saved(p / "a.nii", datatype=2304, bitpix=32), "colour"),
    "complex": (lambda p: saved(p / "a.nii", ARRAY.astype(np.complex64)), "complex"),
    "float128": (lambda p: saved(p / "a.nii", datatype=1536, bitpix=128), "datatype 1536"),
    "one bit": (lambda p: saved(p / "a.nii", datatype=1, bitpix=1), "datatype 1 "),
    "no datatype": (lambda p: saved(p / "a.nii", datatype=0, bitpix=0), "datatype 0"),
    "the intercept is NaN": (lambda p: saved(p / "a.nii", scl_slope=1, scl_inter=np.nan), "not finite"),
    "slope beyond float32": (lambda p: saved(p / "a.nii", scl_slope=3e38), "NaN or infinite"),
    "slope that hides all": (lambda p: saved(p / "a.nii", scl_slope=1e-45, scl_inter=7), "every voxel is 7"),
    # places that cannot be
    "sform of zeros": (lambda p: saved(p / "a.nii", srow_x=[0] * 4, srow_y=[0] * 4, srow_z=[0] * 4), "singular"),
    "sform is infinite": (lambda p: saved(p / "a.nii", srow_z=[0, 0, np.inf, 0]), "not finite"),
    "flat": (lambda p: saved(p / "a.nii", srow_z=[0, 0, 1e-9, 0], qform_code=0), "voxels of 3 x 4 x 1e-09"),
    "qform is NaN": (lambda p: saved(p / "a.nii", sform_code=0, quatern_b=np.nan), "qform"),
    "qform without spacing": (lambda p: saved(p / "a.nii", sform_code=0, pixdim=[1, 0, 0, 0, 0, 0, 0, 0]), "singular"),
    "front and back in doubt": (lambda p: saved(p / "a.nii", quatern_b=1, qform_code=1), "left and right"),
    "a slab of skin": (lambda p: saved(p / "a.nii", ARRAY[:, :, :2]), "field of view"),
    "all NaN": (lambda p: saved(p / "a.nii", some(np.nan, 1.0)), "NaN or infinite"),
    "all zero": (lambda p: saved(p / "a.nii", np.zeros(ARRAY.shape, np.int16)), "every voxel is 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path, name):
    make, why = REFUSED[name]
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MedFuseError) as told:
        read_volume(path)
    line = str(told.value)
    assert why in line and "\n" not in line and line.startswith(f"{path}: ") and ": " in line.removeprefix(f"{path}: ")
    assert sorted(tmp_path.rglob("*")) == before


NEAR = AFFINE @ np.array([[1, np.tan(np.deg2rad(1)), 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
FLIPPED = AFFINE @ np.array([[-1, 0, 0, 13], [0, 1, 0, 0], [0, 0, -1, 11], [0, 0, 0, 1]])
ACCEPTED = {        # how it is made; each fix-up in a few words; where it lies, if elsewhere
    "NIfTI-2": (lambda p: saved(p / "a.nii.gz", kind=Nifti2Image), []),
    "big-endian": (lambda p: saved(p / "a.nii", order=">"), []),
    "NIfTI-2, big-endian": (lambda p: saved(p / "a.nii", kind=Nifti2Image, order=">"), []),
    "gz in members": (lambda p: packed(p / "a.nii.gz", plain(p)[:999], plain(p)[999:]), []),
    "gz and padding": (lambda p: written(p / "a.nii.gz", saved(p / "b.nii.gz").read_bytes() + bytes(512)), []),
    "accents and spaces": (lambda p: saved(folder(p / "l'été 2°") / "crâne % n.nii.gz"), []),
    "shouted": (lambda p: saved(p / "b.nii").rename(p / "A.NII"), []),
    "a link to a scan": (lambda p: linked(p / "a.nii", saved(p / "b.nii")), []),
    "sform alone": (lambda p: saved(p / "a.nii", qform_code=0), []),
    "qform alone": (lambda p: saved(p / "a.nii", sform_code=0), []),
    "a qform that is none": (lambda p: saved(p / "a.nii", quatern_b=1, quatern_c=1), []),
    "garbled words": (lambda p: saved(p / "a.nii", descrip=b"\xff" * 80, aux_file=b"\x80", intent_code=-9), []),
    "slope is NaN": (lambda p: saved(p / "a.nii", scl_slope=np.nan, scl_inter=np.nan), []),
    "slope is 0": (lambda p: saved(p / "a.nii", scl_slope=0, scl_inter=5), []),
    "an extension": (lambda p: written(p / "a.nii", plain(p, vox_offset=384)[:348] + b"\1\0\0\0" + struct.pack(
        "<2i", 32, 6) + bytes(24) + plain(p)[352:]), []),
    "unknown units": (lambda p: saved(p / "a.nii", xyzt_units=7), ["units of space are not stated"]),
    "six dimensions": (lambda p: saved(p / "a.nii", ARRAY[..., None, None, None]), ["6 dimensions with one volume"]),
    "gz that is none": (lambda p: saved(p / "b.nii").rename(p / "a.nii.gz"), ["not compressed in spite"]),
    "gz unsaid": (lambda p: saved(p / "b.nii.gz").rename(p / "a.nii"), ["compressed in spite"]),
    "trailing bytes in gz": (lambda p: packed(p / "a.nii.gz", plain(p) + b"xyz"), ["3 bytes after the image"]),
    "a stale qform": (lambda p: saved(p / "a.nii", qoffset_z=-15), ["sform and qform disagree by 10.0 mm"]),
    "no pixdim": (lambda p: saved(p / "a.nii", pixdim=[0] * 8, qform_code=0), ["pixdim says 0 x 0 x 0 mm"]),
    "oblique": (lambda p: saved(p / "a.nii", affine=OBLIQUE), [], OBLIQUE),
    "barely sheared": (lambda p: saved(p / "a.nii", srow_x=NEAR[0], qform_code=0), [], NEAR),
    "a left hand": (lambda p: saved(p / "a.nii", ARRAY[::-1, :, ::-1], FLIPPED), ["reoriented from LAI"]),
    "many troubles": (lambda p: packed(p / "a.nii", saved(p / "b.nii", ARRAY[::-1, :, ::-1, None], FLIPPED,
                                                          xyzt_units=0).read_bytes() + b"x"),
                      ["4 dimensions", "units", "1 bytes after", "compressed in spite", "reoriented"]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(tmp_path, name, caplog):
    make, expected, *where = ACCEPTED[name]
    caplog.set_level("INFO")
    scan = read_volume(make(tmp_path))
    assert len(scan.fixups) == len(expected) and all(a in b for a, b in zip(expected, scan.fixups, strict=True))
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == scan.fixups
    assert scan.array.dtype == np.float32 and nibabel.aff2axcodes(scan.affine) == ("R", "A", "S")
    np.testing.assert_array_equal(scan.array, ARRAY)
    np.testing.assert_allclose(scan.affine, where[0] if where else AFFINE, atol=1e-4)


# Masks and label maps


LIKE = nifti.Scan(ARRAY, AFFINE)
HALF = AFFINE @ np.array([[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 0.5, -0.25], [0, 0, 0, 1]])
AWAY = AFFINE + np.array([[0, 0, 0, 500.0], [0] * 4, [0] * 4, [0] * 4])
NOT_MASKS = {
    "a label map": (CORNER * 3 + (ARRAY > 100), "not a mask", {}), "an image": (ARRAY, "not a mask", {}),
    "minus one": (-CORNER.astype(np.int16), "not a mask", {}), "percent": (50.5 * CORNER + 1, "not a mask", {}),
    "beyond one": (1.5 * CORNER + 0.1, "not a mask", {}), "NaN": (some(np.nan, 0.5), "NaN or infinite", {}),
    "two masks": (np.stack([CORNER] * 2, -1), "2 volumes", {}), "colour": (COLOUR, "colour", {}),
    "of another place": (CORNER, "nothing of the mask lies inside", {"affine": AWAY}),
    "mirrored by one form": (CORNER, "left and right are in doubt", {"quatern_c": 1}),
    "no orientation": (CORNER, "neither sform nor qform", {"sform_code": 0, "qform_code": 0}),
}


@pytest.mark.parametrize("name", NOT_MASKS)
def test_what_is_no_mask(tmp_path, name):
    array, why, header = NOT_MASKS[name]
    with pytest.raises(MedFuseError, match=why) as told:
        read_mask(saved(tmp_path / "m.nii", array, **header), LIKE)
    assert str(told.value).startswith(str(tmp_path / "m.nii"))


@pytest.mark.parametrize("array, header, fixup, marked", [
    (0 * CORNER, {}, "the mask is empty", 0), (255 * CORNER, {}, "marks with 255", 210),
    (0 * CORNER + 1, {}, "", 2184), (0.7 * CORNER, {}, "marks with 0.7", 210),
    (0.6 * CORNER + 0.1, {}, "cut at 0.5", 210), (CORNER[..., None], {}, "one volume", 210),
    (255 * CORNER, {"scl_slope": 1 / 255}, "", 210), (CORNER[::-1, :, ::-1], {"affine": FLIPPED}, "reoriented", 210),
    (CORNER[:11, :9, :8], {}, "", 210), (CORNER.repeat(2, 0).repeat(2, 1).repeat(2, 2), {"affine": HALF}, "", 210),
])
def test_masks_lie_by_world_position(tmp_path, array, header, fixup, marked):
    path = saved(tmp_path / "m.nii", array, **header)
    placed = read_mask(path, LIKE)
    assert placed.dtype == bool and placed.sum() == marked
    told = read_marks(path).fixups
    assert len(told) == bool(fixup) and all(fixup in line for line in told)
    if marked == CORNER.sum():
        np.testing.assert_array_equal(placed, CORNER > 0)


@pytest.mark.parametrize("array", [-CORNER.astype(np.int16), 0.5 * CORNER, CORNER * 1e10, CORNER * 3e7])
def test_what_is_no_label_map(tmp_path, array):
    with pytest.raises(MedFuseError, match="no label numbers: give whole numbers from 0"):
        read_labels(saved(tmp_path / "l.nii", array))


def test_a_scan_is_opened_for_reading_only(tmp_path):
    path = saved(tmp_path / "a.nii.gz")
    path.chmod(stat.S_IRUSR)
    before = path.read_bytes(), path.stat().st_mtime_ns
    read_volume(path)
    assert before == (path.read_bytes(), path.stat().st_mtime_ns)
