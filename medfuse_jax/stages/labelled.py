"""The labels that a trained decoder says: hard ones, and only of the kinds that its training data had."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from medfuse_jax import planes
from medfuse_jax.data import labels
from medfuse_jax.stages.stage import Values

LABELS = ("structures", "lesions")
EDGE = 0.25             # medians of the brain: what is darker in all contrasts is outside the head


class Labelled(NamedTuple):
    """Hard labels of decoded examples, host arrays; None for what no training study had."""

    head: np.ndarray | None               # b d h w, bool
    structures: np.ndarray | None         # b d h w, classes
    lesions: np.ndarray | None            # b d h w, bool: probability above one half, inside the head


def labelled(decoded: Any, statistics: Values) -> Labelled:
    """What the decoder's labels say, of those that it learned; without structures the head is where the image is."""
    known = statistics["labels"]
    structures = np.asarray(jnp.argmax(decoded.structures, axis=-1)).astype(np.uint8) if "structures" in known else None
    head = np.asarray(jnp.max(decoded.volume, axis=-1) > EDGE) if structures is None else structures > 0
    return Labelled(head, structures, (np.asarray(decoded.lesion) > 0) & head if "lesions" in known else None)


def page(volume: np.ndarray, said: Labelled, contrasts: Sequence[str], spacing: float) -> np.ndarray:
    """The first example as a picture for TensorBoard: three planes of some contrasts and of the labels."""
    volumes = {name: volume[0, ..., labels.CONTRASTS.index(name)].T for name in contrasts}
    structures, lesions = (None if some is None else np.asarray(some[0]).T for some in (said.structures, said.lesions))
    return planes.slices(volumes, spacing=spacing, structures=structures, lesions=lesions)


def told_at_all(cohort: Any) -> list[str]:
    """The kinds of labels that some training study has."""
    return [kind for kind in LABELS if any(cohort.studies[row][f"{kind}_known"] for row in cohort.rows("train"))]
