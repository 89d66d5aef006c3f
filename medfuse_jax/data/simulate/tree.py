"""A simulated cohort as a BIDS tree: raw images, and the truth behind them as a derivative."""

import json
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import medfuse_jax
from medfuse_jax.data import grid, labels
from medfuse_jax.data.files import whole_folder
from medfuse_jax.data.language import report
from medfuse_jax.data.nifti import NOTICE, write_volume
from medfuse_jax.data.simulate import cohort
from medfuse_jax.data.simulate.person import SIMULATOR_VERSION, CohortSettings, Visit
from medfuse_jax.data.tables import write_table
from medfuse_jax.errors import MedFuseError

BIDS_VERSION = "1.9.0"
ALBUM = "derivatives/truth/album.png"
FIRST_VISIT = datetime(2000, 1, 1, 9)         # dates of visits are not secret here: nobody was scanned
DAYS_A_YEAR = 365.25


def bids(out: str | Path, settings: CohortSettings, language: str = "en", jobs: int = 1, progress: bool = True) -> Path:
    """Write a cohort as a BIDS tree with its truth under derivatives/truth; whole or not at all.

    Images, masks and findings stand on one grid: with `settings.refine` 1 the findings are those of the written masks.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MedFuseError(f"{out}: exists and is not empty: choose another --out")
    with whole_folder(out) as root, closing(cohort.people(settings, jobs, progress)) as drawn:
        truth = root / "derivatives" / "truth"
        rows = []
        for index, visits in enumerate(drawn):
            person = f"sub-{index + 1:04d}"
            rows.append(_row(person, visits[0]))
            _write_sessions(root / person, person, visits)
            for number, visit in enumerate(visits, start=1):
                _write_visit(root, truth, person, f"ses-{number:02d}", visit, settings, language)
        write_table(rows, root / "participants.tsv")
        _write_json(root / "participants.json", COLUMNS)
        _write_json(root / "sessions.json", {name: COLUMNS[name] for name in ("age", "edss")})
        named = [{"index": structure.index, "name": structure.name} for structure in labels.STRUCTURES]
        write_table(named, truth / "dseg.tsv")
        write_table(named, truth / "labels.tsv")
        about = _description("Simulated MS cohort", settings)
        _write_json(root / "dataset_description.json", about | {"DatasetType": "raw"})
        _write_json(truth / "dataset_description.json", about | {
            "Name": "Truth behind the simulated MS cohort", "DatasetType": "derivative"})
        (root / "README").write_text(README if settings.label_maps is None else README + OF_MAPS)
        # Findings and reports are not NIfTI: a validator is told so.
        (root / ".bidsignore").write_text(f"**/*_findings.json\n**/*_report.txt\n**/labels.tsv\n{ALBUM}\n")
    return out


README = f"""A simulated cohort: no image here was scanned. {NOTICE}

sub-*/ses-*/anat: images, skull stripped, in medians of the brain. derivatives/truth: what they were drawn from:
structures (dseg, FreeSurfer numbers), lesions (label-lesion_mask), findings and report of each visit.
"""
OF_MAPS = "The heads are those of label maps of real people (dataset_description.json: digests), turned and bent.\n"
COLUMNS = {
    "age": {"Description": "age at the first visit; in sessions, at that visit", "Units": "year"},
    "sex": {"Description": "sex", "Levels": {"F": "female", "M": "male"}},
    "phenotype": {"Description": "course of the disease (Lublin 2013), or control"},
    "treatment": {"Description": "efficacy of the treatment", "Levels": {"untreated": "", "moderate": "", "high": ""}},
    "edss": {"Description": "Expanded Disability Status Scale at the first visit; in sessions, at that visit"},
    "disease_duration_years": {"Description": "years since the first symptom, at the first visit", "Units": "year"},
}


def _row(person: str, visit: Visit) -> dict[str, Any]:
    """A line of participants.tsv."""
    found = visit.findings
    return {"participant_id": person, "age": found.age, "sex": found.sex, "phenotype": found.phenotype,
            "treatment": "untreated" if found.treatment == "none" else found.treatment, "edss": found.edss,
            "disease_duration_years": found.disease_duration_years}


def _write_sessions(folder: Path, person: str, visits: list[Visit]) -> None:
    dates = [FIRST_VISIT + timedelta(days=round(visit.date_years * DAYS_A_YEAR)) for visit in visits]
    write_table([{"session_id": f"ses-{number:02d}", "acq_time": date.isoformat(), "age": visit.findings.age,
                  "edss": visit.findings.edss}
                 for number, (visit, date) in enumerate(zip(visits, dates, strict=True), start=1)],
                folder / f"{person}_sessions.tsv")


def _write_visit(root: Path, truth: Path, person: str, session: str, visit: Visit, settings: CohortSettings,
                 language: str) -> None:
    """Images, structures, lesions, findings and report of one visit."""
    affine, stem = grid.standard(settings.spacing).affine, f"{person}_{session}_acq-synthetic"
    anat, beside = root / person / session / "anat", truth / person / session / "anat"
    told = {"SkullStripped": True, "simulator_version": SIMULATOR_VERSION, "seed": settings.seed,
            "medfuse_jax_version": medfuse_jax.__version__}
    for contrast in visit.present:
        write_volume(anat / f"{stem}_{contrast}.nii.gz", visit.images[..., labels.CONTRASTS.index(contrast)], affine,
                     sidecar=told, synthetic=True)
    write_volume(beside / f"{stem}_dseg.nii.gz", labels.to_indices(visit.structures), affine, sidecar=told,
                 synthetic=True)
    source = f"{person}/{session}/anat/{stem}_{visit.present[0]}.nii.gz"
    write_volume(beside / f"{stem}_label-lesion_mask.nii.gz", visit.lesions > 0.5, affine,
                 sidecar=told | {"Type": "Lesion", "RawSources": [source]}, synthetic=True)
    _write_json(beside / f"{stem}_findings.json", visit.findings.to_json() | {"synthetic": True, "notice": NOTICE})
    (beside / f"{stem}_report.txt").write_text(report(visit.findings, language), encoding="utf-8")


def _description(name: str, settings: CohortSettings) -> dict[str, Any]:
    made = {"Name": "medfuse_jax simulator", "Version": f"{medfuse_jax.__version__} ({SIMULATOR_VERSION})"}
    sources = [name for name, there in (("label maps", settings.label_maps), ("lesion masks", settings.lesion_masks))
               if there is not None]
    licence = f"that of the {' and '.join(sources)} which the people are made of" if sources else "CC0"
    return {"Name": name, "BIDSVersion": BIDS_VERSION, "License": licence, "Authors": ["medfuse_jax simulator"],
            "GeneratedBy": [made], "settings": cohort.told(settings), "synthetic": True, "notice": NOTICE}


def _write_json(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
