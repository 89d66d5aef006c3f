"""One person's head without disease: a smooth map from subject to atlas, the template or the person's own label map.

All maps are backward: at a point of the subject (mm in the standard box) they tell the point of the atlas (mm).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from medfuse_jax.data import grid
from medfuse_jax.data.simulate.atlas import SPACING, Atlas, atlas

TEMPLATE_SHRINK = 0.92             # the template is inflated by 1.28 in volume [data]
HEAD_PERCENT = 2.8                 # standard deviation of linear head size within a sex [assume]
SEX_SCALE = {"F": 0.975, "M": 1.025}     # linear [assume]
LEAN = 0.02                        # standard deviation of the left share of a deep structure, beside a half [assume]
NODE_MM, KNOT_MM, ROUGHNESS_MM = 4.0, 32.0, 2.2
CROP_MM = 8.0            # the head's box ends on multiples of this, so that coarser grids nest in it


class Head(NamedTuple):
    """A person's anatomy without disease: the nodes of the map, every NODE_MM of the head's box."""

    nodes: np.ndarray              # float32 (3, nx, ny, nz): atlas mm at the nodes
    low: np.ndarray                # first voxel of the box on grid.standard(spacing)
    shape: tuple[int, int, int]    # of the box, in voxels
    spacing: float                 # working voxel, mm
    subject: np.ndarray            # 4 x 4 affine part: atlas mm -> subject mm
    ventricle_factor: float        # how wide this person's ventricles are for the age
    lean: np.ndarray               # by how much more than a half of each deep structure lies on the left, as a share
    atlas: Atlas                   # what the map leads to

    @property
    def smallest_jacobian(self) -> float:
        """The least determinant of the map's derivative: above 0 it does not fold."""
        return float(jacobians(self.nodes, NODE_MM).min())


@lru_cache(maxsize=8)
def _upsampling(nodes: int, voxels: int, first: float, step: float) -> np.ndarray:
    """Linear interpolation (voxels, nodes) from nodes at 0, 1, 2 ... to first + step * i, float32."""
    at = np.clip(first + step * np.arange(voxels), 0, nodes - 1)
    left = np.minimum(at.astype(int), nodes - 2)
    matrix = np.zeros((voxels, nodes), np.float32)
    matrix[np.arange(voxels), left] = 1 - (at - left)
    matrix[np.arange(voxels), left + 1] += at - left
    return matrix


def along_axes(values: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    """Apply one matrix along each of the last three axes of values (..., x, y, z)."""
    for matrix in matrices:             # the first axis goes last each time, so after three all are back in order
        values = np.moveaxis(np.tensordot(matrix, values, axes=(1, values.ndim - 3)), 0, -1)
    return np.ascontiguousarray(values)


def cubic(points: np.ndarray, knots: int) -> np.ndarray:
    """Cubic B-spline basis (points, knots) at positions in knot units, knot 0 at -1; float32."""
    distance = np.abs(points[:, None] - (np.arange(knots)[None] - 1))
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, inner, outer).astype(np.float32)


def smooth_field(random: np.random.Generator, shape_mm: np.ndarray, nodes: tuple[int, ...], knot_mm: float,
                 step_mm: float, channels: int = 1) -> np.ndarray:
    """Gaussian noise on knots, made smooth by cubic splines: (channels, *nodes), about unit variance, float32."""
    bases, knots = [], []
    for extent, number in zip(shape_mm, nodes, strict=True):
        count = int(np.ceil(extent / knot_mm)) + 4
        bases.append(cubic(np.arange(number) * step_mm / knot_mm, count))
        knots.append(count)
    noise = random.standard_normal((channels, *knots)).astype(np.float32)
    return along_axes(noise, bases) / 0.31        # variance of a cubic spline of unit noise: 0.479^3, rms 0.33


def jacobians(nodes: np.ndarray, step: float) -> np.ndarray:
    """Determinant of the map's derivative between neighbouring nodes (3, x, y, z) -> (x-1, y-1, z-1)."""
    base = nodes[:, :-1, :-1, :-1]
    rows = np.stack([nodes[:, 1:, :-1, :-1] - base, nodes[:, :-1, 1:, :-1] - base, nodes[:, :-1, :-1, 1:] - base])
    return np.linalg.det(np.moveaxis(rows, (0, 1), (-1, -2))) / step**3


def head(random: np.random.Generator, sex: str, spacing: float, source: Atlas | None = None) -> Head:
    """Draw a person's head: size by sex, a small rotation and shift, a smooth deformation that does not fold.

    source: the person's own label map, whose size is kept; None: the template.
    """
    source = source or atlas()
    size = TEMPLATE_SHRINK * SEX_SCALE[sex] * (1 + HEAD_PERCENT / 100 * np.clip(random.standard_normal(), -2.5, 2.5))
    stretch = size * (1 + 0.012 * random.standard_normal(3).clip(-2, 2))
    if source.own:
        stretch = np.ones(3)
    angles = np.deg2rad(2.5) * random.standard_normal(3).clip(-2, 2)
    turn = _rotation(angles)
    centre, shift = np.array(grid.CENTRE_MM), 2.0 * random.standard_normal(3).clip(-2, 2)
    subject = np.eye(4)
    subject[:3, :3] = turn * stretch
    subject[:3, 3] = centre + shift - subject[:3, :3] @ centre

    corners = np.array(np.meshgrid(*source.brain_box.T, indexing="ij")).reshape(3, -1)
    corners = subject[:3, :3] @ corners + subject[:3, 3:]
    edge = np.array(grid.CENTRE_MM) - np.array(grid.BOX_MM) / 2
    low = np.clip(np.floor((corners.min(axis=1) - 4 - edge) / CROP_MM), 0, None)
    high = np.minimum(np.ceil((corners.max(axis=1) + 4 - edge) / CROP_MM), np.array(grid.BOX_MM) // CROP_MM)
    extent = (high - low) * CROP_MM
    counts = tuple(int(n) for n in extent / NODE_MM + 1)
    points = np.stack(np.meshgrid(*[np.arange(n) * NODE_MM for n in counts], indexing="ij")).astype(np.float32)
    points += (edge + low * CROP_MM).astype(np.float32)[:, None, None, None]
    inverse = np.linalg.inv(subject).astype(np.float32)
    straight = np.tensordot(inverse[:3, :3], points, axes=1) + inverse[:3, 3, None, None, None]
    bend = ROUGHNESS_MM * smooth_field(random, extent, counts, KNOT_MM, NODE_MM, channels=3)
    while jacobians(straight + bend, NODE_MM).min() <= 0.15:
        bend /= 2
    shape = tuple(int(n) for n in extent / spacing)
    ventricles = float(np.exp(0.3 * np.clip(random.standard_normal(), -2, 2)))
    lean = LEAN * random.standard_normal(4).clip(-2, 2)
    return Head((straight + bend).astype(np.float32), np.round(low * CROP_MM / spacing).astype(int), shape, spacing,
                subject, 1.0 if source.own else ventricles, lean, source)


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation matrix of three small angles (radians) about x, y, z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def to_voxels(nodes: np.ndarray, person: Head, box: tuple[slice, ...] | None = None) -> np.ndarray:
    """The map at the working voxels of the head's box, or of a part of it: float32 (3, x, y, z), atlas mm."""
    box = box or tuple(slice(0, n) for n in person.shape)
    step = person.spacing / NODE_MM
    matrices = [_upsampling(n, size, step / 2, step)[part]
                for n, size, part in zip(nodes.shape[1:], person.shape, box, strict=True)]
    return along_axes(nodes, matrices)


def nearest(source: Atlas, points: np.ndarray) -> np.ndarray:
    """Class of an atlas at points (3, ...) in its mm; background outside."""
    first = (source.origin - SPACING / 2).astype(np.float32)
    place = np.zeros(points.shape[1:], np.intp)        # in the flat atlas: half the time of one index an axis
    for axis, size in enumerate(source.structures.shape):
        at = (points[axis] - first[axis]) / np.float32(SPACING)
        np.clip(at, 0, size - 1, out=at)
        place *= size
        place += at.astype(np.int32)
    return source.structures.reshape(-1).take(place)


def linear(volume: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A volume of an atlas at points (3, n), linear, float32."""
    at = (points - grid.standard(SPACING).affine[:3, 3].astype(np.float32)[:, None]) / np.float32(SPACING)
    return ndimage.map_coordinates(volume, at, order=1, mode="nearest", output=np.float32)
