"""How like two volumes are. Volumes are arrays of one contrast in any axis order; a mask says where it is asked."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage


def psnr(reference: ArrayLike, image: ArrayLike, mask: ArrayLike | None = None,
         data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(range^2 / mean squared error), over the mask (brain, lesions).

    Range 0 to infinity (equal images), higher is better. data_range: the reference's own extent inside the mask unless
    given; give one to compare regions or people. An empty mask gives nan. Wang 2004 (TIP 13:600) for its limits.
    """
    reference, image = (np.asarray(a, np.float64) for a in (reference, image))
    if mask is not None:
        reference, image = reference[np.asarray(mask, bool)], image[np.asarray(mask, bool)]
    if not reference.size:
        return float("nan")
    extent = float(np.ptp(reference)) if data_range is None else float(data_range)
    error = float(np.mean((reference - image) ** 2))
    if error == 0:
        return float("inf")
    return 10.0 * float(np.log10(extent**2 / error)) if extent > 0 else float("-inf")


def ssim_map(reference: ArrayLike, image: ArrayLike, data_range: float | None = None,
             sigma: float = 1.5) -> np.ndarray:
    """Structural similarity at each voxel: Gaussian window of 11 voxels (sigma 1.5), Wang 2004 (TIP 13:600) in 3D."""
    reference, image = (np.asarray(a, np.float64) for a in (reference, image))
    extent = float(np.ptp(reference)) if data_range is None else float(data_range)

    def window(a: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(a, sigma, truncate=3.5)

    c1, c2 = (0.01 * extent) ** 2, (0.03 * extent) ** 2
    mean_r, mean_i = window(reference), window(image)
    variance_r = window(reference * reference) - mean_r * mean_r
    variance_i = window(image * image) - mean_i * mean_i
    covariance = window(reference * image) - mean_r * mean_i
    likeness = (2 * mean_r * mean_i + c1) * (2 * covariance + c2)
    scale = (mean_r**2 + mean_i**2 + c1) * (variance_r + variance_i + c2)
    return np.divide(likeness, scale, out=np.ones_like(likeness), where=scale > 0)


def ssim(reference: ArrayLike, image: ArrayLike, mask: ArrayLike | None = None,
         data_range: float | None = None, sigma: float = 1.5) -> float:
    """Mean structural similarity over the mask (Wang 2004, TIP 13:600), -1 to 1, higher is better, 1 for equal images.

    Without a mask the borders narrower than half a window are left out, as scikit-image does; with one (brain, lesions)
    every voxel of it counts. An empty mask gives nan.
    """
    similarity = ssim_map(reference, image, data_range, sigma)
    if mask is not None:
        inside = similarity[np.asarray(mask, bool)]
    else:
        edge = int(3.5 * sigma + 0.5)
        inside = similarity[tuple(slice(edge, n - edge) if n > 2 * edge else slice(None) for n in similarity.shape)]
    return float(inside.mean()) if inside.size else float("nan")
