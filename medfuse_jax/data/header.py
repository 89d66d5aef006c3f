"""A NIfTI header, believed only after it was checked: sizes, numbers, units, and where the scan lies in the world.

Nothing of the image is read here: a lying header is refused for the price of a few hundred bytes.
NIfTI-1 and NIfTI-2 single files; https://nifti.nimh.nih.gov/nifti-1.
"""

import math
from typing import NamedTuple

import nibabel
import numpy as np

from medfuse_jax.errors import MedFuseError

MAXIMUM_VOXELS = 2**26                     # 256 MiB as float32: a 0.5 mm head
MAXIMUM_BYTES = 2**28                      # as stored: what a machine reads in a few seconds
SPACING_MM = (0.1, 20.0)                   # of one voxel
FIELD_MM = (30.0, 600.0)                   # of one side of the scan
FARTHEST_MM = 5000.0                       # of a corner from the origin
SHEAR_DEGREES = 2.0                        # beyond: an oblique gantry or an affine registration left in the header
DISAGREEMENT_MM = 1.0                      # of sform and qform, below which nobody is told
UNITS = {0: ("unstated", 1.0), 1: ("metres", 1e3), 2: ("millimetres", 1.0), 3: ("micrometres", 1e-3)}
NUMBERS = {2: np.uint8, 4: np.int16, 8: np.int32, 16: np.float32, 64: np.float64, 256: np.int8, 512: np.uint16,
           768: np.uint32, 1024: np.int64, 1280: np.uint64}
MAXIMUM_OFFSET = 2**26                     # header extensions end before here
HEADER_BYTES = 544                         # enough for NIfTI-1 (348 + 4) and NIfTI-2 (540 + 4)


class Header(NamedTuple):
    """What is needed to read the image: all of it checked."""

    shape: tuple[int, int, int]
    dtype: np.dtype
    offset: int                            # bytes before the first voxel
    slope: float
    intercept: float
    affine: np.ndarray                     # 4 x 4: voxel index as stored -> mm
    fixups: list[str]

    @property
    def end(self) -> int:
        """Bytes of the whole file, decompressed."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


@np.errstate(all="ignore")                 # numbers that are not finite are refused below, each with its own line
def parse(block: bytes, name: str) -> Header:
    """The checked header in the first bytes of a NIfTI file; MedFuseError otherwise."""
    raw = _recognised(block, name)
    fixups: list[str] = []
    shape = _shape(raw, name, fixups)
    dtype = _dtype(raw, name)
    minimum = 544 if int(raw["sizeof_hdr"]) == 540 else 352
    if math.prod(shape) * dtype.itemsize > MAXIMUM_BYTES:
        raise MedFuseError(f"{name}: {_by(list(shape))} voxels of {dtype.name} exceed {MAXIMUM_BYTES // 2**20} MiB: "
                           "save it as float32 or int16")
    offset = float(raw["vox_offset"])
    if not minimum <= offset <= MAXIMUM_OFFSET or offset != int(offset):
        raise MedFuseError(f"{name}: the header says that the image starts at byte {offset:g}, inside the header or "
                           "nowhere: the file is damaged; export it again")
    slope, intercept = _scaling(raw, name)
    affine = _affine(raw, shape, name, fixups)
    return Header(shape, dtype, int(offset), slope, intercept, affine, fixups)


def _recognised(block: bytes, name: str) -> nibabel.Nifti1Header:
    if len(block) < 352:
        raise MedFuseError(f"{name}: {len(block)} bytes, shorter than a NIfTI header: copy or export it again")
    if block[:2] == b"\x1f\x8b":
        raise MedFuseError(f"{name}: compressed more than once: unpack it once with gunzip")
    if block[128:132] == b"DICM":
        raise MedFuseError(f"{name}: this is DICOM, not NIfTI: convert it with dcm2niix")
    sizes = {int.from_bytes(block[:4], order): order for order in ("little", "big")}
    kinds = {348: (nibabel.Nifti1Header, slice(344, 348), b"n+1\0", b"ni1\0"),
             540: (nibabel.Nifti2Header, slice(4, 8), b"n+2\0", b"ni2\0")}
    size = next((size for size in sizes if size in kinds), None)
    if size is None:
        raise MedFuseError(f"{name}: not a NIfTI file: convert DICOM with dcm2niix, other formats with their own tools")
    kind, place, single, pair = kinds[size]
    if block[place] == pair:
        raise MedFuseError(f"{name}: a header whose image lies in another file (.hdr/.img): convert it to .nii.gz")
    if block[place] != single:
        raise MedFuseError(f"{name}: no NIfTI signature (an Analyze file, or damaged): convert it again")
    if len(block) < size + 4:
        raise MedFuseError(f"{name}: ends inside its own header: copy or export it again")
    return kind(block[:size], endianness="<" if sizes[size] == "little" else ">", check=False)


def _shape(raw: nibabel.Nifti1Header, name: str, fixups: list[str]) -> tuple[int, int, int]:
    dimensions = int(raw["dim"][0])
    if not 1 <= dimensions <= 7:
        raise MedFuseError(f"{name}: the header claims {dimensions} dimensions: the file is damaged; export it again")
    sides = [int(side) for side in raw["dim"][1:dimensions + 1]]
    if min(sides) <= 0:
        raise MedFuseError(f"{name}: the header claims the size {_by(sides)}: the file is damaged; export it again")
    if math.prod(sides[3:]) > 1:
        raise MedFuseError(f"{name}: {math.prod(sides[3:])} volumes ({_by(sides)}) where one is wanted: "
                           "extract one volume, for example with nibabel's slicer")
    if len(sides) < 3 or min(sides[:3]) < 2:
        raise MedFuseError(f"{name}: {_by(sides)} voxels, a slice and not a volume: give a 3D scan")
    if len(sides) > 3:
        fixups.append(f"{len(sides)} dimensions with one volume: read as 3D")
    if math.prod(sides[:3]) > MAXIMUM_VOXELS:
        raise MedFuseError(f"{name}: the header claims {_by(sides[:3])} voxels, more than {MAXIMUM_VOXELS}: "
                           "resample it to 0.5 mm or coarser, or export it again if this is not its size")
    return sides[0], sides[1], sides[2]


def _by(sides: list[int]) -> str:
    return " x ".join(str(side) for side in sides)


def _dtype(raw: nibabel.Nifti1Header, name: str) -> np.dtype:
    code, bits = int(raw["datatype"]), int(raw["bitpix"])
    if code not in NUMBERS:
        raise MedFuseError(f"{name}: NIfTI datatype {code} (colour, complex or unknown): convert to int16 or float32")
    dtype = np.dtype(NUMBERS[code])
    if bits != 8 * dtype.itemsize:
        raise MedFuseError(f"{name}: the header claims {dtype.name} of {bits} bits: damaged; export it again")
    return dtype.newbyteorder(raw.endianness)


def _scaling(raw: nibabel.Nifti1Header, name: str) -> tuple[float, float]:
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or math.isnan(slope):                # both mean "not scaled"
        return 1.0, 0.0
    if math.isinf(slope) or not math.isfinite(intercept):
        raise MedFuseError(f"{name}: intensity scaling {slope:g} x + {intercept:g} is not finite: export it again")
    return slope, intercept


def _affine(raw: nibabel.Nifti1Header, shape: tuple[int, int, int], name: str, fixups: list[str]) -> np.ndarray:
    """Voxel index to mm, from sform, else qform; with neither, left and right cannot be known."""
    unit, scale = UNITS.get(int(raw["xyzt_units"]) & 7, ("unstated", 1.0))
    forms = {}
    if int(raw["sform_code"]) > 0:
        forms["sform"] = np.asarray(raw.get_sform(), np.float64)
    if int(raw["qform_code"]) > 0:
        forms["qform"] = _qform(raw, name, needed=not forms)
    forms = {form: affine for form, affine in forms.items() if affine is not None}
    if not forms:
        raise MedFuseError(f"{name}: neither sform nor qform is set, so left and right are unknown: "
                           "convert again from DICOM with dcm2niix, or set the sform")
    for affine in forms.values():
        affine[:3] *= scale
    for form, affine in forms.items():
        _plausible(affine, shape, f"{name}: {form}", unit)
    _agree(forms, shape, name, fixups)
    affine = next(iter(forms.values()))
    if unit == "unstated":
        fixups.append("units of space are not stated: taken as mm")
    elif scale != 1.0:
        fixups.append(f"space in {unit}: converted to mm")
    written = np.abs(np.asarray(raw["pixdim"][1:4], np.float64)) * scale
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not np.allclose(written, spacing, rtol=0.02):
        fixups.append(f"pixdim says {_mm(written)} mm and the affine {_mm(spacing)} mm: the affine is used")
    return affine


def _qform(raw: nibabel.Nifti1Header, name: str, needed: bool) -> np.ndarray | None:
    try:
        return np.asarray(raw.get_qform(), np.float64)
    except (nibabel.spatialimages.HeaderDataError, ValueError) as error:
        if not needed:                     # the sform stands; nothing is lost
            return None
        raise MedFuseError(f"{name}: the qform is not a rotation ({error}): set the sform, or convert again") from error


def _plausible(affine: np.ndarray, shape: tuple[int, int, int], name: str, unit: str) -> None:
    """Refuse an affine that is not finite, singular, sheared, or of a size that no head scan has."""
    if not np.isfinite(affine).all():
        raise MedFuseError(f"{name} holds numbers that are not finite: set it again, or convert again from DICOM")
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if (spacing == 0).any() or abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        raise MedFuseError(f"{name} is singular (a voxel without volume): set it again, or convert again from DICOM")
    if spacing.min() < SPACING_MM[0] or spacing.max() > SPACING_MM[1]:
        raise MedFuseError(f"{name} gives voxels of {_mm(spacing)} mm (units: {unit}): set spacing and units right")
    cosines = (affine[:3, :3] / spacing).T @ (affine[:3, :3] / spacing)
    shear = math.degrees(math.asin(min(1.0, np.abs(cosines - np.eye(3)).max())))
    if shear > SHEAR_DEGREES:
        raise MedFuseError(f"{name} is sheared by {shear:.1f} degrees: resample the scan to right-angled axes")
    field = spacing * shape
    if field.min() < FIELD_MM[0] or field.max() > FIELD_MM[1]:
        raise MedFuseError(f"{name} gives a field of view of {_mm(field)} mm, not a head's: check both")
    if np.abs(_corners(affine, shape)).max() > FARTHEST_MM:
        raise MedFuseError(f"{name} puts the scan metres from the origin: set it again, or convert again from DICOM")


def _agree(forms: dict[str, np.ndarray], shape: tuple[int, int, int], name: str, fixups: list[str]) -> None:
    """Two forms may differ in detail (the sform is used), not in which way is left."""
    if len(forms) < 2:
        return
    ways = {form: "".join(nibabel.aff2axcodes(affine)) for form, affine in forms.items()}
    if ways["sform"] != ways["qform"]:
        raise MedFuseError(f"{name}: sform says {ways['sform']} and qform {ways['qform']}: left and right are in "
                           "doubt; delete the wrong one (set its code to 0)")
    apart = np.linalg.norm(_corners(forms["sform"], shape) - _corners(forms["qform"], shape), axis=1).max()
    if apart > DISAGREEMENT_MM:
        fixups.append(f"sform and qform disagree by {apart:.1f} mm: the sform is used")


def _corners(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    ends = np.stack(np.meshgrid(*[(0, side - 1) for side in shape], indexing="ij"), axis=-1).reshape(-1, 3)
    return nibabel.affines.apply_affine(affine, ends)


def _mm(values: np.ndarray) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
