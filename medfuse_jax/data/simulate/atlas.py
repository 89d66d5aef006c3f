"""A label atlas of the MNI152 brain, derived from the template and the tissue maps that nilearn's wheel carries.

Deep grey structures are shaped by tissue maps inside slightly enlarged ellipsoids, whose places and extents were
measured on six public label maps (SynthSeg's training maps, Apache 2.0, registered affinely to MNI152).
"""

from dataclasses import fields
from functools import lru_cache
from pathlib import Path

import numpy as np
from absl import logging
from scipy import ndimage

from medfuse_jax.cache import cache_folder
from medfuse_jax.data import grid
from medfuse_jax.data.files import write_arrays
from medfuse_jax.data.simulate.derivation import SPACING, WIDENING_MM, Atlas, derive

__all__ = ["ATLAS_VERSION", "SPACING", "WIDENING_MM", "Atlas", "atlas", "keep", "kept"]

ATLAS_VERSION = 4


def _templates() -> dict[str, np.ndarray]:
    """T1, grey, white and brain mask of MNI152 on the standard box at 1 mm."""
    from nilearn import datasets  # heavy: sklearn and pandas come with it, and a cached atlas needs none of them

    box = grid.standard(SPACING)
    loaders = {"t1": datasets.load_mni152_template, "grey": datasets.load_mni152_gm_template,
               "white": datasets.load_mni152_wm_template, "mask": datasets.load_mni152_brain_mask}
    found = {}
    for name, load in loaders.items():
        image = load(resolution=1)
        into = np.linalg.inv(image.affine) @ box.affine
        found[name] = ndimage.affine_transform(np.asarray(image.dataobj, np.float32), into[:3, :3], into[:3, 3],
                                               output_shape=box.shape, order=1)
    return found


@lru_cache(maxsize=1)
def atlas() -> Atlas:
    """The atlas, derived once (about 10 s) and then read from the user's cache folder (0.2 s)."""
    path = cache_folder() / f"atlas-{ATLAS_VERSION}.npz"
    if path.is_file():
        return kept(path)
    logging.info("deriving the label atlas from the MNI152 template (once, about 10 s) into %s", path)
    return keep(derive(_templates()), path)


def kept(path: Path, own: bool = False) -> Atlas:
    """An atlas as `keep` has written it."""
    with np.load(path) as arrays:
        return Atlas(**{field.name: arrays[field.name] for field in fields(Atlas) if field.name != "own"}, own=own)


def keep(made: Atlas, path: Path) -> Atlas:
    """Write an atlas for the next run, and give it back."""
    write_arrays(path, {field.name: getattr(made, field.name) for field in fields(Atlas) if field.name != "own"})
    return made
