"""How far apart the surfaces of two masks lie, in mm. Nothing against nothing is full agreement.

A surface lies where voxels of the mask and voxels outside it meet (what leaves the grid is outside). Its points are the
corners of voxels of which some but not all eight neighbours belong to the mask, and a point counts by the area of the
surface that passes between those eight, as in the program of Nikolov 2018 (arXiv 1809.04430).
"""

from functools import lru_cache
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

from medfuse_jax.data import definitions
from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics.paired import masks

# The cube between the centres of eight voxels: a corner is a voxel.
Corner = tuple[int, int, int]
Edge = tuple[Corner, Corner]
CORNERS: tuple[Corner, ...] = tuple(product((0, 1), repeat=3))
EDGES: tuple[Edge, ...] = tuple((a, b) for a, b in combinations(CORNERS, 2)
                                if sum(x != y for x, y in zip(a, b, strict=True)) == 1)
FACES = tuple(frozenset(c for c in CORNERS if c[axis] == side) for axis in range(3) for side in (0, 1))


class Surfaces(NamedTuple):
    """Points of both surfaces: how far each is from the other surface (mm), and its area (mm2)."""

    truth_mm: np.ndarray
    truth_mm2: np.ndarray
    guess_mm: np.ndarray
    guess_mm2: np.ndarray


def surfaces(truth: ArrayLike, guess: ArrayLike, spacing: definitions.Spacing) -> Surfaces:
    """Exact Euclidean distances between the surfaces of two masks (x y z); infinite to an empty mask."""
    truth, guess = masks(truth, guess)
    if truth.ndim != 3:
        raise MedFuseError(f"a mask of {truth.ndim} axes has no surface: give x y z")
    sides = definitions.spacing_of(spacing)
    box = definitions.bounding_box(truth | guess)
    if box is None:
        return Surfaces(*(np.zeros(0),) * 4)
    (one, one_mm2), (other, other_mm2) = (_points(mask[box], sides) for mask in (truth, guess))
    return Surfaces(_distances(one, other), one_mm2, _distances(other, one), other_mm2)


def hd95(truth: ArrayLike, guess: ArrayLike, spacing: definitions.Spacing,
         percentile: definitions.Real = 95.0) -> float:
    """95th percentile of the Hausdorff distance, mm, 0 to infinity, lower is better (Huttenlocher 1993, Nikolov 2018).

    The larger of the two directions; in each, 95 % of the surface's area lie nearer to the other surface. percentile
    100 is the Hausdorff distance itself. 0 when both masks are empty, infinity when one is.
    """
    found = surfaces(truth, guess, spacing)
    if not len(found.truth_mm) and not len(found.guess_mm):
        return 0.0
    return max(_percentile(found.truth_mm, found.truth_mm2, percentile),
               _percentile(found.guess_mm, found.guess_mm2, percentile))


def surface_dice(truth: ArrayLike, guess: ArrayLike, spacing: definitions.Spacing,
                 tolerance_mm: definitions.Real) -> float:
    """Normalised surface Dice: share of both surfaces' area that lies within a tolerance of the other (Nikolov 2018).

    0 to 1, higher is better; 1 when both masks are empty, 0 when one is. Values of other tolerances cannot be compared.
    """
    found = surfaces(truth, guess, spacing)
    total = found.truth_mm2.sum() + found.guess_mm2.sum()
    if not total:
        return 1.0
    near = tolerance_mm + 1e-6
    within = found.truth_mm2[found.truth_mm <= near].sum() + found.guess_mm2[found.guess_mm <= near].sum()
    return float(within / total)


def mean_distance(truth: ArrayLike, guess: ArrayLike, spacing: definitions.Spacing) -> float:
    """Average symmetric surface distance, mm, by area, 0 to infinity, lower is better (Heimann 2009, TMI 28:1251).

    0 when both masks are empty, infinity when one is.
    """
    found = surfaces(truth, guess, spacing)
    distances, areas = np.r_[found.truth_mm, found.guess_mm], np.r_[found.truth_mm2, found.guess_mm2]
    return float(np.average(distances, weights=areas)) if len(distances) else 0.0


def _points(mask: np.ndarray, sides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of a mask's surface, (n, 3) mm, and the area at each, (n,) mm2."""
    padded = np.pad(mask, 1).astype(np.uint8)
    code = sum((padded[tuple(slice(at, at + n + 1) for at, n in zip(corner, mask.shape, strict=True))] << bit
                for bit, corner in enumerate(CORNERS)), start=np.uint8(0))
    places = np.nonzero((code > 0) & (code < 255))
    return np.stack(places, axis=1) * sides, _areas(*sides)[code[places]]


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    return KDTree(others).query(points)[0] if len(others) else np.full(len(points), np.inf)


@lru_cache(maxsize=64)
def _areas(*sides: float) -> np.ndarray:
    """Area of each code's triangles, (256,) mm2."""
    return np.array([_area(triangles, np.array(sides)) for triangles in _triangles()])


@lru_cache(maxsize=1)
def _triangles() -> tuple[np.ndarray, ...]:
    """For each of the 256 codes of eight voxels (bit k: `CORNERS[k]`) the surface's triangles, (n, 3 corners, 3).

    Marching cubes (Lorensen 1987) with vertices in the middle of edges. A polygon that is not flat is cut into the fan
    of the largest area: with it the areas of all 256 codes are those of Nikolov's table, for any spacing.
    """
    codes = [frozenset(corner for bit, corner in enumerate(CORNERS) if code >> bit & 1) for code in range(256)]
    return tuple(np.array([triangle for polygon in _polygons(inside) for triangle in _fan(polygon)]).reshape(-1, 3, 3)
                 for inside in codes)


def _polygons(inside: frozenset[Corner]) -> list[np.ndarray]:
    """Closed polygons, (n, 3), that part the corners inside from those outside."""
    cut = [edge for edge in EDGES if (edge[0] in inside) != (edge[1] in inside)]
    fewer = inside if len(inside) <= 4 else frozenset(CORNERS) - inside
    linked: dict[Edge, list[Edge]] = {edge: [] for edge in cut}
    for face in FACES:
        here = [edge for edge in cut if face.issuperset(edge)]
        # Four cut edges: two corners across, and those of the rarer kind are held apart.
        pairs = [here] if len(here) == 2 else [[e for e in here if corner in e] for corner in face & fewer] * bool(here)
        for one, other in pairs:
            linked[one].append(other)
            linked[other].append(one)
    found = []
    while linked:
        polygon = [next(iter(linked))]
        while onward := [edge for edge in linked.pop(polygon[-1]) if edge in linked]:
            polygon.append(onward[0])
        found.append(np.array(polygon).mean(axis=1))
    return found


def _fan(polygon: np.ndarray) -> np.ndarray:
    """The triangles, (n, 3, 3), from one of its vertices to all others: the vertex that gives the largest area."""
    turned = [np.roll(polygon, -start, axis=0) for start in range(len(polygon))]
    fans = [np.stack([np.broadcast_to(one[0], one[2:].shape), one[1:-1], one[2:]], axis=1) for one in turned]
    return max(fans, key=lambda fan: round(_area(fan, np.ones(3)), 6))


def _area(triangles: np.ndarray, sides: np.ndarray) -> float:
    corners = triangles * sides
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(np.linalg.norm(normals, axis=1).sum() / 2)


def _percentile(distances: np.ndarray, areas: np.ndarray, percentile: definitions.Real) -> float:
    """The least distance within which that share of the area lies; infinity where there is no surface."""
    if not len(distances):
        return float("inf")
    order = np.argsort(distances)
    reached = np.cumsum(areas[order])
    place = np.searchsorted(reached, percentile / 100.0 * reached[-1] * (1.0 - 1e-9))
    return float(distances[order][min(int(place), len(distances) - 1)])
