"""Tables of people and visits (BIDS .tsv, or .csv): checked on reading, harmless on writing."""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from absl import logging

from medfuse_jax.data import findings
from medfuse_jax.data.files import whole_file
from medfuse_jax.errors import MedFuseError

MAXIMUM_BYTES, MAXIMUM_LINES, MAXIMUM_COLUMNS = 2**24, 10**5, 10**4      # of a table of people
MISSING = {"", "n/a", "na", "nan", "none", "null"}
KEYS = {"participants.tsv": ("participant_id",), "sessions.tsv": ("session_id",)}        # by the end of the file's name
SEXES = {"f": "F", "female": "F", "woman": "F", "m": "M", "male": "M", "man": "M", "o": None, "other": None}
# Lublin 2013 for progressive-relapsing; the rest are spellings.
PHENOTYPE = {"rr": "RRMS", "rrms": "RRMS", "sp": "SPMS", "spms": "SPMS", "pp": "PPMS", "ppms": "PPMS", "pr": "PPMS",
             "prms": "PPMS", "cis": "CIS", "control": "control", "hc": "control", "healthy": "control"}
PHENOTYPE_COLUMNS = ("phenotype", "ms_type")
TREATMENT = {name: name for name in findings.TREATMENTS} | {"untreated": "none"}        # efficacy; "none" reads as n/a
NUMBERS = {"age": (0.0, 120.0), "edss": (0.0, 10.0), "disease_duration_years": (0.0, 100.0),
           "days_from_first": (0.0, 40000.0), "date_years": (0.0, 110.0)}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FORMULA = ("=", "+", "-", "@", "\t", "\r")            # a spreadsheet would run such a cell
IDENTIFIER = {"participant_id": re.compile(r"sub-[A-Za-z0-9]+"), "session_id": re.compile(r"ses-[A-Za-z0-9]+")}


def read_table(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a table, n/a as None; ages, EDSS and days as numbers, sex F | M, phenotype in the words of the house.

    MedFuseError for damage, doubled or missing columns and rows, ragged lines, and values that no person has.
    """
    path = Path(path)
    lines = _lines(path)
    names = [name.strip() for name in lines[0][1]]
    _check_names(names, path)
    rows = []
    for number, cells in lines[1:]:
        if len(cells) != len(names):
            raise MedFuseError(f"{path}: line {number} has {len(cells)} cells, the header {len(names)}: mend that line")
        row = {name: _cell(cell) for name, cell in zip(names, cells, strict=True)}
        rows.append(_typed(row, f"{path}: line {number}"))
    if not rows:
        raise MedFuseError(f"{path}: a header and no rows: add a row for each person or visit")
    _check_doubles(rows, names, path)
    return rows


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Line numbers and cells of the lines that are not empty; at least one."""
    try:
        if not path.is_file():
            raise MedFuseError(f"{path}: no such table: check the path")
        if path.stat().st_size > MAXIMUM_BYTES:
            raise MedFuseError(f"{path}: larger than {MAXIMUM_BYTES // 2**20} MiB: no table of people; check the path")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise MedFuseError(f"{path}: cannot be read ({error.strerror or error}): check its permissions") from error
    except UnicodeDecodeError as error:
        raise MedFuseError(f"{path}: not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if "\0" in text:
        raise MedFuseError(f"{path}: not a text file: save the table as tab-separated UTF-8 text")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="," if path.suffix == ".csv" else "\t",
                        quoting=csv.QUOTE_MINIMAL if path.suffix == ".csv" else csv.QUOTE_NONE, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in islice(reader, MAXIMUM_LINES + 1)
                 if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise MedFuseError(f"{path}: line {reader.line_num}: {error}: mend that line") from error
    if reader.line_num > MAXIMUM_LINES:
        raise MedFuseError(f"{path}: more than {MAXIMUM_LINES} lines: no table of people; check the path")
    if not lines:
        raise MedFuseError(f"{path}: an empty table: write a header and a row for each person or visit")
    return lines


def _check_names(names: list[str], path: Path) -> None:
    if len(names) > MAXIMUM_COLUMNS:
        raise MedFuseError(f"{path}: more than {MAXIMUM_COLUMNS} columns: no table of people; check the path")
    doubled = sorted(name for name, count in Counter(names).items() if count > 1)
    if "" in names:
        raise MedFuseError(f"{path}: column {names.index('') + 1} has no name: name it or delete it")
    if doubled:
        raise MedFuseError(f"{path}: column {doubled[0]!r} appears twice: delete one")
    for ending, needed in KEYS.items():
        for name in needed:
            if path.name.endswith(ending) and name not in names:
                raise MedFuseError(f"{path}: no column {name!r}: add it (columns are separated by tabs)")


def _check_doubles(rows: list[dict[str, Any]], names: list[str], path: Path) -> None:
    keys = [name for name in ("participant_id", "session_id") if name in names]
    seen: set[tuple[Any, ...]] = set()
    for row in rows if path.name.endswith(tuple(KEYS)) else ():
        key = tuple(row[name] for name in keys)
        if key in seen:
            raise MedFuseError(f"{path}: {' '.join(map(str, key))} has two rows: keep one")
        seen.add(key)


def _cell(cell: str) -> str | None:
    """None where nothing is known; without the quote that `write_table` puts before what looks like a formula."""
    cell = cell.strip()
    if cell.lower() in MISSING:
        return None
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def _typed(row: dict[str, Any], place: str) -> dict[str, Any]:
    """The columns that we know, in our types and words; all others stay as they are."""
    for name, pattern in IDENTIFIER.items():
        if name in row and not pattern.fullmatch(row[name] or ""):
            raise MedFuseError(f"{place}: {name} {row[name]!r}: write {pattern.pattern[:4]}LABEL (letters, digits)")
    for name, (low, high) in NUMBERS.items():
        if row.get(name) is not None:
            row[name] = _number(row[name], name, low, high, place)
    if row.get("sex") is not None:
        row["sex"] = _word(row["sex"], "sex", SEXES, ("F", "M", "n/a"), place)
    column = next((name for name in PHENOTYPE_COLUMNS if row.get(name) is not None), None)
    if column:
        row["phenotype"] = _word(row[column], column, PHENOTYPE, (*findings.PHENOTYPES, "n/a"), place)
    if row.get("treatment") is not None:               # many tables name drugs: that is no mistake
        row["treatment"] = TREATMENT.get(row["treatment"].lower(), row["treatment"])
    return row


def _number(cell: str, name: str, low: float, high: float, place: str) -> float:
    digits = cell.removesuffix("+") if name == "age" else cell       # BIDS writes 89+ for the very old
    try:
        number = float(digits.replace("_", "?"))                     # Python would read 4_2 as 42
    except ValueError as error:
        raise MedFuseError(f"{place}: {name} {cell!r} is not a number: write a number or n/a") from error
    if not (math.isfinite(number) and low <= number <= high):
        raise MedFuseError(f"{place}: {name} {cell} is outside {low:g} to {high:g}: correct it or write n/a")
    return number


def _word(cell: str, name: str, known: Mapping[str, str | None], allowed: Iterable[str], place: str) -> str | None:
    if cell.lower() not in known:
        raise MedFuseError(f"{place}: {name} {cell!r} is not known: write one of {', '.join(allowed)}")
    if known[cell.lower()] is None:
        logging.info("%s: %s %s: treated as unknown", place, name, cell)
    return known[cell.lower()]


def write_table(rows: Iterable[Mapping[str, Any]], path: str | Path, columns: Iterable[str] = ()) -> Path:
    """Write rows as tab-separated text; None is n/a, and no cell can run as a formula.

    `columns` come first, others in order of appearance.
    """
    rows, path = list(rows), Path(path)
    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    lines = [names, *([_written(row.get(name)) for name in names] for row in rows)]
    with whole_file(path) as temporary:
        temporary.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8",
                             errors="backslashreplace")                          # a path may hold what is no text
    return path


def _written(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "n/a"
    text = re.sub(r"[\t\r\n]+", " ", str(value))
    return f"'{text}" if text.startswith(FORMULA) and not NUMBER.fullmatch(text) else text
