"""Where atrophy moves the borders of a head: structures shrink, ventricles and sulci widen, to volumes that are met."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medfuse_jax.data import grid, labels
from medfuse_jax.data.definitions import TISSUE, classes_of, expected_ml, voxel_counts
from medfuse_jax.data.norms import REFERENCE_AGE
from medfuse_jax.data.simulate.anatomy import NODE_MM, Head, jacobians, linear, nearest, to_voxels
from medfuse_jax.data.simulate.atlas import SPACING, WIDENING_MM, Atlas

SCALED = ("thalamus", "caudate", "putamen", "hippocampus")
LARGEST_SCALE, SMALLEST_SCALE = 1.28, 0.78      # backward, linear: beyond these the falloff would fold
FALLOFF = (2.4, 3.8)               # standard deviations where a local scaling begins and ends to fade
CORTEX_SHARE = 0.51                # of cortex + cerebral white matter (452 and 436 ml) [data]
VENTRICLE_GAIN = 0.05              # of their expected volume, per percent of brain lost [assume]
LARGEST_VENTRICLES_ML = 110.0
CEREBELLUM_SPARED = 0.35           # cerebellar cortex looks brighter by this to the cut: it loses less


class Brain(NamedTuple):
    """One visit's truth on the head's box."""

    structures: np.ndarray         # uint8 classes, (x, y, z)
    texture: np.ndarray            # float32, same shape: what the labels do not explain, in steps from grey to white
    intracranial_ml: float


def healthy(person: Head) -> np.ndarray:
    """Classes before any atrophy, uint8 (x, y, z): the same at each visit."""
    return nearest(person.atlas, to_voxels(person.nodes, person))


def brain(person: Head, age: float, sex: str, deviation: dict[str, float], plain: np.ndarray | None = None) -> Brain:
    """The person's brain at an age, with each structure at its deviation (percent) from what is expected.

    plain: `healthy(person)`, where it is known already.
    Expected are the norms; of a head made of a person's own label map, the map's volumes, taken as those at 40 years.
    """
    cubic_ml = person.spacing**3 / 1000
    plain = healthy(person) if plain is None else plain
    target = _targets(person, plain, age, sex, deviation)
    points = _moved(person, target)
    structures = nearest(person.atlas, points)
    structures[plain == 0] = 0
    structures[(plain > 0) & (structures == 0)] = labels.CLASS["csf"]
    inside = np.flatnonzero(structures)
    share = CORTEX_SHARE
    if person.atlas.own:
        cortex, white = (voxel_counts(plain)[labels.classes_in(group)].sum() for group in ("cortex", "white_matter"))
        share = cortex / (cortex + white)
    _cut(person.atlas, structures.reshape(-1), points.reshape(3, -1), inside, target["whole_brain"] / cubic_ml, share)
    texture = np.zeros(structures.shape, np.float32)
    texture.reshape(-1)[inside] = linear(person.atlas.texture, points.reshape(3, -1)[:, inside])
    return Brain(structures, texture, float(np.count_nonzero(plain)) * cubic_ml)


def smallest_jacobian(person: Head, age: float, sex: str, deviation: dict[str, float]) -> float:
    """The least determinant of the derivative of the whole map, atrophy included: above 0 nothing folds."""
    target = _targets(person, healthy(person), age, sex, deviation)
    return float(jacobians(_moved(person, target), person.spacing).min())


def _targets(person: Head, plain: np.ndarray, age: float, sex: str, deviation: dict[str, float]) -> dict[str, float]:
    """The volume, ml, that each structure is to have; `plain` are the classes before atrophy."""
    cubic_ml, counts, target = person.spacing**3 / 1000, voxel_counts(plain), {}
    head_ml = float(np.count_nonzero(plain)) * cubic_ml
    for name in (*SCALED, "whole_brain", "lateral_ventricle"):
        expected = expected_ml(name, age, sex, head_ml)
        if person.atlas.own:
            own = float(counts[classes_of(name)].sum()) * cubic_ml
            expected *= own / expected_ml(name, REFERENCE_AGE, sex, head_ml)
        target[name] = expected * (1 + deviation.get(name, 0.0) / 100)
    lost = -min(deviation.get("whole_brain", 0.0), 0.0)
    width = target["lateral_ventricle"] * person.ventricle_factor * (1 + VENTRICLE_GAIN * lost)
    return target | {"lateral_ventricle": min(width, LARGEST_VENTRICLES_ML)}


def _moved(person: Head, target: dict[str, float]) -> np.ndarray:
    """The map at the working voxels, float32 (3, x, y, z), after ventricles and deep structures took their volumes."""
    points = to_voxels(_widened(person, target["lateral_ventricle"]), person)
    for name in SCALED * 2:                                     # twice: neighbours push one another
        _scale(points, person, name, target[name])
    return points


def _cut(source: Atlas, structures: np.ndarray, points: np.ndarray, inside: np.ndarray, tissue_voxels: float,
         cortex_share: float) -> None:
    """Decide CSF, cortex and white matter where the atlas leaves it open, so that the tissue has its volume.

    Atrophy moves both borders of the cortex along the brightness: sulci widen, and white matter retreats with them.
    """
    k = labels.CLASS
    left_right = [(k[f"{name}_left"], k[f"{name}_right"]) for name in ("cerebral_cortex", "cerebral_white_matter")]
    cerebellum = (k["cerebellum_cortex_left"], k["cerebellum_cortex_right"])
    classes = structures[inside]
    is_cerebellum = np.isin(classes, cerebellum)
    is_open = is_cerebellum | np.isin(classes, [*left_right[0], *left_right[1], k["csf"]])
    at = inside[is_open]
    is_cerebellum = is_cerebellum[is_open]
    bright = linear(source.brightness, points[:, at]) + CEREBELLUM_SPARED * is_cerebellum
    other = np.isin(classes[~is_open], TISSUE).sum()
    number = int(np.clip(tissue_voxels - other, 1, len(at) - 1))
    darkest = np.partition(bright, len(at) - number)[len(at) - number]
    tissue = bright >= darkest
    cerebral = tissue & ~is_cerebellum
    whites = int((1 - cortex_share) * cerebral.sum())
    ranked = bright[cerebral]
    border = np.partition(ranked, len(ranked) - whites)[len(ranked) - whites]
    (cortex_left, cortex_right), (white_left, white_right) = left_right
    csf = structures[at] == k["csf"]                            # elsewhere the class tells the side
    right = np.where(csf, points[0, at] >= 0, np.isin(structures[at], [cortex_right, white_right]))
    grey, white = np.where(right, cortex_right, cortex_left), np.where(right, white_right, white_left)
    cut = np.where(bright < border, grey, white)
    cut = np.where(is_cerebellum, structures[at], cut)
    structures[at] = np.where(tissue, cut, k["csf"])


def _left_share(person: Head, name: str) -> float:
    """How much of a structure lies on the left: of a person's own map as there, else a half and what the person leans.

    The template's own sides differ by up to a tenth, which would be a finding in a person.
    """
    if not person.atlas.own:
        return 0.5 * (1 + float(person.lean[SCALED.index(name)]))
    left, right = (person.atlas.counts[labels.CLASS[f"{name}_{side}"]] for side in ("left", "right"))
    return float(left / max(left + right, 1))


def _scale(points: np.ndarray, person: Head, name: str, target_ml: float) -> None:
    """Scale each side of a structure about its own centre, in place, until its volume is its share of the target."""
    cubic_ml, left = person.spacing**3 / 1000, _left_share(person, name)
    for side, share in (("left", left), ("right", 1 - left)):
        structure = f"{name}_{side}"
        centre, inverse = person.atlas.moments[structure]
        reach = FALLOFF[1] * np.sqrt(np.diag(np.linalg.inv(inverse))) + 6
        low, high = _node_box(person, np.stack([centre - reach, centre + reach]))
        box = tuple(slice(int(a * NODE_MM / person.spacing), int((b - 1) * NODE_MM / person.spacing))
                    for a, b in zip(low, high, strict=True))
        part = points[(slice(None), *box)]
        offset = part - centre.astype(np.float32)[:, None, None, None]
        flat = offset.reshape(3, -1)
        distance = np.sqrt(np.einsum("in,in->n", inverse.astype(np.float32) @ flat, flat)).reshape(part.shape[1:])
        fade = np.clip((FALLOFF[1] - distance) / (FALLOFF[1] - FALLOFF[0]), 0, 1)
        fade = fade * fade * (3 - 2 * fade)
        number, scale = labels.CLASS[structure], 1.0
        for _ in range(3):
            moved = nearest(person.atlas, part + np.float32(scale - 1) * fade * offset)
            volume = cubic_ml * np.count_nonzero(moved == number)
            scale *= (max(volume, 1e-3) / (share * target_ml)) ** (1 / 3)
            scale = float(np.clip(scale, SMALLEST_SCALE, LARGEST_SCALE))
        part += np.float32(scale - 1) * fade * offset


def _widened(person: Head, target_ml: float) -> np.ndarray:
    """The nodes after the lateral ventricles were widened, or narrowed, to a volume: a flow, so it cannot fold."""
    ventricles = classes_of("lateral_ventricle")
    low, high = _node_box(person, person.atlas.ventricle_box)
    part = (slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))
    box = tuple(slice(int(a * NODE_MM / person.spacing), int((b - 1) * NODE_MM / person.spacing))
                for a, b in zip(low, high, strict=True))

    def volume(inner: np.ndarray) -> float:
        trial[part] = inner
        classes = nearest(person.atlas, to_voxels(trial, person, box))
        return np.isin(classes, ventricles).sum() * person.spacing**3 / 1000

    trial = person.nodes.copy()
    inner = person.nodes[part]
    now, direction = volume(inner), 0.0
    direction = 1.0 if now < target_ml else -1.0
    for _ in range(14):
        push = _push(person.atlas, inner.reshape(3, -1)).reshape(inner.shape)
        onward = inner - direction * push
        after = volume(onward)
        if (after - target_ml) * direction >= 0 or (after - now) * direction <= 0:
            share = np.clip((target_ml - now) / (after - now), 0, 1) if after != now else 0.0
            inner = inner + np.float32(share) * (onward - inner)
            break
        inner, now = onward, after
    trial[part] = inner
    return trial


def _push(source: Atlas, points: np.ndarray) -> np.ndarray:
    """The outward push from the lateral ventricles at points (3, n), atlas mm."""
    first = source.origin + (WIDENING_MM - SPACING) / 2
    at = (points - first.astype(np.float32)[:, None]) / np.float32(WIDENING_MM)
    return np.stack([ndimage.map_coordinates(source.widening[..., axis], at, order=1, mode="nearest", output=np.float32)
                     for axis in range(3)])


def _node_box(person: Head, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last + 1 node of a box (2, 3) of the atlas, as the person's affine part sees it."""
    points = np.array(np.meshgrid(*corners.T, indexing="ij")).reshape(3, -1)
    points = person.subject[:3, :3] @ points + person.subject[:3, 3:]
    edge = np.array(grid.CENTRE_MM) - np.array(grid.BOX_MM) / 2 + person.low * person.spacing
    low = np.clip(np.floor((points.min(axis=1) - edge) / NODE_MM), 0, None).astype(int)
    high = np.minimum(np.ceil((points.max(axis=1) - edge) / NODE_MM) + 1, person.nodes.shape[1:]).astype(int)
    return low, high
