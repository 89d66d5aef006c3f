"""How much each modality decided in one step of sampling: as a whole, and place by place."""

from collections.abc import Mapping

import jax.numpy as jnp

from medfuse_jax.axes import Array
from medfuse_jax.methods import guidance
from medfuse_jax.methods.guidance import Number, Subset


def decided(predictions: Mapping[Subset, Array], terms: Mapping[Subset, Number]) -> dict[str, Array]:
    """Shares of text and image in the step away from the unconditional prediction (Shapley 1953; definitions: Shares).

    predictions: all four subsets, b z y x f. Gives text, image (b; they sum to 1), interaction (b; reported beside
    them, not added), and map_text, map_image (b z y x; over all places they sum to text and image).
    """
    vectors = guidance.shapley(predictions, terms)
    delta = sum(vectors.values())
    total = jnp.maximum(jnp.sum(jnp.square(delta), axis=(1, 2, 3, 4)), 1e-12)
    maps = {f"map_{name}": jnp.sum(phi * delta, axis=-1) / total[:, None, None, None] for name, phi in vectors.items()}
    together = terms[guidance.BOTH] * guidance.moebius(predictions)[guidance.BOTH]
    interaction = jnp.sum(together * delta, axis=(1, 2, 3, 4)) / total
    return guidance.shares(vectors) | maps | {"interaction": interaction}
