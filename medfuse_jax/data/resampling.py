"""From one grid to another by world position, never by index. Arrays are (x, y, z), affines in mm."""

import numpy as np
from scipy import ndimage

from medfuse_jax.data.grid import Grid

# A voxel is a box; blurring by a Gaussian of the same width at half height leaves what a coarser voxel can show.
HALF_WIDTH = 2.3548
POINTS_AT_ONCE = 2**20


def resample(array: np.ndarray, affine: np.ndarray, grid: Grid, order: int = 1) -> np.ndarray:
    """`array` on `grid`: linear (order 1) after a blur along axes that become coarser, or nearest (order 0: labels).

    What lies outside the source is 0. Labels keep their type, everything else is float32.
    """
    source = array if order == 0 else np.asarray(array, np.float32)
    matrix = np.round(np.linalg.inv(affine) @ grid.affine, 9)        # index on grid -> index on the source; rounded so
    linear, offset = matrix[:3, :3], matrix[:3, 3]                   # that a voxel on the very edge stays inside
    passed = np.abs(linear).max(axis=1)                              # source voxels per step, by source axis
    widths = np.sqrt(np.maximum(passed**2 - 1.0, 0.0)) / HALF_WIDTH
    if np.count_nonzero(linear - np.diag(np.diag(linear))) == 0:
        return _along_axes(source, np.diag(linear), offset, widths, grid.shape, order)
    if order > 0:
        for axis in np.flatnonzero(widths):
            source = ndimage.gaussian_filter1d(source, widths[axis], axis=axis, mode="nearest", truncate=3.0)
    if source.dtype == bool:               # scipy interpolates numbers only
        return resample(source.astype(np.uint8), affine, grid, order).astype(bool)
    return ndimage.affine_transform(source, linear, offset=offset, output_shape=grid.shape, order=order,
                                    mode="constant", cval=0, prefilter=False)


def _along_axes(source: np.ndarray, scale: np.ndarray, offset: np.ndarray, widths: np.ndarray,
                shape: tuple[int, int, int], order: int) -> np.ndarray:
    """Parallel grids: one small matrix per axis, many times faster than a general transform."""
    for axis, length in sorted(enumerate(shape), key=lambda each: each[1] > 1):        # a single slice is cut out first
        last = source.shape[axis] - 1
        places = offset[axis] + scale[axis] * np.arange(length)
        inside = (places >= -0.5 * (order == 0)) & (places <= last + 0.5 * (order == 0))
        if order == 0:
            nearest = np.clip(np.floor(places + 0.5), 0, last).astype(np.int64)
            chosen = np.take(source, nearest, axis=axis)
            source = chosen * np.expand_dims(inside, [a for a in range(3) if a != axis]).astype(source.dtype)
            continue
        hat = np.maximum(1.0 - np.abs(places[:, None] - np.arange(last + 1)), 0.0) * inside[:, None]
        if widths[axis] > 0:
            hat = hat @ ndimage.gaussian_filter1d(np.eye(last + 1), widths[axis], axis=0, mode="nearest", truncate=3.0)
        source = np.moveaxis(np.tensordot(hat.astype(np.float32), source, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(source)


def coarser(like: Grid, spacing: float) -> Grid:
    """The same box and axes as `like`'s, in voxels of at most `spacing` mm."""
    counts = np.maximum(np.ceil(np.array(like.shape) * like.spacing / spacing), 1).astype(int)
    zoom = np.diag([*(np.array(like.shape) / counts), 1.0])
    zoom[:3, 3] = (np.diag(zoom)[:3] - 1) / 2
    return Grid(tuple(int(count) for count in counts), like.affine @ zoom)


def fraction(mask: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """Which part of each voxel of `grid` a mask covers, 0 .. 1 (float32): volume is kept, however coarse the grid.

    Each voxel of the mask is shared out in small boxes; the number of boxes is even, so that grids that are shifted
    by half a voxel are exact too.
    """
    matrix = np.linalg.inv(grid.affine) @ affine                                     # source index -> grid index
    size = np.abs(matrix[:3, :3]).max(axis=0)                                        # of a source voxel, in grid voxels
    counts = [2 * int(np.ceil(max(1.0, 2.0 * side))) for side in size]
    inside = [(np.arange(count) + 0.5) / count - 0.5 for count in counts]
    parts = np.stack(np.meshgrid(*inside, indexing="ij"), axis=-1).reshape(-1, 3)
    share = abs(np.linalg.det(matrix[:3, :3])) / len(parts)
    voxels, total = np.argwhere(mask), np.zeros(int(np.prod(grid.shape)))
    chunk = max(1, POINTS_AT_ONCE // len(parts))
    for start in range(0, len(voxels), chunk):
        points = (voxels[start:start + chunk, None] + parts).reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
        places = np.floor(points + 0.5).astype(np.int64)
        places = places[((places >= 0) & (places < grid.shape)).all(axis=1)]
        total += np.bincount(np.ravel_multi_index(tuple(places.T), grid.shape), minlength=total.size)
    return np.minimum(total * share, 1.0).reshape(grid.shape).astype(np.float32)
