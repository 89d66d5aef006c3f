"""A generated study: its volumes, its labels, what was asked of it and what was measured on it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medfuse_jax import figures
from medfuse_jax.data import labels, nifti
from medfuse_jax.data.findings import Findings
from medfuse_jax.data.tables import write_table

NOTICE = "Synthetic image. Research only, not for clinical use."


@dataclass(frozen=True)
class Sample:
    """One generated study, (x, y, z) RAS+.

    volumes: contrast -> float32, in medians of the brain (or in the reference scan's own units when there is one).
    structures: classes of labels.STRUCTURES. lesions: bool. record: the contents of sample.json.
    """

    volumes: Mapping[str, np.ndarray]
    structures: np.ndarray
    lesions: np.ndarray
    affine: np.ndarray
    findings: Findings
    record: dict[str, Any] = field(repr=False)
    space: str = "MNI152"

    @property
    def labels(self) -> np.ndarray:
        """FreeSurfer numbers, lesions (25 left, 57 right) over the structures."""
        named = labels.to_indices(self.structures)
        right = np.char.endswith(np.array(labels.NAMES), "_right")[self.structures]
        return np.where(self.lesions, np.where(right, labels.LESION_RIGHT, labels.LESION_LEFT), named).astype(np.int16)

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size in mm."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))

    def save(self, folder: str | Path) -> Path:
        """Volumes, labels.nii.gz with labels.tsv, preview.png and sample.json."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        told = {name: self.record[name] for name in ("prompt", "seed", "weights", "config_hash", "notice")}
        for contrast, volume in self.volumes.items():
            nifti.write_volume(folder / f"{contrast}.nii.gz", volume, self.affine, description=contrast, sidecar=told,
                               synthetic=True, space=self.space)
        nifti.write_volume(folder / "labels.nii.gz", self.labels, self.affine, description="labels", sidecar=told,
                           synthetic=True, space=self.space)
        names = [{"index": int(structure.index), "name": structure.name} for structure in labels.STRUCTURES]
        names += [{"index": labels.LESION_LEFT, "name": "lesion_left"},
                  {"index": labels.LESION_RIGHT, "name": "lesion_right"}]
        write_table(names, folder / "labels.tsv")
        self.preview(folder / "preview.png")
        record = json.dumps(self.record, indent=1, ensure_ascii=False) + "\n"
        (folder / "sample.json").write_text(record, encoding="utf-8")
        return folder

    def preview(self, path: str | Path) -> Path:
        """One page: contrasts and labels in three planes, what was asked and what was measured."""
        return figures.preview(self.volumes, path, spacing=tuple(self.spacing), structures=self.structures,
                               lesions=self.lesions, title=self.record["prompt"], findings=self.findings,
                               synthetic=True)
