"""The one place that reads and writes NIfTI: (x, y, z) RAS+, millimetres, float32, finite, or one clear refusal.

The header is checked before the image is read (`header.py`); the image is then decompressed in slabs up to the size
that the header claims, never beyond, and the checksum of the gzip stream is verified.
"""

import gzip
import io
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from absl import logging
from nibabel import orientations

from medfuse_jax.data import header as headers
from medfuse_jax.data.files import whole_file
from medfuse_jax.data.grid import Grid
from medfuse_jax.data.resampling import resample
from medfuse_jax.errors import MedFuseError

__all__ = ["Scan", "read_labels", "read_marks", "read_mask", "read_volume", "resample", "write_volume"]

SLAB_BYTES = 2**24
TRAILING_BYTES = 2**20                     # after the image; more is a lying header or a bomb
DEFLATE_LIMIT = 1040                       # deflate packs at most 1032 to 1
MAXIMUM_LABEL = 2**24                      # float32 counts no further
MAXIMUM_NOT_FINITE = 0.01                  # of the voxels: set to 0 up to here, refused beyond
SPACES = {"scanner": 1, "aligned": 2, "MNI152": 4}
IDENTIFYING = ("patient", "subjectid", "subjectname", "institution", "operator", "physician", "referring", "performing",
               "acquisitiondate", "acquisitiontime", "studydate", "studytime", "seriesdate", "seriestime",
               "studyinstanceuid", "seriesinstanceuid", "sopinstanceuid", "accession", "deviceserial", "stationname",
               "birth")
NOTICE = "Research only, not for clinical use."
OTHER_FORMATS = {
    (".dcm", ".ima"): "DICOM: convert it with dcm2niix",
    (".mgz", ".mgh"): "FreeSurfer's format: convert it with mri_convert",
    (".img", ".hdr", ".img.gz"): "half of a pair: convert it to .nii.gz",
    (".nrrd", ".mha"): "not NIfTI: convert it to .nii.gz",
    (".zip", ".tar", ".tar.gz", ".tgz", ".7z"): "an archive: unpack it and give a .nii or .nii.gz file",
}


@dataclass(frozen=True)
class Scan:
    """One volume as everything else in the house sees it."""

    array: np.ndarray                      # x y z, RAS+
    affine: np.ndarray                     # 4 x 4, voxel index -> mm
    fixups: list[str] = field(default_factory=list)
    path: str = ""

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return Grid(self.array.shape, self.affine)

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size in mm along x, y, z."""
        return self.grid.spacing


def read_volume(path: str | Path) -> Scan:
    """An image: float32, finite, not constant. Fix-ups are logged and listed; MedFuseError when it cannot be used."""
    return _logged(_read(path, image=True))


def read_labels(path: str | Path) -> Scan:
    """A label map: whole numbers (int32), possibly all 0."""
    scan = _read(path)
    whole = np.rint(scan.array)
    if scan.array.min() < 0 or scan.array.max() > MAXIMUM_LABEL or np.abs(scan.array - whole).max() > 1e-3:
        raise MedFuseError(f"{path}: values that are no label numbers: give whole numbers from 0 to {MAXIMUM_LABEL}")
    return _logged(Scan(whole.astype(np.int32), scan.affine, scan.fixups, scan.path))


def read_marks(path: str | Path) -> Scan:
    """A mask on its own grid: bool. An empty mask is a mask; a label map is none."""
    scan = _read(path)
    marks = _binary(scan)
    if not marks.any():
        scan.fixups.append("the mask is empty: read as nothing marked")
    return _logged(Scan(marks, scan.affine, scan.fixups, scan.path))


def read_mask(path: str | Path, like: Scan) -> np.ndarray:
    """A mask on `like`'s grid by world position (nearest): bool, x y z."""
    return on_grid(read_marks(path), like)


def on_grid(marks: Scan, like: Scan) -> np.ndarray:
    """Marks that were read, on `like`'s grid by world position (nearest): bool, x y z."""
    if same_grid(marks, like):
        return marks.array
    logging.info("%s: on another grid than the image: moved by world position", marks.path)
    placed = resample(marks.array, marks.affine, like.grid, order=0)
    if marks.array.any() and not placed.any():
        raise MedFuseError(f"{marks.path}: nothing of the mask lies inside {like.path or 'the scan'}: "
                           "give a mask of the same space")
    return placed


def same_grid(one: Scan, other: Scan) -> bool:
    """Whether equal indices are equal places."""
    return one.array.shape == other.array.shape and np.allclose(one.affine, other.affine, atol=1e-3)


def _binary(scan: Scan) -> np.ndarray:
    """Yes or no for each voxel: 0 and one other value, or probabilities cut at a half."""
    low, high = float(scan.array.min()), float(scan.array.max())
    values = np.unique(scan.array[::7, ::5, ::3])                    # cheap look; the exact test follows
    other = high if high > 0 else low
    if low >= 0 and len(values) <= 2 and bool(np.isin(scan.array, (0.0, other)).all()):
        if other not in (0.0, 1.0):
            scan.fixups.append(f"the mask marks with {other:g}: read as 1")
        return scan.array > 0
    if 0 <= low and high <= 1:
        scan.fixups.append("the mask holds probabilities: cut at 0.5")
        return scan.array > 0.5
    raise MedFuseError(f"{scan.path}: not a mask: values from {low:g} to {high:g}: give 0 and 1, or probabilities")


def _logged(scan: Scan) -> Scan:
    for line in scan.fixups:
        logging.info("%s: %s", scan.path, line)
    return scan


def _read(path: str | Path, image: bool = False) -> Scan:
    """Header, image, orientation, finiteness: what all kinds of volume share."""
    path = Path(path)
    try:
        size = _file_size(path)
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with gzip.GzipFile(fileobj=file) if packed else file as stream:
                header = headers.parse(stream.read(headers.HEADER_BYTES), str(path))
                _believable(header, size, packed, path)
                array = _image(stream, header, path)
                _ending(stream, header, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MedFuseError(f"{path}: damaged gzip data ({error}): copy or export the file again") from error
    except OSError as error:
        raise MedFuseError(f"{path}: cannot be read ({error.strerror or error}): "
                           "check the path and its permissions") from error
    if packed != path.name.lower().endswith(".gz"):
        header.fixups.append("compressed in spite of its name" if packed else "not compressed in spite of its name")
    _finite(array, header.fixups, path)
    if image and array.min() == array.max():           # before the axes are turned: memory holds the image once
        raise MedFuseError(f"{path}: every voxel is {array.flat[0]:g}: no image; export it again")
    array, affine = _upright(array, header.affine, header.fixups)
    return Scan(array, affine, header.fixups, str(path))


def _file_size(path: Path) -> int:
    name = path.name.lower()
    if path.is_dir():
        raise MedFuseError(f"{path}: a folder: give a .nii or .nii.gz file (a folder of DICOM: convert with dcm2niix)")
    if not name.endswith((".nii", ".nii.gz")):
        why = next((cure for suffixes, cure in OTHER_FORMATS.items() if name.endswith(suffixes)),
                   "only .nii and .nii.gz are read: convert it (DICOM with dcm2niix)")
        raise MedFuseError(f"{path}: {why}")
    if not path.exists():
        raise MedFuseError(f"{path}: no such file: check the path")
    if not path.is_file():
        raise MedFuseError(f"{path}: not a regular file: give a .nii or .nii.gz file")
    if path.stat().st_size == 0:
        raise MedFuseError(f"{path}: an empty file: copy or export it again")
    return path.stat().st_size


def _believable(header: headers.Header, size: int, packed: bool, path: Path) -> None:
    """Refuse a header that claims more, or far less, than the file can hold, before anything is allocated."""
    if header.end > (size * DEFLATE_LIMIT if packed else size):
        raise MedFuseError(f"{path}: cut short: the header claims {header.end} bytes and the file of {size} cannot "
                           "hold them; copy or export it again")
    if packed:
        with open(path, "rb") as file:     # gzip ends with the length of what was packed, mod 4 GiB
            file.seek(-4, io.SEEK_END)
            end = int.from_bytes(file.read(4), "little")
        if end > header.end + TRAILING_BYTES:
            raise MedFuseError(f"{path}: cut short, damaged, or not only a scan: copy or export it again (the header "
                               f"claims {header.end} bytes, the end of the gzip data {end})")


def _image(stream: io.BufferedIOBase, header: headers.Header, path: Path) -> np.ndarray:
    """The voxels as stored, scaled, float32; read slab by slab so that memory never holds them twice."""
    stream.seek(header.offset)
    array = np.zeros(math.prod(header.shape), np.float32)
    slab, done = SLAB_BYTES // header.dtype.itemsize, 0
    while done < array.size:
        wanted = min(slab, array.size - done) * header.dtype.itemsize
        block = stream.read(wanted)
        if len(block) < wanted:
            raise MedFuseError(f"{path}: cut short: {header.offset + done * header.dtype.itemsize + len(block)} of "
                               f"{header.end} bytes; copy or export it again")
        values = np.frombuffer(block, header.dtype)
        with np.errstate(over="ignore", invalid="ignore"):           # what overflows is found by `_finite`
            scaled = values if header.slope == 1 and header.intercept == 0 else values * header.slope + header.intercept
            array[done:done + len(values)] = scaled
        done += len(values)
    return array.reshape(header.shape, order="F")


def _ending(stream: io.BufferedIOBase, header: headers.Header, path: Path) -> None:
    """Read to the end, where gzip checks its checksum."""
    rest = len(stream.read(TRAILING_BYTES + 1))
    if rest > TRAILING_BYTES:
        raise MedFuseError(f"{path}: holds far more data than its header claims ({header.end} bytes): export it again")
    if rest:
        header.fixups.append(f"{rest} bytes after the image: ignored")


def _finite(array: np.ndarray, fixups: list[str], path: Path) -> None:
    """Set a few voxels that are NaN or infinite to 0, in place; refuse many."""
    bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in array.T)
    if bad > MAXIMUM_NOT_FINITE * array.size:
        raise MedFuseError(f"{path}: {bad} of {array.size} voxels are NaN or infinite: export it again")
    if bad:
        for plane in array.T:
            np.nan_to_num(plane, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        fixups.append(f"{bad} voxels were NaN or infinite: set to 0")


def _upright(array: np.ndarray, affine: np.ndarray, fixups: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Turn the axes to run left-right, posterior-anterior, inferior-superior; nothing is interpolated."""
    turn = orientations.io_orientation(affine)
    if not np.array_equal(turn, [[0, 1], [1, 1], [2, 1]]):
        fixups.append(f"reoriented from {''.join(orientations.aff2axcodes(affine))} to RAS+")
        affine = affine @ orientations.inv_ornt_aff(turn, array.shape)
        array = orientations.apply_orientation(array, turn)
    return np.ascontiguousarray(array), affine


def write_volume(path: str | Path, array: np.ndarray, affine: np.ndarray, description: str = "",
                 sidecar: Mapping[str, Any] | None = None, synthetic: bool = False, space: str = "scanner") -> Path:
    """Write (x, y, z) numbers in mm, whole or not at all; equal input gives equal bytes.

    Whole numbers and masks are stored as small integers, the rest as float32. `space`: scanner | aligned | MNI152.
    A synthetic volume is marked in `descrip`, in a header extension and in its sidecar; name the file so as well.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise MedFuseError(f"{path}: NIfTI files end in .nii or .nii.gz: name it so")
    told = _scrubbed(sidecar or {})
    if synthetic:
        description = "; ".join(filter(None, ("SYNTHETIC medfuse_jax", description)))
        told = {"synthetic": True, "notice": NOTICE} | told
    image = nibabel.Nifti1Image(_storable(np.asarray(array), path), None)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, SPACES[space])
    image.set_qform(affine, SPACES[space])
    image.header["descrip"] = description.encode("ascii", "replace")[:79]
    if synthetic:
        text = json.dumps(told, sort_keys=True)
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", text.encode()))
    content = image.to_bytes()
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        if path.name.endswith(".gz"):      # no name and no date in the stream
            with gzip.GzipFile(filename="", mode="wb", compresslevel=4, fileobj=file, mtime=0) as packed:
                packed.write(content)
        else:
            file.write(content)
    if told:
        with whole_file(path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")) as temporary:
            temporary.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _storable(array: np.ndarray, path: Path) -> np.ndarray:
    if array.ndim != 3:
        raise ValueError(f"{path}: an array of shape {array.shape} is no volume")
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    low, high = int(array.min()), int(array.max())
    fitting = next(d for d in (np.uint8, np.int16, np.int32) if np.iinfo(d).min <= low and high <= np.iinfo(d).max)
    return array.astype(fitting)


def _scrubbed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Without the fields that tell who was scanned, where and when."""
    kept = {key: value for key, value in record.items()
            if not key.lower().replace("_", "").startswith(IDENTIFYING)}
    return {key: _scrubbed(value) if isinstance(value, Mapping) else value for key, value in kept.items()}
