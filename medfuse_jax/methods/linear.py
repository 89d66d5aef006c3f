"""What needs no descent: the best linear autoencoder of cubes, and regressions of few numbers on many."""

import numpy as np
from jaxtyping import Float

NOISE = 1e-3            # variance of a scan's noise, in squared medians of the brain


class Moments:
    """Mean and covariance of the coefficients of cubes (wavelet bands x contrasts), where contrasts may be missing.

    A pair of contrasts is judged on the cubes that have both; of a contrast that none has, both moments are zero.
    """

    def __init__(self, bands: int, contrasts: int):
        self.bands, size = bands, bands * contrasts
        self.total, self.square, self.cubes = np.zeros(size), np.zeros((size, size)), np.zeros((contrasts, contrasts))

    def add(self, cubes: Float[np.ndarray, "n g"], present: Float[np.ndarray, "c"]) -> None:
        """More cubes, all of a study with these contrasts; the contrast is the faster part of g."""
        present = present.astype(np.float64)
        seen = cubes.astype(np.float64) * np.tile(present, self.bands)
        self.total += seen.sum(axis=0)
        self.square += seen.T @ seen
        self.cubes += len(cubes) * np.outer(present, present)

    def told(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance; what different pairs would make negative is clipped."""
        pairs = np.tile(self.cubes, (self.bands, self.bands))
        mean = self.total / np.maximum(np.diagonal(pairs), 1.0)
        covariance = (self.square / np.maximum(pairs, 1.0) - np.outer(mean, mean)) * (pairs > 0)
        values, vectors = np.linalg.eigh(covariance)
        return mean, vectors * np.maximum(values, 0.0) @ vectors.T


def autoencoder(mean: Float[np.ndarray, "g"], covariance: Float[np.ndarray, "g g"], contrasts: int,
                features: int) -> dict[str, np.ndarray]:
    """Cubes as one Gaussian: decoder (f g), its bias (g), encoders (2^c g f), their biases (2^c f).

    The decoder has the principal axes (the best linear autoencoder, Baldi & Hornik 1989); the latent's variance is one
    on average. The encoder of a subset of contrasts gives the coordinates of the conditional mean of all of them, so
    that missing ones are guessed from those that are there. Contrast c counts 2^c.
    """
    values, vectors = np.linalg.eigh(covariance)
    axes, scale = vectors[:, ::-1][:, :features], max(float(np.sqrt(np.maximum(values[-features:], 0).mean())), 1e-6)
    contrast = np.arange(len(mean)) % contrasts
    encoder, bias = np.zeros((2**contrasts, len(mean), features)), np.zeros((2**contrasts, features))
    for subset in range(1, 2**contrasts):
        seen = (subset >> contrast) & 1 == 1
        within = covariance[np.ix_(seen, seen)] + NOISE * np.eye(seen.sum())
        encoder[subset, seen] = np.linalg.solve(within, covariance[seen]) @ axes / scale
        bias[subset] = -mean @ encoder[subset]
    return {"decoder": scale * axes.T, "decoder_bias": mean, "encoder": encoder, "encoder_bias": bias}


def principal(gram: Float[np.ndarray, "n n"], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first left singular vectors (n count) and squared singular values of rows of which these are the products.

    Where there are fewer than `count`, the rest are zero.
    """
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    chosen = slice(None, -count - 1, -1) if count else slice(0, 0)
    real = values[chosen] > 1e-6 * max(values[-1], 1e-12)        # what is left is rounding
    values, vectors = values[chosen] * real, vectors[:, chosen] * real
    lack = count - len(values)
    return (np.pad(vectors, ((0, 0), (0, lack))).astype(np.float32), np.pad(values, (0, lack)).astype(np.float32))


def reduced(inputs: Float[np.ndarray, "n d"], outputs: Float[np.ndarray, "n p"], rank: int,
            ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Reduced-rank ridge regression (Izenman 1975) of centred rows, for n far below d and p: (d r), (r p).

    ridge: in units of the mean squared length of an input row.
    """
    gram = inputs @ inputs.T
    shrunk = gram + max(ridge * float(np.trace(gram)) / len(gram), 1e-6) * np.eye(len(gram))
    smooth = np.linalg.solve(shrunk, gram).astype(np.float32)
    left, values = principal(smooth.T @ (outputs @ outputs.T) @ smooth, rank)
    values = np.sqrt(np.maximum(values, 1e-12))
    out = (smooth @ left / values).T @ outputs
    inverse = np.linalg.solve(shrunk, outputs @ out.T)
    return inputs.T @ inverse.astype(np.float32), out
