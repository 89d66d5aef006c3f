"""Lesions of real patients as what the simulator draws from: how many, how large, in which region, and where.

Masks stand in MNI space, moved there and not scaled. A simulated person takes a patient's lesions, drawn with
replacement (bootstrap) and varied in size, and puts them where lesions of all the patients are likely.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging
from scipy import ndimage

from medfuse_jax.cache import cache_folder
from medfuse_jax.data import definitions, files, grid
from medfuse_jax.data.findings import REGIONS
from medfuse_jax.data.nifti import read_marks
from medfuse_jax.data.resampling import resample
from medfuse_jax.data.simulate.anatomy import TEMPLATE_SHRINK, nearest
from medfuse_jax.data.simulate.atlas import SPACING, atlas
from medfuse_jax.data.simulate.sites import true_size
from medfuse_jax.errors import MedFuseError
from medfuse_jax.progress import Progress

MASKS_VERSION = 1
MAP_MM, SMOOTH_MM, LEAST = 2.0, 4.0, 0.02
LEAST_INSIDE = 0.9                     # of a mask that must lie in the template's brain


class Measured(NamedTuple):
    """The lesions of some patients."""

    likely: np.ndarray                 # float32 on grid.standard(MAP_MM), 0 to 1, both sides alike
    volumes_ml: np.ndarray             # of all lesions (n,)
    regions: np.ndarray                # places in findings.REGIONS (n,)
    patient: np.ndarray                # whose they are (n,)

    def likelihood(self, points: np.ndarray) -> np.ndarray:
        """How likely a lesion is at points (3, ...) in mm of MNI space, float32 (...)."""
        first = grid.standard(MAP_MM).affine[:3, 3].reshape(3, *[1] * (points.ndim - 1))
        at = (points - first) / MAP_MM
        return ndimage.map_coordinates(self.likely, at, order=1, mode="nearest", output=np.float32)

    def of_one(self, random: np.random.Generator) -> list[tuple[str, float]]:
        """Regions and volumes (ml) of as many lesions as one of the patients has, drawn from that patient's."""
        chosen = np.flatnonzero(self.patient == random.integers(self.patient[-1] + 1))
        drawn = random.choice(chosen, len(chosen))
        volumes = self.volumes_ml[drawn] * np.exp(0.1 * random.standard_normal(len(drawn)))
        return [(REGIONS[which], float(volume)) for which, volume in zip(self.regions[drawn], volumes, strict=True)]


def found(folder: str | Path) -> list[Path]:
    """The lesion masks in MNI space of a folder and all below it; MedFuseError without any."""
    folder = Path(folder)
    if not folder.is_dir():
        raise MedFuseError(f"{folder}: no such folder: --lesion_masks takes a folder of lesion masks in MNI space")
    masks = sorted(path for path in folder.rglob("*esion*.nii.gz")
                   if "space-MNI" in path.name and "_mask" in path.name and "desc-change" not in path.name)
    if not masks:
        raise MedFuseError(f"{folder}: no lesion mask in MNI space (*_space-MNI152_label-lesion_mask.nii.gz): "
                           "register masks rigidly to MNI152 and name them so")
    return masks


def digest(folder: str | Path) -> str:
    """What the masks of a folder hold, wherever they lie."""
    return hashlib.sha256("".join(sorted(map(files.digest, found(folder)))).encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def measured(folder: str) -> Measured:
    """The lesions of a folder's masks, from the user's cache folder once they were measured (2 s a mask)."""
    home = cache_folder() / f"lesion-masks-{MASKS_VERSION}-{digest(folder)}.npz"

    def made() -> dict[str, np.ndarray]:
        logging.info("measuring the lesions of %s (once) into %s", folder, home)
        return _measure(found(folder))._asdict()

    return Measured(**files.kept_arrays(home, made))


def _measure(masks: list[Path]) -> Measured:
    """Regions by the template's own structures, shrunk to true size: the patients' are not known."""
    fine, coarse = grid.standard(SPACING), grid.standard(MAP_MM)
    sides = [first + SPACING * np.arange(n) for first, n in zip(fine.affine[:3, 3], fine.shape, strict=True)]
    places = np.stack(np.meshgrid(*sides, indexing="ij"))
    structures = nearest(atlas(), true_size(places, 1 / TEMPLATE_SHRINK))
    total, tables = np.zeros(coarse.shape, np.float32), []
    with Progress("measuring lesion masks", len(masks), "mask") as told:
        for number, path in enumerate(masks):
            scan = read_marks(path)
            marks = resample(scan.array, scan.affine, fine, order=0)
            if not marks.any() or (structures[marks] > 0).mean() < LEAST_INSIDE:
                raise MedFuseError(f"{path}: {'empty' if not marks.any() else 'largely outside the brain of MNI152'}: "
                                   "register it to MNI152, or take it out of the folder")
            labelled, count = definitions.components(marks, SPACING)
            sizes = np.bincount(labelled.ravel(), minlength=count + 1)[1:] * SPACING**3 / 1000
            where = [REGIONS.index(name) for name in definitions.regions(labelled, structures, SPACING)]
            tables.append(np.stack([sizes, where, np.full(count, number)], axis=1))
            total += resample(marks.astype(np.float32), fine.affine, coarse)
            told.tell(number + 1)
    total = ndimage.gaussian_filter(total + total[::-1], SMOOTH_MM / MAP_MM)
    table = np.concatenate(tables)
    return Measured(np.maximum(total / total.max(), LEAST).astype(np.float32), table[:, 0],
                    table[:, 1].astype(np.int64), table[:, 2].astype(np.int64))
