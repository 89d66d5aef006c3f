"""Small scans, tables and trees on disk, whole or spoilt in one place, written without the code that reads them."""

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np

PEOPLE = "participant_id\tage\tsex\tedss\tnote\nsub-01\t42\tF\t1.5\tok\nsub-02\t35\tM\tn/a\t=cmd|' /C calc'!A0\n"
AFFINE = np.array([[3.0, 0, 0, -20], [0, 4.0, 0, -30], [0, 0, 5.0, -25], [0, 0, 0, 1]])
RANDOM = np.random.default_rng(0)
ARRAY = RANDOM.normal(100, 10, (14, 13, 12)).astype(np.float32)


def saved(path: Path, array: np.ndarray = ARRAY, affine: np.ndarray | None = AFFINE,
          kind: type[nibabel.Nifti1Image] = nibabel.Nifti1Image, order: str = "<", **header: object) -> Path:
    """A file written by nibabel alone, some header fields overwritten. order: < little-endian, > big-endian."""
    made = kind.header_class(endianness=order)
    made.set_data_dtype(array.dtype)
    image = kind(array, affine, made)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 2)
    image.set_qform(affine, 1)
    content, size = image.to_bytes(), made.structarr.dtype.itemsize
    told = kind.header_class(content[:size], order, check=False)     # the image would put its own affine back
    for name, value in header.items():
        told[name] = value
    content = told.binaryblock + content[size:]
    return written(path, gzip.compress(content, 1) if path.suffix == ".gz" else content)


def patched(path: Path, where: int, kind: str, *values: float) -> Path:
    """Header bytes that no library would write."""
    saved(path)
    content = bytearray(path.read_bytes())
    struct.pack_into(kind, content, where, *values)
    path.write_bytes(bytes(content))
    return path


def damaged(path: Path, place: int, flip: int = 0xFF) -> Path:
    content = bytearray(saved(path).read_bytes())
    content[place] ^= flip
    path.write_bytes(bytes(content))
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def some(value: float, share: float) -> np.ndarray:
    array = ARRAY.copy()
    array.ravel()[:int(share * array.size)] = value
    return array


def tree(root: Path, sessions: str = "") -> Path:
    """One person of two visits."""
    for session in "12":
        (root / f"sub-01/ses-{session}/anat").mkdir(parents=True)
        saved(root / f"sub-01/ses-{session}/anat/sub-01_ses-{session}_FLAIR.nii.gz")
    if sessions:
        (root / "sub-01/sub-01_sessions.tsv").write_text("session_id\tacq_time\n" + sessions)
    return root
