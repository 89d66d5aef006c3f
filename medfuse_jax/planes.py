"""A volume as pictures: which slices to look at, on which side is right, and in which colours.

Volumes are (x, y, z) RAS+. Sides are radiological: the person's right is on the picture's left.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medfuse_jax.data import definitions, labels

LESION = "#ff3b5c"
# One colour a structure, left and right alike; what is not here (CSF, background) stays bare.
COLOURS = {
    "cerebral_white_matter": "#dfe3ea", "cerebral_cortex": "#5b8fd6", "lateral_ventricle": "#27c4e8",
    "third_ventricle": "#27c4e8", "fourth_ventricle": "#27c4e8", "thalamus": "#ff9f1c", "caudate": "#5fd35f",
    "putamen": "#c77dff", "pallidum": "#7a5cff", "hippocampus": "#ffe14d", "amygdala": "#f28bc4",
    "accumbens": "#b5651d", "brainstem": "#c9a27e", "cerebellum_white_matter": "#d9cfa3",
    "cerebellum_cortex": "#9db35a",
}
# Large structures are washed in thinly, so that the scan shines through; this is their opacity, the others' is STRONG.
FAINT = {"cerebral_white_matter": 0.06, "cerebral_cortex": 0.40, "cerebellum_white_matter": 0.15,
         "cerebellum_cortex": 0.35, "brainstem": 0.35}
STRONG = 0.72
MARGIN_MM = 8.0
ENOUGH = 0.6                  # of the largest slice of the brain that a slice must show
SMOOTH = 0.6                  # voxels of the grid on which labels were made


class Plane(NamedTuple):
    """How a plane is shown: rows run down, columns run right."""

    name: str
    normal: int               # the axis that is cut
    across: int               # the axis along the picture's width, from its high end to its low one
    up: int                   # the axis that runs up the picture
    sides: tuple[str, str]    # letters at the left and right edge


PLANES = (Plane("axial", 2, 0, 1, ("R", "L")), Plane("coronal", 1, 0, 2, ("R", "L")),
          Plane("sagittal", 0, 1, 2, ("A", "P")))


class Study(NamedTuple):
    """What is shown, cropped to the head."""

    volumes: dict[str, np.ndarray]            # x y z
    structures: np.ndarray | None             # x y z: classes
    lesions: np.ndarray | None                # x y z: fraction of the voxel
    brain: np.ndarray                         # x y z: bool
    spacing: np.ndarray                       # mm
    cuts: tuple[int, int, int]                # where each axis is cut
    windows: dict[str, float]                 # the intensity that is shown white
    blur: np.ndarray                          # voxels: how far a border may be smoothed

    @property
    def labelled(self) -> bool:
        """Whether there is anything to paint."""
        return self.structures is not None or self.lesions is not None

    def blurred(self, plane: Plane) -> tuple[float, float]:
        """How far a plane's borders may be smoothed, down and across, in voxels."""
        return float(self.blur[plane.up]), float(self.blur[plane.across])

    def sides(self, plane: Plane) -> tuple[float, float]:
        """Width and height of a plane's picture in mm."""
        extent = np.array(self.brain.shape) * self.spacing
        return float(extent[plane.across]), float(extent[plane.up])


def study(volumes: Mapping[str, np.ndarray], spacing: definitions.Spacing, structures: np.ndarray | None = None,
          lesions: np.ndarray | None = None, made_mm: definitions.Real | None = None) -> Study:
    """Crop to the head, choose the cuts and the windows. made_mm: the grid of the labels, if it was a coarser one."""
    spacing = definitions.spacing_of(spacing)
    volumes = {name: np.nan_to_num(np.asarray(volume, np.float32)) for name, volume in volumes.items()}
    first = next(iter(volumes.values()))
    if structures is not None and structures.any():
        brain = np.asarray(structures) > 0
    else:
        brain = first > 0.1 * max(float(np.percentile(first, 99)), 1e-6)
    box = definitions.bounding_box(brain) or tuple(slice(0, n) for n in brain.shape)
    rim = np.ceil(MARGIN_MM / spacing).astype(int)
    box = tuple(slice(max(side.start - r, 0), side.stop + r) for side, r in zip(box, rim, strict=True))
    volumes, brain = {name: volume[box] for name, volume in volumes.items()}, brain[box]
    lesions = None if lesions is None else np.asarray(lesions, np.float32)[box]
    structures = None if structures is None else np.asarray(structures)[box]
    windows = {name: window(volume, brain) for name, volume in volumes.items()}
    blur = SMOOTH * np.maximum((made_mm or 0.0) / spacing, 1.0)
    return Study(volumes, structures, lesions, brain, spacing, best_cuts(brain, lesions), windows, blur)


def best_cuts(brain: np.ndarray, lesions: np.ndarray | None = None) -> tuple[int, int, int]:
    """Where to cut along x, y, z: where most lesion is seen, or the middle of the brain when there is none."""
    mask = None if lesions is None else lesions > 0.5
    if mask is not None and mask.any():
        def areas(of: np.ndarray) -> list[np.ndarray]:
            return [of.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]

        # A little blur prefers a slice among full ones to a lucky one; at the brain's rim there is little to see.
        return tuple(int((ndimage.gaussian_filter1d(sick.astype(float), 1.0) * (full >= ENOUGH * full.max())).argmax())
                     for sick, full in zip(areas(mask), areas(brain), strict=True))
    centre = ndimage.center_of_mass(brain) if brain.any() else [(n - 1) / 2 for n in brain.shape]
    return tuple(round(float(c)) for c in centre)


def cut(volume: np.ndarray, plane: Plane, at: int) -> np.ndarray:
    """One slice as a picture (rows, columns): anterior or superior up, the person's right or front to the left."""
    return np.take(volume, at, axis=plane.normal).T[::-1, ::-1]


def enlarged(picture: np.ndarray, factors: tuple[float, float], order: int = 1) -> np.ndarray:
    """A picture with smooth, finer pixels, edge to edge on the same ground."""
    return ndimage.zoom(picture.astype(np.float32), factors, order=order, grid_mode=True, mode="nearest")


def outlined(lesions: np.ndarray, factors: tuple[float, float], blur: Sequence[float]) -> np.ndarray:
    """A slice of lesions, 0..1, whose outline is drawn at one half; the steps of a coarser grid are rounded."""
    return enlarged(ndimage.gaussian_filter(lesions.astype(np.float32), (np.asarray(blur) - SMOOTH) / 3), factors)


def painted(structures: np.ndarray, factors: tuple[float, float],
            blur: Sequence[float] = (SMOOTH, SMOOTH)) -> np.ndarray:
    """Colours of a slice of classes, (rows, columns, 4) in 0..1, with smooth borders and opacity last."""
    names = np.array([_base(name) for name in labels.NAMES])
    seen = [name for name in dict.fromkeys(names[np.unique(structures)]) if name in COLOURS]
    masks = [~np.isin(names, seen)[structures], *((names == name)[structures] for name in seen)]     # bare ground first
    layers = [enlarged(ndimage.gaussian_filter(mask.astype(np.float32), blur), factors) for mask in masks]
    palette = np.array([(0.0, 0.0, 0.0, 0.0)] + [(*rgb(COLOURS[name]), FAINT.get(name, STRONG)) for name in seen])
    return palette[np.argmax(layers, axis=0)]


def slices(volumes: Mapping[str, np.ndarray], *, spacing: definitions.Spacing = 1.0,
           structures: np.ndarray | None = None, lesions: np.ndarray | None = None,
           pixel_mm: float = 1.0) -> np.ndarray:
    """A page of bare tiles, (h, w, 3) uint8, for TensorBoard: a row a volume, a column a plane.

    With labels a last row shows the first volume with its structures painted and its lesions outlined.
    """
    shown = study(volumes, spacing, structures, lesions)
    rows = [[np.repeat(_grey(shown, name, plane, pixel_mm)[..., None], 3, axis=2) for plane in PLANES]
            for name in shown.volumes]
    if shown.labelled:
        rows.append([_coloured(shown, plane, pixel_mm) for plane in PLANES])
    height = max(tile.shape[0] for tile in rows[0])
    page = np.concatenate([np.concatenate([_centred(tile, height) for tile in row], axis=1) for row in rows])
    return np.round(255 * page.clip(0, 1)).astype(np.uint8)


def rgb(colour: str) -> tuple[float, float, float]:
    """Red, green, blue in 0..1 of a colour written #rrggbb."""
    return tuple(int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5))


def factors(shown: Study, plane: Plane, pixel_mm: float) -> tuple[float, float]:
    """How much larger a plane's picture becomes, down and across, at `pixel_mm` a pixel; whole pixels in all."""
    sides, voxels = shown.sides(plane), (shown.brain.shape[plane.across], shown.brain.shape[plane.up])
    across, down = (max(round(side / pixel_mm), 1) / n for side, n in zip(sides, voxels, strict=True))
    return down, across


def _grey(shown: Study, name: str, plane: Plane, pixel_mm: float) -> np.ndarray:
    picture = cut(shown.volumes[name], plane, shown.cuts[plane.normal]) / shown.windows[name]
    return enlarged(picture, factors(shown, plane, pixel_mm), order=3).clip(0, 1)


def _coloured(shown: Study, plane: Plane, pixel_mm: float) -> np.ndarray:
    at, scale = shown.cuts[plane.normal], factors(shown, plane, pixel_mm)
    picture = np.repeat(_grey(shown, next(iter(shown.volumes)), plane, pixel_mm)[..., None], 3, axis=2)
    if shown.structures is not None:
        colours = painted(cut(shown.structures, plane, at), scale, shown.blurred(plane))
        picture = picture * (1 - colours[..., 3:]) + colours[..., :3] * colours[..., 3:]
    if shown.lesions is not None:
        inside = outlined(cut(shown.lesions, plane, at), scale, shown.blurred(plane)) > 0.5
        picture[ndimage.binary_dilation(inside) & ~inside] = rgb(LESION)
    return picture


def _centred(tile: np.ndarray, height: int) -> np.ndarray:
    above = (height - tile.shape[0]) // 2
    return np.pad(tile, ((above, height - tile.shape[0] - above), (0, 0), (0, 0)))


def window(volume: np.ndarray, brain: np.ndarray) -> float:
    """The intensity that is shown white: a little above nearly all of the brain."""
    inside = volume[brain]
    return max(1.05 * float(np.percentile(inside, 99.5)), 1e-6) if inside.size else 1.0


def _base(name: str) -> str:
    return name.removesuffix("_left").removesuffix("_right")
