"""Heads of real people: a whole-brain label map (FreeSurfer numbers, true millimetres) becomes a person's own atlas.

The map is moved, never scaled, to the middle of the standard box; maps of 1 mm keep every voxel, on other grids the
nearest counts. What labels do not hold is made up: a brightness that runs from CSF over the depth of the cortex into
white matter, by which atrophy moves their borders, and a texture.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from absl import logging
from scipy import ndimage

from medfuse_jax.cache import cache_folder
from medfuse_jax.data import grid, labels
from medfuse_jax.data.definitions import FLUID, TISSUE, bounding_box
from medfuse_jax.data.files import digest
from medfuse_jax.data.nifti import Scan, read_labels
from medfuse_jax.data.resampling import resample
from medfuse_jax.data.simulate.atlas import SPACING, Atlas, atlas, keep, kept
from medfuse_jax.data.simulate.derivation import widening
from medfuse_jax.errors import MedFuseError

MAP_VERSION = 1
LETTERS = 16
CSF_MM = 8.0                       # CSF farther from the brain is the neck's, or a mistake
LEAST_CSF, GAP_MM, WIDE_GAP_MM = 0.05, 2, 6      # of all that is labelled: with less, sulci were left unlabelled
LEAST_VOXELS = 8                   # of a structure
LEAST_INSIDE = 0.995               # of the map that must fit the standard box
PIAL_MM = 5.0                      # a sulcus lies no farther from white matter, even where it is shut [assume]
CSF_FADE_MM, WHITE_FADE_MM = 3.0, 2.0
TEXTURE_MM, TEXTURE_DEVIATION = 1.5, 0.2         # of the T1 template's: 0.2 to 0.4 steps from grey to white [data]


def found(folder: str | Path) -> list[Path]:
    """The label maps of a folder, by name; MedFuseError without any. Those in MNI space have lost their volumes."""
    folder = Path(folder)
    if not folder.is_dir():
        raise MedFuseError(f"{folder}: no such folder: --label_maps takes a folder of label maps (*.nii.gz)")
    files = sorted(path for path in folder.iterdir() if path.name.endswith((".nii", ".nii.gz")))
    maps = [path for path in files if "space-MNI" not in path.name]
    if not maps:
        why = " but in MNI space, whose volumes are nobody's" if files else ""
        raise MedFuseError(f"{folder}: no label map (*.nii.gz){why}: give whole-brain maps in FreeSurfer numbers")
    return maps


def chosen(folder: str | Path | None, seed: int, index: int) -> Atlas:
    """What the person of a seed and an index is made of; without a folder, the template."""
    return atlas() if folder is None else own_atlas(one_of(found(folder), seed, index))


def one_of(maps: list[Path], seed: int, index: int) -> Path:
    """The map of a person: each comes once, in an order of the seed, before any comes again."""
    turn, place = divmod(index, len(maps))
    return maps[np.random.default_rng([seed, turn]).permutation(len(maps))[place]]


def derived(folder: str | Path | None) -> None:
    """Derive all that people will be made of (about 10 s each, once), so that later it is read."""
    if folder is None:
        atlas()
    for path in found(folder) if folder is not None else ():
        own_atlas(path)


def digests(folder: str | Path) -> list[str]:
    """What the maps of a folder hold, whatever they are called and wherever they lie."""
    return sorted(digest(path)[:LETTERS] for path in found(folder))


def own_atlas(path: Path) -> Atlas:
    """The atlas of a label map, from the user's cache folder once it was derived."""
    return _own_atlas(path, digest(path)[:LETTERS])


@lru_cache(maxsize=2)              # 86 MiB each
def _own_atlas(path: Path, held: str) -> Atlas:
    home = cache_folder() / f"label-map-{MAP_VERSION}-{held}.npz"
    if home.is_file():
        return kept(home, own=True)
    logging.info("%s: becomes a person's atlas (once, about 10 s) in %s", path, home)
    return keep(derive(read_labels(path), int(held, 16) % 2**32), home)


def derive(scan: Scan, seed: int = 0) -> Atlas:
    """The atlas of one label map; `seed` is of its texture. MedFuseError for what is no whole brain."""
    structures = structures_of(scan)
    return Atlas(structures, _brightness(structures), _texture(structures, seed), widening(structures),
                 grid.standard(SPACING).affine[:3, 3], own=True)


def structures_of(scan: Scan) -> np.ndarray:
    """The classes of a map on the standard box at 1 mm: one head, with all structures, without gaps."""
    strange, share = labels.unknown(scan.array)
    if share > 0.02:
        raise MedFuseError(f"{scan.path}: {share:.0%} of it has numbers that FreeSurfer's aseg and aparc do not "
                           f"({', '.join(map(str, strange[:5]))}): give a map in FreeSurfer numbers")
    classes = labels.to_classes(scan.array)
    counts = np.bincount(classes.ravel(), minlength=len(labels.NAMES))
    missing = [name for name, count in zip(labels.NAMES, counts, strict=True) if count < LEAST_VOXELS and name != "csf"]
    if missing:
        raise MedFuseError(f"{scan.path}: no {', '.join(missing[:3])}: give a whole-brain map in FreeSurfer numbers")
    return _filled(_placed(classes, scan))


def _placed(classes: np.ndarray, scan: Scan) -> np.ndarray:
    """Classes on the standard box: the middle plane at x = 0, the brain's middle in the middle; nothing is scaled."""
    brain = np.isin(classes, TISSUE)
    ends = [np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
    middle = scan.affine[:3, :3] @ np.mean(ends, axis=1) + scan.affine[:3, 3]
    left, right = (scan.affine[0, :3] @ np.argwhere(np.char.endswith(labels.NAMES, side)[classes]).mean(axis=0)
                   for side in ("_left", "_right"))
    if left >= right:
        raise MedFuseError(f"{scan.path}: its left structures lie on the right by its affine: export it again")
    middle[0] = (left + right) / 2 + scan.affine[0, 3]
    affine = scan.affine.copy()
    affine[:3, 3] += np.array(grid.CENTRE_MM) - middle
    placed = resample(classes, affine, grid.standard(SPACING), order=0)
    fits = np.isin(placed, TISSUE).sum() * SPACING**3 / (brain.sum() * np.prod(scan.spacing))
    if fits < LEAST_INSIDE:
        raise MedFuseError(f"{scan.path}: only {fits:.1%} of its brain fits the standard box: is it a human head, "
                           "upright by its affine, in mm?")
    return placed


def _filled(structures: np.ndarray) -> np.ndarray:
    """One head: stray CSF is left out, and gaps within the brain are CSF."""
    csf = labels.CLASS["csf"]
    structures[(structures == csf) & (_distance(np.isin(structures, TISSUE)) > CSF_MM)] = 0
    labelled = structures > 0
    gap = GAP_MM if (structures == csf).sum() >= LEAST_CSF * labelled.sum() else WIDE_GAP_MM
    inside = ndimage.binary_closing(labelled, iterations=round(gap / SPACING))
    pieces, count = ndimage.label(inside)
    inside = ndimage.binary_fill_holes(pieces == 1 + np.argmax(np.bincount(pieces.ravel(), minlength=count + 1)[1:]))
    return np.where(inside & ~labelled, csf, structures * inside).astype(np.uint8)


def _distance(mask: np.ndarray) -> np.ndarray:
    """From each voxel to the border of a mask, mm, float32; 0 in it."""
    return np.maximum(ndimage.distance_transform_edt(~mask, SPACING) - SPACING / 2, 0).astype(np.float32)


def _brightness(structures: np.ndarray) -> np.ndarray:
    """0 CSF, 1 grey, 2 white: every cut between 0.5 and 1.5 is a surface of equal relative depth in the cortex."""
    white, cortex = (np.char.find(labels.NAMES, kind) >= 0 for kind in ("white_matter", "cortex"))
    whole, box = structures, bounding_box(structures > 0)
    structures = np.pad(structures[box], 1)
    white, cortex = white[structures], cortex[structures]            # cerebrum and cerebellum
    csf = np.isin(structures, [0, labels.CLASS["csf"]])
    from_white, from_csf, from_tissue = _distance(white), _distance(csf), _distance(white | cortex)
    # A shut sulcus holds no CSF: what lies far from white matter is taken as near to it.
    depth = np.minimum(from_csf, np.maximum(PIAL_MM - from_white, SPACING / 2))
    brightness = np.where(cortex, 0.5 + depth / (depth + from_white + 1e-6), 0.5 * np.exp(-from_tissue / CSF_FADE_MM))
    brightness[white] = 2.0 - 0.5 * np.exp(-_distance(cortex | csf)[white] / WHITE_FADE_MM)
    # What is never cut goes on as its surroundings do, so that it draws no rim around itself.
    cut = white | cortex | csf
    nearest = ndimage.distance_transform_edt(~cut, return_distances=False, return_indices=True)
    smooth = np.zeros(whole.shape, np.float32)
    smooth[box] = ndimage.gaussian_filter(brightness[tuple(nearest)], 0.5)[1:-1, 1:-1, 1:-1]
    return smooth


def _texture(structures: np.ndarray, seed: int) -> np.ndarray:
    """Smooth noise within the tissue, in steps from grey to white."""
    noise = np.random.default_rng(seed).standard_normal(structures.shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, TEXTURE_MM / SPACING)
    smooth *= TEXTURE_DEVIATION / smooth.std()
    smooth[np.isin(structures, [0, *FLUID])] = 0
    return np.clip(smooth, -1.0, 1.0)
