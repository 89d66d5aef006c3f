"""A small BIDS tree of brains made of an ellipsoid, two thalami and a lesion, for tests of preparation."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medfuse_jax.data import grid, prepare, write_volume
from medfuse_jax.data.bids import Study
from medfuse_jax.data.prepared import Example

SPACING = 8.0
FINE = grid.Grid((48, 56, 48), grid.standard(4.0).affine)
X, Y, Z = np.tensordot(FINE.affine[:3, :3], np.indices(FINE.shape), axes=1) + FINE.affine[:3, 3, None, None, None]
BRAIN = (X / 66) ** 2 + ((Y + 20) / 82) ** 2 + ((Z - 10) / 62) ** 2 < 1                # about 1.4 l
LESION = (np.abs(X - 26) < 6) & (np.abs(Y - 20) < 6) & (np.abs(Z - 30) < 6)              # right, front, high


def phantom(seed: int = 0) -> np.ndarray:
    """A skull-stripped head: brighter to the front, bright in the lesion."""
    noise = np.random.default_rng(seed).normal(0, 2, BRAIN.shape)
    return np.where(BRAIN, 300 + Y + 200 * LESION + noise, 0).astype(np.float32)


def structures() -> np.ndarray:
    left, right = BRAIN & (X < 0), BRAIN & (X >= 0)
    made = 3 * left + 42 * right
    made[(np.abs(X + 14) < 8) & (np.abs(Y + 18) < 12) & (np.abs(Z - 6) < 8)] = 10
    made[(np.abs(X - 14) < 8) & (np.abs(Y + 18) < 12) & (np.abs(Z - 6) < 8)] = 49
    return made


def leg() -> np.ndarray:
    x, y = np.indices((60, 60)) - 30
    noise = np.random.default_rng(0).normal(20, 3, (60, 60, 120))
    return (np.where(x**2 + y**2 < 15**2, 300, 0)[..., None] + noise).astype(np.float32)


def tree(root: Path, people: int = 4, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Path:
    """A small BIDS tree of phantoms, each stored in another orientation than RAS."""
    affine = FINE.affine.copy()
    affine[:3, 3] += shift
    flipped = affine @ np.array([[-1, 0, 0, 47], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    for person in range(1, people + 1):
        place = f"sub-{person:02d}/ses-01/anat/sub-{person:02d}_ses-01_"
        for contrast in ("FLAIR", "T1w"):
            write_volume(root / f"{place}{contrast}.nii.gz", phantom(person)[::-1], flipped)
        write_volume(root / f"derivatives/truth/{place}label-lesion_mask.nii.gz", LESION, affine)
        write_volume(root / f"derivatives/truth/{place}dseg.nii.gz", structures(), affine)
    rows = "".join(f"sub-{person:02d}\t{40 + person}\tF\tRR\n" for person in range(1, people + 1))
    (root / "participants.tsv").write_text("participant_id\tage\tsex\tms_type\n" + rows)
    return root


def opened(folder: Path) -> tuple[list[dict], dict[str, np.ndarray]]:
    lines = [json.loads(line) for line in (folder / "studies.jsonl").read_text().splitlines()]
    names = "volumes", "structures", "lesions"
    return lines, {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}


def stop_at(patch: pytest.MonkeyPatch, chosen: Callable[[Study], bool]) -> None:
    """A preparation that is stopped, as by Ctrl-C, when it comes to a study; until `patch.undo()`."""
    example = prepare.Making.example

    def until(making: prepare.Making, study: Study) -> Example:
        if chosen(study):
            raise KeyboardInterrupt
        return example(making, study)

    patch.setattr(prepare.Making, "example", until)
