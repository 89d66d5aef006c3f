"""How like two volumes are. Volumes are arrays of one contrast in any axis order; a mask says where it is asked."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from medfuse_jax.data import definitions
from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics.paired import volumes

SIGMA, TRUNCATE = 1.5, 3.5                                      # voxels, deviations: a window of 11 voxels
WINDOW = 2 * int(TRUNCATE * SIGMA + 0.5) + 1
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)        # finest first (Wang 2003, section 3.2)


def psnr(reference: ArrayLike, image: ArrayLike, mask: ArrayLike | None = None,
         data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(range^2 / mean squared error), over the mask (brain, lesions).

    Higher is better, infinity for equal images; no lower end. data_range: the reference's own extent inside the mask
    unless given; give one to compare regions or people. An empty mask gives nan. Huynh-Thu 2008 (Electron. Lett.
    44:800), and Wang 2004 (TIP 13:600) for its limits.
    """
    reference, image = volumes(reference, image)
    if mask is not None:
        inside = _mask(mask, reference)
        reference, image = reference[inside], image[inside]
    if not reference.size:
        return float("nan")
    extent = _extent(reference, data_range)
    error = float(np.mean((reference - image) ** 2))
    if error == 0:
        return float("inf")
    return 10.0 * float(np.log10(extent**2 / error)) if extent > 0 else float("-inf")


def ssim_map(reference: ArrayLike, image: ArrayLike, data_range: float | None = None,
             sigma: float = SIGMA) -> np.ndarray:
    """Structural similarity at each voxel: Gaussian window of 11 voxels (sigma 1.5), Wang 2004 (TIP 13:600) in 3D."""
    reference, image = volumes(reference, image)
    return _similarity(reference, image, _extent(reference, data_range), sigma).ssim


def ssim(reference: ArrayLike, image: ArrayLike, mask: ArrayLike | None = None,
         data_range: float | None = None, sigma: float = SIGMA) -> float:
    """Mean structural similarity over the mask (Wang 2004, TIP 13:600), -1 to 1, higher is better, 1 for equal images.

    Without a mask the borders narrower than half a window are left out, as scikit-image does; with one (brain, lesions)
    every voxel of it counts. An empty mask gives nan.
    """
    similarity = ssim_map(reference, image, data_range, sigma)
    if not similarity.size:
        return float("nan")
    weight = _border(similarity.shape, sigma) if mask is None else _mask(mask, similarity)
    return float(similarity[weight].mean()) if weight.any() else float("nan")


def ms_ssim(reference: ArrayLike, image: ArrayLike, mask: ArrayLike | None = None,
            data_range: float | None = None) -> float:
    """Multi-scale structural similarity (Wang 2003, Asilomar 37:1398) in 3D, 0 to 1, higher is better, equal: 1.

    Each scale halves the volume by means of 2 x 2 x 2 voxels (an odd last slice is dropped). The means of contrast and
    structure at each scale, and of the whole SSIM at the coarsest, are multiplied with exponents `SCALE_WEIGHTS`; a
    negative mean counts as 0. The five scales need 176 voxels along the shortest side: smaller volumes have as many as
    `scales` says, with the weights of the finest ones divided by their sum, and values of unequal numbers of scales
    cannot be compared. mask: a coarse voxel counts by its share of the mask. An empty mask gives nan.
    """
    reference, image = volumes(reference, image)
    if not reference.size:
        return float("nan")
    extent, count = _extent(reference, data_range), scales(reference.shape)
    weight = None if mask is None else _mask(mask, reference).astype(np.float64)
    exponents, product = np.array(SCALE_WEIGHTS[:count]) / sum(SCALE_WEIGHTS[:count]), 1.0
    for scale, exponent in enumerate(exponents):
        if scale:
            reference, image = halved(reference), halved(image)
            weight = None if weight is None else halved(weight)
        at = _similarity(reference, image, extent, SIGMA)
        value = at.ssim if scale == count - 1 else at.structure
        counts = _border(value.shape, SIGMA).astype(np.float64) if weight is None else weight
        if not counts.any():
            return float("nan")
        product *= max(float(np.average(value, weights=counts)), 0.0) ** exponent
    return float(product)


def scales(shape: tuple[int, ...]) -> int:
    """How many scales `ms_ssim` has: as long as the window of 11 voxels fits into the volume, 1 to 5."""
    return 1 + sum(min(shape) >> more >= WINDOW for more in range(1, len(SCALE_WEIGHTS)))


def halved(volume: np.ndarray) -> np.ndarray:
    """Means of blocks of two voxels along each axis; an odd last one is dropped."""
    for axis in range(volume.ndim):
        pairs = np.moveaxis(volume, axis, 0)[:volume.shape[axis] // 2 * 2]
        volume = np.moveaxis((pairs[::2] + pairs[1::2]) / 2, 0, axis)
    return volume


def around(mask: ArrayLike, spacing: definitions.Spacing, reach_mm: definitions.Real) -> np.ndarray:
    """A mask dilated by a distance, for scores of lesions with their surroundings: bool, centre to centre, x y z."""
    grown = np.array(mask, bool)
    box = definitions.bounding_box(grown)
    if box is None or reach_mm <= 0:
        return grown
    sides = definitions.spacing_of(spacing)
    box = tuple(slice(max(0, each.start - pad), each.stop + pad)
                for each, pad in zip(box, (reach_mm / sides).astype(int) + 1, strict=True))
    grown[box] = ndimage.distance_transform_edt(~grown[box], sampling=sides) <= reach_mm + 1e-6
    return grown


class _Similarity(NamedTuple):
    structure: np.ndarray       # contrast and structure
    ssim: np.ndarray            # with luminance


def _similarity(reference: np.ndarray, image: np.ndarray, extent: float, sigma: float) -> _Similarity:
    def window(a: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(a, sigma, truncate=TRUNCATE)

    def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
        return np.divide(over, under, out=np.ones_like(over), where=under > 0)

    c1, c2 = (0.01 * extent) ** 2, (0.03 * extent) ** 2
    mean_r, mean_i = window(reference), window(image)
    squares = window(reference * reference) + window(image * image)
    means = mean_r**2 + mean_i**2
    structure = 2 * (window(reference * image) - mean_r * mean_i) + c2, squares - means + c2
    luminance = 2 * mean_r * mean_i + c1, means + c1
    return _Similarity(ratio(*structure), ratio(luminance[0] * structure[0], luminance[1] * structure[1]))


def _border(shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """True where the window lies inside the volume, along the sides that are longer than the window."""
    edge, inside = int(TRUNCATE * sigma + 0.5), np.zeros(shape, bool)
    inside[tuple(slice(edge, n - edge) if n > 2 * edge else slice(None) for n in shape)] = True
    return inside


def _extent(reference: np.ndarray, data_range: float | None) -> float:
    return float(data_range) if data_range is not None else float(np.ptp(reference)) if reference.size else 0.0


def _mask(mask: ArrayLike, volume: np.ndarray) -> np.ndarray:
    mask = np.asarray(mask, bool)
    if mask.shape != volume.shape:
        raise MedFuseError(f"a mask of {mask.shape} says nothing of a volume of {volume.shape}: bring both to one grid")
    return mask
