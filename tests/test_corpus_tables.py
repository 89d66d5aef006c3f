"""A corpus of broken and odd tables and trees, made on the spot: refused in one line that names the cure, or read."""

import gzip
import os
from pathlib import Path

import pytest
from spoilt import PEOPLE, saved, tree, written

from medfuse_jax.data import MedFuseError, bids, read_table, write_table
from medfuse_jax.data.tables import MAXIMUM_BYTES, MAXIMUM_LINES

ROWS = [dict(participant_id="sub-01", age=42.0, sex="F", edss=1.5, note="ok"),
        dict(participant_id="sub-02", age=35.0, sex="M", edss=None, note="=cmd|' /C calc'!A0")]
ODD = {
    "CRLF": PEOPLE.replace("\n", "\r\n"), "CR": PEOPLE.replace("\n", "\r"), "BOM": "\ufeff" + PEOPLE,
    "BOM and CRLF": "\ufeff" + PEOPLE.replace("\n", "\r\n"), "no last end of line": PEOPLE[:-1],
    "empty lines": PEOPLE.replace("\n", "\n\n \n"), "spaces": PEOPLE.replace("\t", " \t ").replace("\n", " \n"),
    "decimals": PEOPLE.replace("42", "4.2e1"), "missing, said otherwise": PEOPLE.replace("n/a", "NaN"),
    "quoted formula": PEOPLE.replace("=cmd", "'=cmd"), "words": PEOPLE.replace("\tF\t", "\tfemale\t"),
}
BAD = {
    "spaces for tabs": (PEOPLE.replace("\t", " "), "no column"), "semicolons": (PEOPLE.replace("\t", ";"), "no column"),
    "UTF-16": (PEOPLE.encode("utf-16"), "not UTF-8"), "latin-1": (PEOPLE.replace("ok", "é").encode("latin-1"), "UTF-8"),
    "gz": (gzip.compress(PEOPLE.encode()), "not UTF-8"), "NUL": (PEOPLE.replace("ok", "o\0k"), "not a text file"),
    "blank": (" \n\t\n\n", "an empty table"), "nothing": ("", "an empty table"),
    "a header alone": (PEOPLE[:PEOPLE.index("sub")], "no rows"),
    "no header": ("\n".join(PEOPLE.split("\n")[1:]), "no column 'participant_id'"),
    "in capitals": (PEOPLE.replace("participant_id", "Participant_ID"), "no column 'participant_id'"),
    "a nameless column": (PEOPLE.replace("note", ""), "column 5 has no name"),
    "a column twice": (PEOPLE.replace("note", " age "), "column 'age' appears twice"),
    "a person twice": (PEOPLE.replace("sub-02", " sub-01"), "sub-01 has two rows"),
    "a short row": (PEOPLE.replace("\tok", ""), "line 2 has 4 cells"),
    "a long row": (PEOPLE.replace("ok", "o\tk"), "line 2 has 6 cells"),
    "too many columns": ("participant_id" + "\tx" * 20_000, "more than 10000 columns"),
    "too many lines": (PEOPLE + "\n" * MAXIMUM_LINES, f"more than {MAXIMUM_LINES} lines"),
    "too many bytes": (b" " * (MAXIMUM_BYTES + 1), "larger than 16 MiB"),
    "an endless cell": (PEOPLE.replace("ok", "k" * 2**18), "field larger than field limit"),
    **{f"the person {name!r}": (PEOPLE.replace("sub-02", name), "write sub-LABEL") for name in (
        "../../etc", "sub-../x", "sub-", "02", "sub-0 2", "sub-é", "=sub-02", "sub-02/ses-1", "n/a", "C:\\sub-02")},
    **{f"the age {age!r}": (PEOPLE.replace("42", age), why) for age, why in (
        ("-1", "outside 0 to 120"), ("121", "outside"), ("1e99", "outside"), ("-inf", "outside"),
        ("4_2", "not a number"), ("42,5", "not a number"), ("0x2a", "not a number"), ("40-45", "not a number"),
        ("=42", "not a number"), ("42 years", "not a number"))},
    **{f"the EDSS {edss!r}": (PEOPLE.replace("1.5", edss), why) for edss, why in (
        ("10.5", "outside 0 to 10"), ("-0.5", "outside"), ("mild", "not a number"))},
    "the sex '3'": (PEOPLE.replace("\tF\t", "\t3\t"), "write one of F, M, n/a"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_tables_are_read(tmp_path, name):
    assert read_table(written(tmp_path / "participants.tsv", ODD[name].encode())) == ROWS


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_in_one_line(tmp_path, name):
    content, why = BAD[name]
    path = written(tmp_path / "participants.tsv", content if isinstance(content, bytes) else content.encode())
    with pytest.raises(MedFuseError) as told:
        read_table(path)
    assert why in str(told.value) and str(told.value).startswith(f"{path}: ") and "\n" not in str(told.value)


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to(path), lambda path: None])
def test_what_is_no_table_at_all(tmp_path, make):
    make(tmp_path / "participants.tsv")
    with pytest.raises(MedFuseError, match="no such table"):
        read_table(tmp_path / "participants.tsv")


def test_quotes_of_a_csv(tmp_path):
    good, bad = 'participant_id,note\nsub-01,"a, ""b"""\n', 'participant_id,note\nsub-01,"a\n'
    assert read_table(written(tmp_path / "x.csv", good.encode())) == [dict(participant_id="sub-01", note='a, "b"')]
    with pytest.raises(MedFuseError, match="line 2: unexpected end of data"):
        read_table(written(tmp_path / "x.csv", bad.encode()))


# Trees and dates


@pytest.mark.parametrize("first, second, why", [
    ("2021-02-30", "n/a", "is no date"), ("0000-01-01", "n/a", "is no date"), ("31/05/2024", "n/a", "is no date"),
    ("2020", "n/a", "is no date"), ("yesterday", "n/a", "is no date"), ("=NOW()", "n/a", "is no date"),
    ("2020-01-01", "9999-12-31", "more than 110 years apart"), ("0001-01-01", "2020-01-01", "110 years apart"),
])
def test_dates_that_cannot_be(tmp_path, first, second, why):
    (study,) = bids.index(tree(tmp_path, f"ses-1\t{first}\nses-2\t{second}\n"))
    assert why in study.problem and "sub-01_sessions.tsv: " in study.problem


@pytest.mark.parametrize("first, second, years", [
    ("2021-01-01", "2020-01-01", -1.002), ("2020-01-01T00:00:00+02:00", "2021-01-01T00:00:00Z", 1.002),
    ("1899-12-31", "1900-12-31", 0.999), ("2020-01-01", "2020-01-01", 0.0)])
def test_odd_dates_are_believed(tmp_path, first, second, years, caplog):
    one, two = bids.index(tree(tmp_path, f"ses-1\t{first}\nses-2\t{second}\n"))
    assert two.date_years - one.date_years == pytest.approx(years, abs=2e-3)
    assert ("not dated in the order" in caplog.text) == (years < 0)


def link_out(root: Path, place: str) -> None:
    """A link from the tree to what lies beside it."""
    secret = saved(root.parent / "secret.nii.gz")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).unlink(missing_ok=True)
    (root / place).symlink_to(secret if place.endswith("gz") else tree(root.parent / "other") / "sub-01")


@pytest.mark.parametrize("place", ["sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "sub-02", "sub-01/ses-1/anat/x/../../"
                                   "../../derivatives/d/sub-01/ses-1/sub-01_ses-1_label-lesion_mask.nii.gz"])
def test_links_do_not_lead_out_of_the_tree(tmp_path, place):
    root = tree(tmp_path / "tree")
    (root / "sub-01/ses-1/anat/x").mkdir()
    link_out(root, place)
    problems = [study.problem for study in bids.index(root) if study.problem]
    assert problems and all("leads out of the data set" in why or "another person" in why for why in problems)


@pytest.mark.parametrize("name", ["participants.tsv", "sub-01/sub-01_sessions.tsv"])
def test_tables_do_not_lead_out_of_the_tree(tmp_path, name):
    root = tree(tmp_path / "tree")
    (root / name).symlink_to(written(tmp_path / "secret.tsv", PEOPLE.encode()))
    try:
        told = bids.index(root)[0].problem
    except MedFuseError as error:
        told = str(error)
    assert "leads out of the data set" in told


def test_circles_and_odd_names_do_not_stop_a_tree(tmp_path):
    root = tree(tmp_path / "tree")
    (root / "sub-loop").symlink_to(root / "sub-loop")
    (root / "sub-01/ses-1/anat/again").symlink_to(root / "sub-01")
    (root / "sub-file").write_text("no folder")
    os.mkdir(os.fsencode(root) + b"/sub-\xff")
    studies = bids.index(root)
    assert [study.name for study in studies if not study.problem] == ["sub-01_ses-1", "sub-01_ses-2"]
    (odd,) = [study for study in studies if study.problem]
    assert "rename it" in odd.problem
    table = write_table([dict(path=odd.person, reason=odd.problem)], tmp_path / "rejected.tsv")
    assert "sub-\\udcff" in table.read_text()


@pytest.mark.parametrize("make, why", [
    (lambda path: written(path, b"PK\3\4"), "a file, not a folder: unpack"),
    (lambda path: path.mkdir(), "no sub-\\* folder"), (lambda path: None, "no such folder"),
])
def test_what_is_no_tree(tmp_path, make, why):
    make(tmp_path / "data.zip")
    with pytest.raises(MedFuseError, match=why):
        bids.index(tmp_path / "data.zip")
