"""Lesions put into a brain by plan: in the region that was asked for, of the volume that was asked for, apart."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import ndimage

from medfuse_jax.data import labels
from medfuse_jax.data.definitions import (
    CORTEX,
    DEEP_GREY,
    INFRATENTORIAL,
    JUXTACORTICAL_MM,
    LATERAL_VENTRICLES,
    PERIVENTRICULAR_MM,
    TOUCHING_26,
    near,
)
from medfuse_jax.data.simulate.life import Planned

WHITE_MATTER = labels.classes_in("white_matter")
TRIES = 40
LARGE_POWER, APART_MM = 5, 30.0        # lesions above CONFLUENT_MM3 start where lesions are likely, and apart [assume]
UNEVEN = 0.22                          # standard deviation of the logarithm of a confluent lesion's reach [assume]
CONFLUENT_MM3, CLINGING = 1000.0, 4.0   # above this size, a mm from the ventricle counts as so many along it [assume]


@dataclass(frozen=True)
class Placed:
    """A lesion in a head: its voxels (n, 3) of the head's box, seed first, so that any first m of them are a lesion."""

    plan: Planned
    voxels: np.ndarray

    def at(self, years: float) -> np.ndarray:
        """The voxels that a visit at this date sees."""
        number = int(np.ceil(self.plan.share(years) * len(self.voxels) - 1e-9))
        return _piece(self.voxels[:number]) if 1 < number < len(self.voxels) else self.voxels[:number]


def _piece(voxels: np.ndarray) -> np.ndarray:
    """Those of the voxels (n, 3) that hang together with the first, in their order."""
    low = voxels.min(axis=0)
    chosen = np.zeros(voxels.max(axis=0) - low + 1, bool)
    at = tuple((voxels - low).T)
    chosen[at] = True
    pieces = ndimage.label(chosen, TOUCHING_26)[0][at]
    return voxels[pieces == pieces[0]]


class Ground:
    """Where lesions of each region may start and grow in one brain, and what is taken already."""

    def __init__(self, structures: np.ndarray, spacing: float, likely: np.ndarray | None = None):
        self.structures, self.spacing, self.likely = structures, spacing, likely
        white = np.isin(structures, WHITE_MATTER)
        deep_grey = np.isin(structures, DEEP_GREY)
        cortex = np.isin(structures, CORTEX)
        lower = np.isin(structures, INFRATENTORIAL)
        ventricles = np.isin(structures, LATERAL_VENTRICLES)
        self.ventricles = ventricles
        beside = _band(white | deep_grey | cortex, ventricles, spacing, PERIVENTRICULAR_MM)
        under = _band(white & ~beside, cortex, spacing, JUXTACORTICAL_MM)
        free = ~beside
        self.starts = {
            "infratentorial": lower & ~np.isin(structures, [labels.CLASS["cerebellum_cortex_left"],
                                                            labels.CLASS["cerebellum_cortex_right"]]),
            "periventricular": beside & white, "deep_grey": deep_grey & free, "cortical": cortex & free,
            "juxtacortical": under, "deep_white": white & free & ~under,
        }
        self.grows = {
            "infratentorial": lower, "periventricular": white, "deep_grey": deep_grey & free, "cortical": cortex & free,
            "juxtacortical": white & free, "deep_white": white & free & ~under,
        }
        self.seeds = {region: np.flatnonzero(mask) for region, mask in self.starts.items()}
        self.large: list[np.ndarray] = []                     # middles of lesions above CONFLUENT_MM3
        self.blocked = np.zeros(structures.shape, bool)       # lesions and the gap of one voxel around them

    @cached_property
    def from_ventricles(self) -> np.ndarray:
        """Distance to the lateral ventricles, mm."""
        return ndimage.distance_transform_edt(~self.ventricles, self.spacing).astype(np.float32)

    def take(self, voxels: np.ndarray) -> None:
        """Block the voxels (n, 3) of a lesion and a gap around them."""
        if len(voxels) * self.spacing**3 > CONFLUENT_MM3:
            self.large.append(voxels.mean(axis=0))
        low = np.maximum(voxels.min(axis=0) - 1, 0)
        high = np.minimum(voxels.max(axis=0) + 2, self.structures.shape)
        part = np.zeros(high - low, bool)
        part[tuple((voxels - low).T)] = True
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        self.blocked[box] |= ndimage.binary_dilation(part, TOUCHING_26)


def _band(of: np.ndarray, target: np.ndarray, spacing: float, within_mm: float) -> np.ndarray:
    """Voxels of a mask that are near a target, as the definitions mean it."""
    spread = int(np.ceil(within_mm / spacing)) + 1
    box = tuple(slice(max(0, int(seen.min()) - spread), int(seen.max()) + spread + 1)
                for seen in (np.flatnonzero(target.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)))
    voxels = np.argwhere(of[box])
    kept = voxels[near(voxels, target[box], spacing, within_mm)]
    band = np.zeros(of.shape, bool)
    band[box][tuple(kept.T)] = True
    return band


def place(plan: list[Planned], structures: np.ndarray, spacing: float,
          likely: np.ndarray | None = None) -> list[Placed]:
    """Put a plan's lesions into a brain (uint8 classes of the head's box), the largest first. Deterministic.

    likely: how likely lesions are at each voxel, 0 to 1 (`sites`); None: alike everywhere in a region.
    Lesions keep a gap of one voxel, so that as many are measured as were planned; what finds no room is left out.
    """
    ground = Ground(structures, spacing, likely)
    placed = []
    for lesion in sorted(plan, key=lambda one: -one.volume_ml):
        number = max(1, round(lesion.volume_ml * 1000 / spacing**3))
        random = np.random.default_rng(lesion.seed)
        voxels = _best(ground, lesion.region, number, random)
        if voxels is not None:
            ground.take(voxels)
            placed.append(Placed(lesion, voxels))
    return placed


def _best(ground: Ground, region: str, number: int, random: np.random.Generator) -> np.ndarray | None:
    """Grow from a few places and keep the first that reaches its size, or the largest."""
    best = None
    for _ in range(4):
        seed = _seed(ground, region, random, number * ground.spacing**3 > CONFLUENT_MM3)
        if seed is None:
            break
        voxels = _grow(ground, region, seed, number, random)
        if best is None or len(voxels) > len(best):
            best = voxels
        if len(best) >= number:
            break
    return best


def _seed(ground: Ground, region: str, random: np.random.Generator, large: bool) -> np.ndarray | None:
    """A free voxel where a lesion of the region may start; large ones keep closer to where lesions are likely."""
    seeds, taken = ground.seeds[region], ground.blocked.reshape(-1)
    if not len(seeds):
        return None
    drawn = seeds[random.integers(len(seeds), size=4 * TRIES if large else TRIES)]
    free = drawn[~taken[drawn]]
    if not len(free):
        free = seeds[~taken[seeds]]
        if not len(free):
            return None
    which = 0
    if ground.likely is not None:
        weight = ground.likely.reshape(-1)[free].astype(np.float64) ** (LARGE_POWER if large else 1)
        for centre in ground.large if large else ():
            apart = np.stack(np.unravel_index(free, ground.structures.shape), axis=-1) - centre
            weight *= 1 - 0.95 * np.exp(-(apart**2).sum(axis=-1) / (2 * (APART_MM / ground.spacing) ** 2))
        which = np.searchsorted(np.cumsum(weight), random.random() * weight.sum())
    return np.array(np.unravel_index(free[min(which, len(free) - 1)], ground.structures.shape))


def _grow(ground: Ground, region: str, seed: np.ndarray, number: int, random: np.random.Generator) -> np.ndarray:
    """The `number` voxels nearest to the seed by an uneven distance that hang together, nearest first."""
    radius = (3 * number / (4 * np.pi)) ** (1 / 3)
    wide = region == "periventricular" and number * ground.spacing**3 > CONFLUENT_MM3
    for reach in (3.0, 6.0) if wide else (2.2, 4.0):
        half = int(np.ceil(reach * radius)) + 2
        low = np.maximum(seed - half, 0)
        high = np.minimum(seed + half + 1, ground.structures.shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        allowed = ground.grows[region][box] & ~ground.blocked[box]
        offsets = _offsets(tuple(int(n) for n in high - low)) - (seed - low)
        distance = _uneven(ground, region, seed, offsets, number, random)
        found = _connected(allowed, distance, seed - low, number)
        if len(found) >= number:
            break
    return found + low


@lru_cache(maxsize=64)
def _offsets(shape: tuple[int, int, int]) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1).astype(np.float32)


def _uneven(ground: Ground, region: str, seed: np.ndarray, offsets: np.ndarray, number: int,
            random: np.random.Generator) -> np.ndarray:
    """Distance from the seed, stretched along an axis and roughened; offsets (x, y, z, 3) in voxels."""
    axis, stretch = random.standard_normal(3), random.uniform(1.0, 1.7)
    if region == "periventricular":
        if number * ground.spacing**3 > CONFLUENT_MM3:  # a confluent cap: along the ventricle, and not far from it
            rough = _rough(random, offsets.shape[:3], (1.5, 4.0), ground.spacing)
            low = (seed + offsets[0, 0, 0]).astype(int)
            box = tuple(slice(a, a + n) for a, n in zip(low, offsets.shape[:3], strict=True))
            from_wall = ground.from_ventricles[box] / np.float32(ground.spacing)
            reach = np.sqrt((offsets**2).sum(axis=-1) + (np.float32(CLINGING) * from_wall) ** 2)
            if ground.likely is not None:
                reach = reach / np.sqrt(ground.likely[box])
            return reach * np.exp(UNEVEN * rough)
        # an ovoid at right angles to the ventricle (Dawson's finger)
        axis, stretch = _away(ground, seed) + 0.2 * axis, random.uniform(1.3, 2.2)
    axis = (axis / np.linalg.norm(axis)).astype(np.float32)
    along = offsets @ axis
    square = np.maximum((offsets**2).sum(axis=-1) - along**2, 0) + (along / np.float32(stretch)) ** 2
    rough = random.standard_normal(offsets.shape[:3], dtype=np.float32)
    if number > 12:
        rough = ndimage.gaussian_filter(rough, 1.5) * 6.0
    return np.sqrt(square) * (1 + 0.15 * np.clip(rough, -2.5, 2.5)) + 1e-3 * np.abs(along)


def _rough(random: np.random.Generator, shape: tuple[int, ...], scales_mm: tuple[float, ...],
           spacing: float) -> np.ndarray:
    """Smooth noise of several scales (x, y, z), about unit variance: rims of lesions have no one curvature."""
    found = np.zeros(shape, np.float32)
    for scale in scales_mm:
        noise = ndimage.gaussian_filter(random.standard_normal(shape, dtype=np.float32), max(scale / spacing, 0.6))
        found += noise / max(float(noise.std()), 1e-6)
    return found / np.float32(np.sqrt(len(scales_mm)))


def _away(ground: Ground, seed: np.ndarray) -> np.ndarray:
    """Direction from the lateral ventricle near a voxel to that voxel."""
    half = int(np.ceil(8 / ground.spacing))
    low = np.maximum(seed - half, 0)
    part = ground.ventricles[tuple(slice(a, b + half + 1) for a, b in zip(low, seed, strict=True))]
    voxels = np.argwhere(part)
    away = seed - low - voxels.mean(axis=0) if len(voxels) else np.array([1.0, 0, 0])
    return away if np.linalg.norm(away) > 0 else np.array([1.0, 0, 0])


def _connected(allowed: np.ndarray, distance: np.ndarray, seed: np.ndarray, number: int) -> np.ndarray:
    """Voxels (n, 3) of the seed's 26-connected piece among the nearest allowed ones, nearest first, n <= number."""
    distance[tuple(seed)] = -1.0
    candidates = np.flatnonzero(allowed.reshape(-1))
    if number == 1 or len(candidates) <= 1:
        return seed[None]
    candidates = candidates[np.argsort(distance.reshape(-1)[candidates], kind="stable")]
    wanted, mine = number, candidates[:1]
    for _ in range(8):
        chosen = np.zeros(allowed.shape, bool)
        chosen.reshape(-1)[candidates[:wanted]] = True
        pieces, _ = ndimage.label(chosen, TOUCHING_26)
        mine = candidates[:wanted][pieces.reshape(-1)[candidates[:wanted]] == pieces[tuple(seed)]]
        if len(mine) >= number or wanted >= len(candidates):
            break
        wanted += max(number - len(mine), wanted // 8)
    voxels = np.stack(np.unravel_index(mine, allowed.shape), axis=-1)
    kept = _piece(voxels[:number])
    while len(kept) < min(number, len(voxels)):                # a bridge was cut off: take what touches instead
        near_kept = np.zeros(allowed.shape, bool)
        near_kept[tuple(kept.T)] = True
        rest = ndimage.binary_dilation(near_kept, TOUCHING_26) & ~near_kept
        kept = np.concatenate([kept, voxels[rest[tuple(voxels.T)]][: number - len(kept)]])
    return kept
