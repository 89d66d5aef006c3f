"""A generated study: its volumes, its labels, what was asked of it and what was measured on it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medfuse_jax import captions, figures
from medfuse_jax.data import labels, nifti
from medfuse_jax.data.files import whole_folder
from medfuse_jax.data.findings import Findings
from medfuse_jax.data.tables import write_table
from medfuse_jax.errors import MedFuseError
from medfuse_jax.metrics.obedience import Verdict

NOTICE = "Synthetic image. Research only, not for clinical use."
# In the header of each volume; the sentence itself, which may tell of a person, stands in sample.json only.
IN_HEADERS = ("prompt_hash", "seed", "number", "weights", "config_hash", "model_hash", "notice")
UNSEEN = ("phenotype", "treatment", "edss", "disease_duration_years", "change")      # what no single image tells
WHOLE = ("age", "disease_duration_years")
VOLUMES = (*labels.CONTRASTS, "structures", "labels")
FILES = {"labels.tsv", "preview.png", "sample.json"} | {name + end for name in VOLUMES for end in (".nii.gz", ".json")}


@dataclass(frozen=True)
class Sample:
    """One generated study, (x, y, z) RAS+.

    volumes: contrast -> float32, in medians of the brain (or in the reference scan's own units when there is one).
    structures: classes of labels.STRUCTURES. lesions: bool. None: the model's training data had none of them.
    record: the contents of sample.json.
    """

    volumes: Mapping[str, np.ndarray]
    structures: np.ndarray | None
    lesions: np.ndarray | None
    affine: np.ndarray
    findings: Findings
    record: dict[str, Any] = field(repr=False)
    space: str = "MNI152"
    verdicts: tuple[Verdict, ...] = ()

    @property
    def verdict(self) -> str:
        """How the sentence was obeyed, in one line."""
        return captions.line(self.verdicts)

    @property
    def labels(self) -> np.ndarray:
        """FreeSurfer numbers, lesions (25 left, 57 right) over the structures; 0 where neither is known."""
        shape = next(iter(self.volumes.values())).shape
        named = np.zeros(shape, np.int16) if self.structures is None else labels.to_indices(self.structures)
        if self.lesions is None:
            return named
        right = labels.right_side(self.structures, shape, self.affine)
        return np.where(self.lesions, np.where(right, labels.LESION_RIGHT, labels.LESION_LEFT), named).astype(np.int16)

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size in mm."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))

    def save(self, folder: str | Path) -> Path:
        """Volumes, labels.nii.gz with labels.tsv, structures.nii.gz (labels without lesions), preview.png, sample.json.

        The folder is there when all is written; one that holds an older sample is replaced. MedFuseError for a folder
        that holds anything else, or that cannot be written.
        """
        folder = Path(folder)
        strange = sorted(path.name for path in folder.iterdir() if path.name not in FILES) if folder.is_dir() else []
        if strange or folder.exists() and not folder.is_dir():
            raise MedFuseError(f"{folder}: {f'holds {strange[0]}' if strange else 'a file'}, no sample: "
                               "choose another folder")
        with whole_folder(folder) as draft:
            self.write(draft)
        return folder

    def write(self, folder: Path) -> None:
        """The files of a sample."""
        told = {name: self.record[name] for name in IN_HEADERS}
        written = {**self.volumes, "labels": self.labels}
        if self.structures is not None:
            written["structures"] = labels.to_indices(self.structures)
        for name, volume in written.items():
            nifti.write_volume(folder / f"{name}.nii.gz", volume, self.affine, description=name, sidecar=told,
                               synthetic=True, space=self.space)
        names = [{"index": int(structure.index), "name": structure.name} for structure in labels.STRUCTURES]
        names += [{"index": labels.LESION_LEFT, "name": "lesion_left"},
                  {"index": labels.LESION_RIGHT, "name": "lesion_right"}]
        write_table(names, folder / "labels.tsv")
        self.preview(folder / "preview.png")
        record = json.dumps(self.record, indent=1, ensure_ascii=False) + "\n"
        (folder / "sample.json").write_text(record, encoding="utf-8")

    def preview(self, path: str | Path) -> Path:
        """One page: contrasts and labels in three planes, what was asked and whether it was obeyed."""
        return figures.preview(self.volumes, path, spacing=tuple(self.spacing), structures=self.structures,
                               lesions=self.lesions, title=self.record["prompt"], findings=self.findings,
                               verdicts=self.verdicts, language=self.record["language"],
                               made_mm=self.record["spacing_mm"], synthetic=True)


def told(findings: Findings) -> dict[str, Any]:
    """Findings as sample.json holds them, rounded; what an image does not tell is listed as not assessed.

    Age and sex are the sentence's: the volumes expected of that person are what deviations are from.
    """
    record = rounded(findings.to_json())
    record["expected_for"] = {name: record.pop(name) for name in ("age", "sex")}
    record["not_assessed"] = [*record["not_assessed"], *(name for name in UNSEEN if record[name] is None)]
    return {name: value for name, value in record.items() if value is not None}


def rounded(value: Any, digits: int = 3, name: str = "") -> Any:
    """JSON with numbers of so many decimals; years of age as whole numbers where they are."""
    if isinstance(value, dict):
        return {key: rounded(each, digits, key) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each, digits) for each in value]
    if isinstance(value, float):
        return int(value) if name in WHOLE and value == int(value) else round(value, digits)
    return value
