"""Which scans, masks and facts a BIDS tree holds of each visit. Nothing in it is changed, nothing outside is read.

https://bids-specification.readthedocs.io; masks are looked for in derivatives/*/sub-*/.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from absl import logging

from medfuse_jax.data import labels
from medfuse_jax.data.tables import NUMBERS, read_table, write_table
from medfuse_jax.errors import MedFuseError

__all__ = ["Study", "index", "read_table", "write_table"]

NAME = re.compile(r"(?P<entities>(?:[a-z]+-[A-Za-z0-9]+_)+)(?P<suffix>[A-Za-z0-9]+)\.nii(?:\.gz)?")
FOLDER = re.compile(r"(sub|ses)-[A-Za-z0-9]+")
DAYS_A_YEAR = 365.25
MOST_YEARS = NUMBERS["date_years"][1]
COVARIATES = ("age", "sex", "phenotype", "treatment", "edss", "disease_duration_years")
PASSING = ("age", "disease_duration_years")            # a person's row tells them at the first visit; they go on


@dataclass(frozen=True)
class Study:
    """One visit: its files (of one space), the person's row, and years since the first visit (None: unknown)."""

    person: str
    session: str                                       # ses-01, or "" in trees without session folders
    contrasts: dict[str, Path] = field(default_factory=dict)       # labels.CONTRASTS -> file
    lesion_mask: Path | None = None
    structures: Path | None = None
    brain_mask: Path | None = None
    row: dict[str, Any] = field(default_factory=dict)
    date_years: float | None = None
    problem: str = ""                                  # why it cannot be used

    @property
    def name(self) -> str:
        """sub-01_ses-01."""
        return "_".join(filter(None, (self.person, self.session)))

    @property
    def files(self) -> list[Path]:
        """Images, then masks."""
        return [*self.contrasts.values(), *filter(None, (self.lesion_mask, self.structures, self.brain_mask))]

    @property
    def told(self) -> dict[str, Any]:
        """What the tables say of the person at this visit."""
        return {name: self.row.get(name) for name in COVARIATES} | {"date_years": round(self.date_years or 0.0, 4)}


@dataclass(frozen=True)
class File:
    """A NIfTI file and what its name says."""

    path: Path
    entities: dict[str, str]
    suffix: str

    @property
    def space(self) -> str:
        """The space entity; "" is the scanner's own."""
        return self.entities.get("space", "")

    @property
    def kind(self) -> str:
        """Of a derivative: "lesion mask", "brain mask", "dseg", or "" for what is not used (maps of change, ...)."""
        description, label = self.entities.get("desc", ""), self.entities.get("label")
        if "change" in description:
            return ""
        if self.suffix == "mask":
            return "lesion mask" if label == "lesion" else "brain mask" if description == "brain" else ""
        return "dseg" if self.suffix == "dseg" else ""


def index(root: str | Path) -> list[Study]:
    """All visits of a tree that hold at least one image, by person and session; those with a problem say it."""
    root = Path(root)
    if root.is_file():
        raise MedFuseError(f"{root}: a file, not a folder: unpack an archive, and give the root of the BIDS tree in it")
    if not root.is_dir():
        raise MedFuseError(f"{root}: no such folder: give the root of a BIDS tree (the folder that holds sub-*)")
    people = [folder for folder in sorted(root.glob("sub-*")) if folder.is_dir()]
    if not people:
        raise MedFuseError(f"{root}: no sub-* folder: give the root of a BIDS tree (sub-*/[ses-*/]anat/*.nii.gz)")
    participants = root / "participants.tsv"
    top = root / "sessions.tsv"
    for table in (participants, top):
        _inside(table, root.resolve())
    rows = {row["participant_id"]: row for row in read_table(participants)} if participants.exists() else {}
    visits = read_table(top) if top.exists() else []
    studies = []
    for folder in people:
        theirs = [visit for visit in visits if visit.get("participant_id") == folder.name]
        studies += _person(folder, root.resolve(), rows.get(folder.name, {}), theirs)
    if missing := sorted({study.person for study in studies} - set(rows)):
        logging.info("%s: no row in participants.tsv for %s", root, ", ".join(missing[:5]))
    return studies


def _person(folder: Path, root: Path, row: dict[str, Any], visits: list[dict[str, Any]]) -> list[Study]:
    """The visits of one person, dated."""
    if not FOLDER.fullmatch(folder.name):
        return [Study(folder.name, "", problem=f"{folder}: not named sub-LABEL (letters and digits): rename it")]
    try:
        own = folder / f"{folder.name}_sessions.tsv"
        if own.exists():
            _inside(own, root)
            visits = read_table(own)
        visits = {visit["session_id"]: visit for visit in visits}
        dates = _dates(visits, own)
        masks = [file for pipeline in sorted((folder.parent / "derivatives").glob(f"*/{folder.name}"))
                 for file in _files(sorted(pipeline.rglob("*.nii*")))]
    except MedFuseError as error:
        return [Study(folder.name, "", problem=str(error))]
    sessions = [path for path in sorted(folder.glob("ses-*")) if path.is_dir()]
    studies = [_study(folder.name, path, root, masks, len(sessions)) for path in sessions or [folder]]
    studies = [study for study in studies if study.contrasts or study.problem]
    only = {study.session: 0.0 for study in studies} if len(studies) == 1 else {}        # an only visit is the first
    dates = only | dates
    return [replace(study, row=_at(row, visits.get(study.session, {}), dates.get(study.session)),
                    date_years=dates.get(study.session)) for study in studies]


def _at(row: dict[str, Any], visit: dict[str, Any], years: float | None) -> dict[str, Any]:
    """The person's row at a visit: what the visit's own row knows comes first, and years go on with the date."""
    passing = [name for name in PASSING if row.get(name)]            # 0 years of disease is a control's: it stays 0
    aged = {name: round(row[name] + (years or 0.0), 2) for name in passing}
    return row | aged | {name: value for name, value in visit.items() if value is not None}


def _dates(visits: dict[str, dict[str, Any]], path: Path) -> dict[str, float]:
    """Years since the first visit, from acq_time or days_from_first."""
    days: dict[str, float] = {}
    for session, visit in visits.items():
        if visit.get("acq_time") is not None:
            try:
                moment = datetime.fromisoformat(visit["acq_time"]).replace(tzinfo=None)
            except ValueError as error:
                raise MedFuseError(f"{path}: {session}: acq_time {visit['acq_time']!r} is no date: "
                                   "write 2024-05-31T12:00:00 or n/a") from error
            days[session] = (moment - datetime(1800, 1, 1)).total_seconds() / 86400.0
    if not days:
        days = {session: visit["days_from_first"] for session, visit in visits.items()
                if visit.get("days_from_first") is not None}
    first = min(days.values(), default=0.0)
    if max(days.values(), default=0.0) - first > MOST_YEARS * DAYS_A_YEAR:
        raise MedFuseError(f"{path}: the visits are dated more than {MOST_YEARS:g} years apart: correct the dates")
    if sorted(days, key=lambda session: days[session]) != sorted(days):
        logging.warning("%s: visits are not dated in the order of their names: the dates are believed", path)
    return {session: (day - first) / DAYS_A_YEAR for session, day in days.items()}


def _study(person: str, folder: Path, root: Path, masks: list[File], sessions: int) -> Study:
    """The images of one visit in one space, and the masks of that space."""
    session = folder.name if folder.name != person else ""
    try:
        images = _images(_files(sorted((folder / "anat").glob("*.nii*"))), person, session)
        if not images:
            return Study(person, session)
        space = next(iter(images.values())).space
        theirs = [mask for mask in masks if mask.space in ("", space) and _of(mask, session, sessions)]
        study = Study(
            person, session, {contrast: image.path for contrast, image in images.items()},
            lesion_mask=_first(mask for mask in theirs if mask.kind == "lesion mask"),
            structures=_first(mask for mask in theirs if mask.kind == "dseg"),
            brain_mask=_first(mask for mask in theirs if mask.kind == "brain mask"))
        for path in study.files:
            _inside(path, root)
    except MedFuseError as error:
        return Study(person, session, problem=str(error))
    return study


def _files(paths: Iterable[Path]) -> list[File]:
    """Files whose names can be read; others (and macOS's ._ twins) are passed over."""
    files = []
    for path in paths:
        if match := NAME.fullmatch(path.name):
            entities = dict(part.split("-", 1) for part in match["entities"].rstrip("_").split("_"))
            files.append(File(path, entities, match["suffix"]))
    return files


def _images(files: list[File], person: str, session: str) -> dict[str, File]:
    """The best file of each contrast, all in the space that holds most contrasts (the scanner's own when equal)."""
    spaces: dict[str, dict[str, File]] = {}
    for file in sorted(files, key=lambda file: (len(file.entities), file.path.name)):      # the plainest name first
        named = [f"{key}-{file.entities[key]}" for key in ("sub", "ses") if key in file.entities]
        if named != [name for name in (person, session) if name]:
            raise MedFuseError(f"{file.path}: the name belongs to another person or session: rename or move it")
        contrast = f"ce-gadolinium_{file.suffix}" if "ce" in file.entities else file.suffix
        if contrast in labels.CONTRASTS:
            chosen = spaces.setdefault(file.space, {})
            if contrast in chosen:
                logging.info("%s: %s is taken from %s", file.path, contrast, chosen[contrast].path.name)
            chosen.setdefault(contrast, file)
    if not spaces:
        return {}
    best = max(spaces, key=lambda space: (len(spaces[space]), space == "", space))
    return {contrast: spaces[best][contrast] for contrast in labels.CONTRASTS if contrast in spaces[best]}


def _of(mask: File, session: str, sessions: int) -> bool:
    """A mask without a session holds for all of them when it is the brain's, else only where there is one session."""
    theirs = mask.entities.get("ses")
    if theirs is None:
        return sessions <= 1 or mask.entities.get("desc") == "brain"
    return f"ses-{theirs}" == session


def _first(masks: Iterable[File]) -> Path | None:
    """The one in the images' own space first, then the plainest name."""
    chosen = min(masks, key=lambda mask: (not mask.space, len(mask.entities), mask.path), default=None)
    return chosen.path if chosen else None


def _inside(path: Path, root: Path) -> None:
    """Refuse a link that leads out of the tree."""
    if not path.resolve().is_relative_to(root):
        raise MedFuseError(f"{path}: leads out of the data set: copy the file into the tree")
