"""Labels by Bayes: an atlas of where each class lies, bent to the person, and the brightnesses of each class."""

import numpy as np
from jaxtyping import Float, Int

from medfuse_jax.methods.linear import reduced

SMEAR = 5e-3            # least variance of the brightness of a class, in squared medians of the brain


def shares(structures: Int[np.ndarray, "d h w"], lesion: Float[np.ndarray, "d h w"], shape: tuple[int, ...],
           classes: int) -> Float[np.ndarray, "z y x k"]:
    """The part of each cell of a coarser grid that each class takes up, and last the part that is lesion."""
    factor = structures.shape[0] // shape[0]
    z, y, x = (np.arange(side) // factor for side in structures.shape)
    cell = (z[:, None, None] * shape[1] + y[:, None]) * shape[2] + x
    told = np.bincount((cell * classes + structures).reshape(-1), minlength=np.prod(shape) * classes)
    sick = np.bincount(cell.reshape(-1), lesion.reshape(-1), minlength=np.prod(shape))
    counted = np.concatenate([told.reshape(*shape, classes), sick.reshape(*shape, 1)], axis=-1)
    return (counted / factor**3).astype(np.float32)


def logits(mean: Float[np.ndarray, "z y x k"], studies: int) -> Float[np.ndarray, "z y x k"]:
    """Log of the mean share of each class at each place, and log odds of a lesion; smoothed as for so many studies."""
    usual = mean.mean(axis=(0, 1, 2), keepdims=True)
    smooth = (studies * mean + 0.05 * usual + 1e-3) / (studies + 0.1)
    return np.concatenate([np.log(smooth[..., :-1]), np.log(smooth[..., -1:] / (1 - smooth[..., -1:]))], axis=-1)


def bent(latents: Float[np.ndarray, "n d"], parts: Float[np.ndarray, "n z y x k"], rank: int,
         ridge: float = 0.1) -> dict[str, np.ndarray]:
    """How the shares follow the latent: mean (z y x k), axes (r d), centre (r), effects (r z y x k).

    shares = mean + (axes @ latent - centre) @ effects. Rare classes count for as much as frequent ones.
    """
    shape, mean = parts.shape[1:], parts.mean(axis=0)
    weight = 1.0 / np.sqrt(np.maximum(mean.mean(axis=(0, 1, 2)), 1e-4))
    middle = latents.mean(axis=0)
    axes, effects = reduced(latents - middle, ((parts - mean) * weight).reshape(len(parts), -1), rank, ridge)
    return {"mean": mean, "axes": axes.T, "centre": middle @ axes, "effects": effects.reshape(-1, *shape) / weight}


def densities(sums: Float[np.ndarray, "k q q"]) -> dict[str, np.ndarray]:
    """Log of the Gaussian of the brightnesses of each class, from its sum of (1, v)(1, v)'.

    As a dense layer on v and its products v_i v_j, i <= j. A class without voxels has none (zero).
    """
    count = sums.shape[-1] - 1
    upper = np.triu_indices(count)
    kernel, bias = np.zeros((count + len(upper[0]), len(sums))), np.zeros(len(sums))
    for place, one in enumerate(sums):
        if one[0, 0] < 1:
            continue
        mean = one[0, 1:] / one[0, 0]
        covariance = one[1:, 1:] / one[0, 0] - np.outer(mean, mean) + SMEAR * np.eye(count)
        inverse = np.linalg.inv(covariance)
        double = np.where(upper[0] == upper[1], 1.0, 2.0)
        kernel[:, place] = np.concatenate([inverse @ mean, -0.5 * double * inverse[upper]])
        bias[place] = -0.5 * (mean @ inverse @ mean + np.linalg.slogdet(covariance)[1])
    return {"kernel": kernel, "bias": bias}
