"""How the label atlas is derived from the MNI152 template: tissue maps inside ellipsoids, CSF grown into ventricles."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from medfuse_jax.data import grid, labels
from medfuse_jax.data.simulate.ellipsoids import ELLIPSOIDS, mahalanobis, precision

SPACING = 1.0                      # mm; the atlas lives on grid.standard(SPACING), template (inflated) millimetres
WIDENING_MM, FADING_MM = 2.0, 25.0


@dataclass(frozen=True, eq=False)
class Atlas:
    """Arrays over grid.standard(1 mm), (x, y, z): of the template, or of one person's own label map."""

    structures: np.ndarray         # uint8 classes; csf, cortex and cerebral white matter are re-cut by `brightness`
    brightness: np.ndarray         # float32: 0 CSF, 1 grey, 2 white; where it is cut moves the sulci and the cortex
    texture: np.ndarray            # float32: what of the template's T1 the labels do not explain, WM-GM steps
    widening: np.ndarray           # float32 (x, y, z, 3), every WIDENING_MM: out from the lateral ventricles, fading
    origin: np.ndarray             # mm of voxel 0
    own: bool = False              # a person's: in true millimetres, and who is made of it has its volumes

    @cached_property
    def brain_box(self) -> np.ndarray:
        """Corners of the brain and a margin of 2 mm (2, 3), mm."""
        inside = np.argwhere(self.structures[::2, ::2, ::2] > 0) * 2 * SPACING + self.origin
        return np.stack([inside.min(axis=0) - 2, inside.max(axis=0) + 2])

    @cached_property
    def ventricle_box(self) -> np.ndarray:
        """Corners of what the lateral ventricles push when they widen (2, 3), mm."""
        inside = np.argwhere(np.isin(self.structures, labels.classes_in("ventricle")[:2])) * SPACING + self.origin
        return np.stack([inside.min(axis=0) - FADING_MM - 1, inside.max(axis=0) + FADING_MM + 1])

    @cached_property
    def counts(self) -> np.ndarray:
        """Voxels of each class."""
        return np.bincount(self.structures.ravel(), minlength=len(labels.NAMES))

    @cached_property
    def moments(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Centre (3,) and inverse covariance (3, 3) of each deep grey structure, mm."""
        boxes, found = ndimage.find_objects(self.structures), {}
        for number in labels.classes_in("deep_grey"):
            box = boxes[number - 1]
            points = np.argwhere(self.structures[box] == number) + [side.start for side in box]
            points = points * SPACING + self.origin
            found[labels.NAMES[number]] = points.mean(axis=0), np.linalg.inv(np.cov(points.T))
        return found


# The six maps are of older adults with wide ventricles; the template's caudate lies nearer the midline [data].
MEDIAL_MM = {"caudate": 3.5}
# Grey matter probability that a deep structure may have in the template (range), and how far its ellipsoid reaches.
TISSUE = {"thalamus": (0.15, 1.0, 2.5), "caudate": (0.5, 1.0, 3.4), "putamen": (0.42, 1.0, 2.9),
          "pallidum": (0.05, 0.55, 2.9), "hippocampus": (0.55, 1.0, 2.8), "amygdala": (0.6, 1.0, 2.6),
          "accumbens": (0.6, 1.0, 2.8)}
FLUID_BELOW = 0.58                 # T1 of the template at the border of a ventricle


def _voxels(mask: np.ndarray, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n, 3) of a mask and their template mm (n, 3)."""
    index = np.argwhere(mask)
    return index, (index * SPACING + origin).astype(np.float32)


def _distance(points: np.ndarray, structure: str) -> np.ndarray:
    shift = MEDIAL_MM.get(structure.rsplit("_", 1)[0], 0.0) * (1 if structure.endswith("left") else -1)
    return mahalanobis(points - np.array([shift, 0, 0], np.float32), structure)


def _reach(structure: str, shape: tuple[int, ...], origin: np.ndarray, deviations: float) -> tuple[slice, ...]:
    """The box of voxels within so many standard deviations of a structure's centre."""
    centre, inverse = precision(structure)
    half = deviations * np.sqrt(np.diag(np.linalg.inv(inverse))) + 4
    low = np.maximum(np.floor((centre - half - origin) / SPACING), 0).astype(int)
    high = np.minimum(np.ceil((centre + half - origin) / SPACING) + 1, shape).astype(int)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def _smooth_cut(score: np.ndarray, allowed: np.ndarray, number: int) -> np.ndarray:
    """The `number` allowed voxels of smallest smoothed score that hang together: a rounded shape of a known volume."""
    score = ndimage.gaussian_filter(np.where(allowed, score, score.max()), 1.0)
    ranked = np.sort(score[allowed])
    chosen = allowed & (score <= ranked[min(number, len(ranked)) - 1])
    pieces, count = ndimage.label(chosen)
    return pieces == 1 + np.argmax(np.bincount(pieces.ravel(), minlength=count + 1)[1:]) if count else chosen


def _ventricles(structures: np.ndarray, fluid: np.ndarray, left: np.ndarray, origin: np.ndarray) -> None:
    """Write the four ventricles into `structures`: CSF near their ellipsoids, grown from their cores."""
    for name, reach, side in (("lateral_ventricle_left", 2.9, left), ("lateral_ventricle_right", 2.9, ~left),
                              ("third_ventricle", 2.7, None), ("fourth_ventricle", 2.6, None)):
        box = _reach(name, structures.shape, origin, reach)
        size = [s.stop - s.start for s in box]
        _, points = _voxels(np.ones(size, bool), origin + [s.start * SPACING for s in box])
        distance = _distance(points, name).reshape(size)
        inside = fluid[box] & (distance < reach) & (structures[box] == labels.CLASS["csf"])
        if side is not None:
            inside &= side[box]
            # Cisterns around the midbrain and CSF between the hemispheres are not ventricle.
            x, y, z = (points[:, axis].reshape(size) for axis in range(3))
            inside &= (z > -6) & (y < 34) & ((y > -42) | (np.abs(x) > 10)) & ((y > -56) | (np.abs(x) > 18))
        pieces, count = ndimage.label(inside)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        core = np.bincount(pieces[distance < 1.8], minlength=count + 1)
        kept = [k for k in range(1, count + 1) if sizes[k] > 60 and (core[k] or side is None)]
        structures[box][np.isin(pieces, kept)] = labels.CLASS[name]


def _deep_grey(structures: np.ndarray, templates: dict[str, np.ndarray], left: np.ndarray, origin: np.ndarray) -> None:
    """Write the deep grey structures: tissue maps inside enlarged ellipsoids, contested by Mahalanobis distance."""
    nearest = np.full(structures.shape, np.inf, np.float32)
    names = [name for name in ELLIPSOIDS if name.rsplit("_", 1)[0] in TISSUE]
    distances = {}
    for name in names:
        low, high, reach = TISSUE[name.rsplit("_", 1)[0]]
        box = _reach(name, structures.shape, origin, reach + 1)
        size = [s.stop - s.start for s in box]
        _, points = _voxels(np.ones(size, bool), origin + [s.start * SPACING for s in box])
        distance = _distance(points, name).reshape(size)
        grey = templates["grey"][box]
        off = np.clip(low - grey, 0, None) + np.clip(grey - high, 0, None)   # outside its tissue: as if further away
        distance = np.where(left[box] == name.endswith("left"), distance + 4.0 * off, 99.0)
        distance = np.where(structures[box] == labels.CLASS["csf"], distance, 99.0).astype(np.float32)
        distance += 4.0 * (templates["t1"][box] < FLUID_BELOW)
        distances[name] = box, distance
        np.minimum(nearest[box], distance, out=nearest[box])
    for name, (box, distance) in distances.items():
        reach = TISSUE[name.rsplit("_", 1)[0]][2]
        mine = (distance < reach) & (distance <= nearest[box])
        number = int(1000 * ELLIPSOIDS[name].ml / SPACING**3)
        structures[box][_smooth_cut(distance, mine, number)] = labels.CLASS[name]


def derive(templates: dict[str, np.ndarray]) -> Atlas:
    """The atlas from T1, grey, white and mask on the standard box at 1 mm."""
    box = grid.standard(SPACING)
    origin, k = box.affine[:3, 3], labels.CLASS
    t1, grey, white = templates["t1"], templates["grey"], templates["white"]
    mask = templates["mask"] > 0.5
    structures = np.where(mask, k["csf"], k["background"]).astype(np.uint8)
    left = np.broadcast_to((np.arange(box.shape[0]) * SPACING + origin[0] < 0)[:, None, None], box.shape)

    fluid = mask & (t1 < FLUID_BELOW) & (white < 0.4)
    _ventricles(structures, fluid, left, origin)
    _deep_grey(structures, templates, left, origin)
    lower = _lower_brain(structures, templates, mask, origin)

    brightness = _brightness(t1, grey, white)
    deep = np.isin(structures, np.r_[labels.classes_in("deep_grey")[:8], labels.classes_in("ventricle")[:2]])
    deep = ndimage.distance_transform_edt(~deep, SPACING) <= 3.0
    brightness[deep & (t1 > 0.5) & (structures == k["csf"])] = 2.3      # capsules and linings: never cortex, never CSF
    rest = mask & (structures == k["csf"]) & (lower == 0)
    structures[rest & (brightness > 0.5)] = k["cerebral_cortex_left"]
    structures[rest & (brightness > 1.5)] = k["cerebral_white_matter_left"]
    structures[lower == 1] = k["brainstem"]
    structures[lower == 2] = k["cerebellum_cortex_left"]
    structures[(lower == 2) & _core(brightness, lower == 2, origin)] = k["cerebellum_white_matter_left"]
    for name in ("cerebral_cortex", "cerebral_white_matter", "cerebellum_cortex", "cerebellum_white_matter"):
        structures[(structures == k[f"{name}_left"]) & ~left] = k[f"{name}_right"]
    return Atlas(structures, brightness, _texture(t1, structures), widening(structures), origin)


def _lower_brain(structures: np.ndarray, templates: dict[str, np.ndarray], mask: np.ndarray,
                 origin: np.ndarray) -> np.ndarray:
    """1 brainstem, 2 cerebellum, 0 elsewhere: cores flooded over the T1, so that they meet the cerebrum in CSF."""
    index, points = _voxels(mask, origin)
    stem = mahalanobis(points, "brainstem")
    cerebellum = np.minimum(*(mahalanobis(points, f"cerebellum_cortex_{side}") for side in ("left", "right")))
    cerebellum = np.minimum(cerebellum, np.linalg.norm((points - [0, -62, -32]) / [6, 12, 12], axis=1))     # vermis
    seeds = np.zeros(len(index), np.int16)
    seeds[(np.minimum(stem, cerebellum) > 2.75) | (points[:, 2] > 2)] = 3
    seeds[(cerebellum < 1.75) & (stem > 1.6)] = 2
    seeds[(stem < 1.7) & (cerebellum > 1.2)] = 1
    known = structures[tuple(index.T)]
    seeds[np.isin(known, np.r_[labels.classes_in("deep_grey"), labels.CLASS["third_ventricle"]])] = 3
    markers = np.full(mask.shape, 4, np.int16)
    markers[tuple(index.T)] = seeds
    cost = np.clip((0.85 - templates["t1"]) * 300, 0, 255).astype(np.uint8)
    box = tuple(slice(int(low), int(high) + 2) for low, high in zip(index.min(0), index.max(0), strict=True))
    flooded = np.zeros(mask.shape, np.int16)
    flooded[box] = ndimage.watershed_ift(cost[box], markers[box])
    solid = (templates["t1"] > 0.55) & (structures == labels.CLASS["csf"])
    far = flooded[tuple(index.T)]
    far[(far == 1) & (stem > 2.6)] = 0
    flooded[tuple(index.T)] = far
    smooth = np.zeros(mask.shape, np.int16)
    for part in (2, 1):                                        # one rounded piece each, without holes
        piece = ndimage.gaussian_filter((flooded == part).astype(np.float32), 1.5) > 0.5
        pieces, count = ndimage.label(piece)
        piece = pieces == 1 + np.argmax(np.bincount(pieces.ravel(), minlength=count + 1)[1:])
        smooth[ndimage.binary_fill_holes(piece) & (flooded != 3)] = part
    smooth[~solid & ~((smooth == 1) & ndimage.binary_fill_holes((smooth == 1) & solid))] = 0
    return smooth


def _core(brightness: np.ndarray, cerebellum: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """White matter of the cerebellum: its brightest voxels near the ellipsoids, at the volume they should have."""
    index, points = _voxels(cerebellum, origin)
    near = np.minimum(*(mahalanobis(points, f"cerebellum_white_matter_{side}") for side in ("left", "right")))
    score = near - 2.0 * ndimage.gaussian_filter(brightness, 1.0)[tuple(index.T)]
    number = int(sum(1000 * ELLIPSOIDS[f"cerebellum_white_matter_{side}"].ml for side in ("left", "right")))
    core = np.zeros(cerebellum.shape, bool)
    core[tuple(index[np.argsort(score, kind="stable")[:number]].T)] = True
    return ndimage.binary_opening(core) & cerebellum


def _brightness(t1: np.ndarray, grey: np.ndarray, white: np.ndarray) -> np.ndarray:
    """0 CSF, 1 grey, 2 white, smooth enough that a cut at any level between is a plausible border."""
    by_t1 = np.interp(t1, [0.30, 0.645, 0.83], [0.0, 1.0, 2.0]).astype(np.float32)
    by_maps = ndimage.gaussian_filter(grey + 2.0 * white, 0.7)
    return (0.6 * by_t1 + 0.4 * by_maps).astype(np.float32)


def _texture(t1: np.ndarray, structures: np.ndarray) -> np.ndarray:
    """What of the T1 the labels do not explain, as a share of the step from grey to white; smooth at borders."""
    counts = np.bincount(structures.ravel(), minlength=len(labels.STRUCTURES))
    sums = np.bincount(structures.ravel(), weights=t1.ravel(), minlength=len(labels.STRUCTURES))
    means = sums / np.maximum(counts, 1)
    residual = (t1 - means.astype(np.float32)[structures]) / 0.185
    residual[structures == 0] = 0
    return np.clip(residual, -1.0, 1.0).astype(np.float32)


def widening(structures: np.ndarray) -> np.ndarray:
    """Unit push outward from the lateral ventricles, fading over FADING_MM, sampled every WIDENING_MM."""
    ventricle = np.isin(structures, labels.classes_in("ventricle")[:2])
    step = int(WIDENING_MM / SPACING)
    outside = ndimage.distance_transform_edt(~ventricle).astype(np.float32)
    inside = ndimage.distance_transform_edt(ventricle).astype(np.float32)
    signed = ndimage.gaussian_filter(outside - inside, 1.5)
    push = np.stack(np.gradient(signed), axis=-1) * np.clip(1 - np.abs(signed) / FADING_MM, 0, 1)[..., None] ** 2
    # block means: the coarse sample stands for all the voxels that it covers
    shape = [n // step for n in structures.shape]
    blocks = push.reshape(shape[0], step, shape[1], step, shape[2], step, 3)
    return blocks.mean(axis=(1, 3, 5)).astype(np.float32)
