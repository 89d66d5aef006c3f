"""A BIDS tree becomes a prepared folder: scans on the standard grid, in one scale of intensity, with their labels."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from tqdm import tqdm

from medfuse_jax.config import GRIDS
from medfuse_jax.data import bids, brain, contents, grid, labels, nifti
from medfuse_jax.data.bids import Study
from medfuse_jax.data.findings import TREATMENTS
from medfuse_jax.data.nifti import Scan, same_grid
from medfuse_jax.data.prepared import Example, is_prepared, people, writing
from medfuse_jax.data.resampling import fraction, resample
from medfuse_jax.data.tables import write_table
from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics import biomarkers

__all__ = ["Placed", "is_prepared", "normalise", "prepare", "to_grid"]

PRESETS = {settings["spacing"]: preset for preset, settings in GRIDS.items()}
BRAIN_CENTRE_MM = (0.0, -22.0, 9.5)        # of nilearn's MNI152 brain mask
FAR_MM = 15.0                              # a brain whose centre is farther off is not in MNI space
BRIGHTEST = 4.0                            # medians of the brain
LEAST_COVER = 0.5                          # of the brain that a contrast must show
LEAST_KEPT = 0.7                           # of the brain that must fit the standard box
LEAST_INSIDE = 0.5                         # of a lesion mask that must lie in the brain
THALAMUS = (10, 49)                        # FreeSurfer; a label map without them counts in other numbers
MOST_UNKNOWN = 0.02                        # of a label map that may have numbers which are not known here


@dataclass(frozen=True)
class Placed:
    """How a scan came onto the standard grid: what is needed to go back, and to be told."""

    grid: grid.Grid                        # the standard grid
    transform: np.ndarray                  # 4 x 4: scanner mm -> standard mm (rigid)
    brain: np.ndarray                      # d h w, bool
    medians: dict[str, float]              # contrast -> intensity that became 1
    fixups: list[str]

    def back(self, array: np.ndarray, like: Scan, order: int = 1) -> np.ndarray:
        """An array d h w on the standard grid, on `like`'s own grid: x y z."""
        affine = np.linalg.inv(self.transform) @ self.grid.affine
        return resample(np.ascontiguousarray(np.transpose(array)), affine, like.grid, order)


def brain_median(array: np.ndarray, mask: np.ndarray, path: str = "the image") -> float:
    """The intensity that becomes 1."""
    median = float(np.median(array[mask])) if mask.any() else 0.0
    if not median > 0:
        raise MedFuseError(f"{path}: half of the brain is not brighter than 0: give an MR image whose background is 0, "
                           "and check that its brain mask lies on the brain")
    return median


def normalise(array: np.ndarray, mask: np.ndarray, median: float) -> np.ndarray:
    """Intensities in medians of the brain: float32, 0 outside the mask, at most 4."""
    return np.where(mask, np.clip(array / median, 0.0, BRIGHTEST), 0.0).astype(np.float32)


def to_grid(scans: Mapping[str, Scan], spacing: float, brain_mask: np.ndarray | None = None,
            register: bool = False) -> tuple[np.ndarray, np.ndarray, Placed]:
    """One visit on the standard grid: volume float32 (d h w c), present float32 (c), and how it was placed.

    `brain_mask` (bool) lies on the first scan's grid; without one it is estimated. Scans are matched by world position
    and share one move: none when the brain lies where MNI brains lie, else (or with `register`) a shift of its centre.
    """
    fixups: list[str] = []
    reference = next(iter(scans.values()))
    if brain_mask is None:
        brain_mask, how = brain.estimate(reference)
        fixups.append(how)
    if not brain_mask.any():
        raise MedFuseError(f"{reference.path}: its brain mask is empty: give another, or none to have it estimated")
    transform, moved = _shift(brain_mask, reference.affine, register)
    standard = grid.standard(spacing)
    inside = _arranged(resample(brain_mask.astype(np.float32), transform @ reference.affine, standard) > 0.5)
    _check_whole(inside, spacing, brain_mask, reference, fixups)
    volume = np.zeros((*inside.shape, len(labels.CONTRASTS)), np.float32)
    present, medians = np.zeros(len(labels.CONTRASTS), np.float32), {}
    for contrast, scan in scans.items():
        image = _arranged(resample(np.maximum(scan.array, 0), transform @ scan.affine, standard))
        cover = float(np.mean(image[inside] != 0))
        if cover < LEAST_COVER:
            fixups.append(f"{contrast}: shows {cover:.0%} of the brain only: left out")
            continue
        channel, medians[contrast] = labels.CONTRASTS.index(contrast), brain_median(image, inside, scan.path)
        volume[..., channel], present[channel] = normalise(image, inside, medians[contrast]), 1
    if not medians:
        raise MedFuseError(f"{reference.path}: no image is brighter than 0 where the brain is: give MR images whose "
                           "background is 0, and a brain mask of the same space")
    for line in fixups:
        logging.info("%s: %s", reference.path, line)
    for line in moved:
        logging.log(logging.INFO if register else logging.WARNING, "%s: %s", reference.path, line)
    return volume, present, Placed(standard, transform, inside, medians, fixups + moved)


def _arranged(array: np.ndarray) -> np.ndarray:
    """(x, y, z) as d h w."""
    return np.ascontiguousarray(np.transpose(array))


def _shift(mask: np.ndarray, affine: np.ndarray, register: bool) -> tuple[np.ndarray, list[str]]:
    """A translation onto the standard brain's centre, or nothing where the scan is there already; and what to tell."""
    centre = affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]
    move, transform = np.array(BRAIN_CENTRE_MM) - centre, np.eye(4)
    far = np.linalg.norm(move)
    if not register and far <= FAR_MM:
        return transform, []
    transform[:3, 3] = move
    by = ", ".join(f"{mm:.1f}" for mm in move)
    return transform, [f"brain centre {far:.0f} mm from the MNI152 brain's: moved by ({by}) mm, not turned: register a "
                       "tilted head to MNI152 first"]


def _check_whole(inside: np.ndarray, spacing: float, mask: np.ndarray, reference: Scan, fixups: list[str]) -> None:
    """Refuse, or tell of, a brain that does not fit the standard box."""
    kept = inside.sum() * spacing**3 / (mask.sum() * np.prod(reference.spacing))
    if kept < LEAST_KEPT:
        raise MedFuseError(f"{reference.path}: only {kept:.0%} of its brain fits the standard box: is it a head, "
                           "upright by its affine? If so give a better *_desc-brain_mask.nii.gz")
    if kept < 0.95:
        fixups.append(f"{1 - kept:.0%} of the brain mask lies outside the standard box or is finer than its voxels")


def prepare(source: str | Path, out: str | Path, spacing: float = 1.0, jobs: int = 1, seed: int = 0,
            register: bool = False) -> Path:
    """Write the prepared folder `out` from the BIDS tree `source`; bad studies are listed in its rejected.tsv.

    jobs: studies made at the same time (0: one a core). A prepared folder already at `out` is replaced.
    """
    source, out = Path(source), Path(out)
    _check(source, out, spacing)
    studies = bids.index(source)
    rejected: list[dict[str, str]] = []
    settings = dict(seed=seed, register=register)

    def made(study: Study) -> tuple[str, Example | MedFuseError]:
        digest = contents.of_study(study, source)
        try:
            return digest, _example(study, spacing, register)
        except MedFuseError as error:
            return digest, error

    with writing(out, spacing, source.resolve().name, settings) as writer:
        for study, (digest, result) in zip(studies, _in_order(made, studies, jobs), strict=True):
            writer.contents[study.name] = digest
            if isinstance(result, MedFuseError):
                logging.warning("%s is left out: %s", study.name, result)
                rejected.append(dict(path=str(Path(study.person, study.session)), reason=str(result)))
            else:
                writer.add(result)
        if not writer.lines:
            why = f"; the first: {rejected[0]['reason']}" if rejected else ": give sub-*/[ses-*/]anat/*_FLAIR.nii.gz"
            raise MedFuseError(f"{source}: none of {len(studies)} studies can be used{why}")
        writer.hold_out(seed)
        write_table(rejected, writer.folder / "rejected.tsv", columns=("path", "reason"))
    logging.info("%s: lesions are known of %d studies, structures (and regions of lesions) of %d, neither of %d", out,
                 sum(line["lesions_known"] for line in writer.lines),
                 sum(line["structures_known"] for line in writer.lines),
                 sum(line["findings"] is None for line in writer.lines))
    dealt = people(writer.lines)
    logging.info("%s: %d people train, %d are validated on, %d are kept for the test", out, dealt["train"],
                 dealt["valid"], dealt["test"])
    logging.info("%s: %d studies prepared, %d left out%s", out, len(studies) - len(rejected), len(rejected),
                 f": see {out / 'rejected.tsv'}" if rejected else "")
    return out


def _in_order(made: Callable[[Study], Any], studies: list[Study], jobs: int) -> Iterator[Any]:
    """Results in the order of the studies; what has not begun is given up when the reader stops (Ctrl-C, full disk)."""
    workers = ThreadPoolExecutor(jobs or os.cpu_count() or 1)
    try:
        yield from tqdm(workers.map(made, studies), "prepare", len(studies), unit="study")
    finally:
        workers.shutdown(cancel_futures=True)


def _check(source: Path, out: Path, spacing: float) -> None:
    if spacing not in PRESETS:
        grids = ", ".join(f"{mm:g} ({preset})" for mm, preset in PRESETS.items())
        raise MedFuseError(f"--spacing={spacing:g}: nothing trains on such a grid: choose one of {grids} mm")
    if is_prepared(source):
        raise MedFuseError(f"{source}: prepared already: train with --config.data.source={source}")
    if out.resolve().is_relative_to(source.resolve()):
        raise MedFuseError(f"{out}: lies inside the source, which is never changed: choose another folder")
    if out.exists() and not is_prepared(out) and not (out.is_dir() and not any(out.iterdir())):
        raise MedFuseError(f"{out}: exists and is no prepared folder: choose another, or delete it first")


def _example(study: Study, spacing: float, register: bool) -> Example:
    """One visit, read and placed."""
    if study.problem:
        raise MedFuseError(study.problem)
    scans = {contrast: nifti.read_volume(path) for contrast, path in study.contrasts.items()}
    reference = next(iter(scans.values()))
    marked = nifti.read_marks(study.lesion_mask) if study.lesion_mask else None
    structures = nifti.read_labels(study.structures) if study.structures else None
    fixups = [f"{contrast}: {line}" for contrast, scan in scans.items() for line in scan.fixups]
    if structures is not None and (why := _foreign(structures, study.structures.name, fixups)):
        fixups.append(why)
        structures = None
    volume, present, placed = to_grid(scans, spacing, _brain(study, reference, structures), register)
    dated = study.date_years is not None
    if not dated:
        fixups.append("dates of the visits are not known: date_years is 0 for all")
    empty = np.zeros(placed.brain.shape, np.float32)
    lesions = empty if marked is None else _lesions(marked, placed)
    findings = _findings(study, structures, marked, tuple(placed.medians), fixups)
    line = dict(
        study=study.name, person=study.person, session=study.session, findings=findings, **study.told,
        counterfactual=False, fixups=fixups + placed.fixups, present=[int(flag) for flag in present],
        structures_known=structures is not None, lesions_known=marked is not None, medians=placed.medians,
        transform=placed.transform.round(4).tolist(), dates_known=dated)
    classes = empty.astype(np.uint8) if structures is None else _classes(structures, placed)
    return Example(line, volume, classes, lesions)


def _foreign(structures: Scan, name: str, fixups: list[str]) -> str:
    """Why a label map does not count in FreeSurfer's numbers, if so; a few that are not known here are told."""
    if not np.isin(THALAMUS, structures.array).all():
        return f"{name}: no thalamus 10 and 49, so not FreeSurfer's numbers: left out"
    strange, share = labels.unknown(structures.array)
    some = ", ".join(map(str, strange[:5])) + (" ..." if len(strange) > 5 else "")
    if share > MOST_UNKNOWN:
        return f"{name}: {share:.0%} of it has numbers that FreeSurfer's aseg and aparc do not ({some}): left out"
    if strange:
        fixups.append(f"{name}: numbers {some} are not known here: background ({share:.2%} of it)")
    return ""


def _brain(study: Study, reference: Scan, structures: Scan | None) -> np.ndarray | None:
    """The given brain mask, else what a label map names, else nothing."""
    if study.brain_mask:
        return nifti.read_mask(study.brain_mask, like=reference)
    return None if structures is None else resample(structures.array > 0, structures.affine, reference.grid, order=0)


def _classes(structures: Scan, placed: Placed) -> np.ndarray:
    moved = resample(structures.array, placed.transform @ structures.affine, placed.grid, order=0)
    return _arranged(labels.to_classes(moved))


def _lesions(marked: Scan, placed: Placed) -> np.ndarray:
    lesions = _arranged(fraction(marked.array, placed.transform @ marked.affine, placed.grid))
    inside = lesions[placed.brain].sum() * np.prod(placed.grid.spacing)
    marks = np.count_nonzero(marked.array) * np.prod(marked.spacing)
    if inside < LEAST_INSIDE * marks:
        raise MedFuseError(f"{marked.path}: only {inside / marks:.0%} of the lesion mask lies in the image's brain: "
                           "give a mask of the same space")
    return lesions


def _findings(study: Study, structures: Scan | None, marked: Scan | None, contrasts: tuple[str, ...],
              fixups: list[str]) -> dict[str, Any] | None:
    """What the masks tell, measured on their own grid; None without any."""
    if structures is None and marked is None:
        return None
    own = structures or marked
    classes = None if structures is None else labels.to_classes(structures.array)
    lesions = None if marked is None else marked.array
    if marked is not None and not same_grid(own, marked):
        fixups.append("lesions and structures on two grids: measured on that of the structures")
        lesions = fraction(lesions, marked.affine, own.grid)
    told = {name: value for name, value in study.told.items() if name != "treatment" or value in TREATMENTS}
    return biomarkers.measure(classes, lesions, own.spacing, contrasts=contrasts, source="masks", **told).to_json()
