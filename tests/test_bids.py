"""Trees and tables: what belongs to which visit, and which mistakes of a table are told in one line."""

from pathlib import Path

import pytest

from medfuse_jax.data import MedFuseError, bids, read_table, write_table

PEOPLE = "participant_id\tage\tsex\tms_type\tedss\nsub-01\t42\tF\tRR\t1.5\nsub-02\t89+\tmale\tn/a\t\n"


def tree(root: Path, *files: str, **tables: str) -> Path:
    """Empty files at the places given; tables by name."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name, text in tables.items():
        (root / f"{name}.tsv").write_text(text)
    return root


@pytest.mark.parametrize("text", [PEOPLE, PEOPLE.replace("\n", "\r\n"), "\ufeff" + PEOPLE, PEOPLE + "\n\n"])
def test_a_table_is_read_in_our_words(tmp_path, text):
    (tmp_path / "participants.tsv").write_bytes(text.encode())
    one, two = read_table(tmp_path / "participants.tsv")
    assert one == dict(participant_id="sub-01", age=42.0, sex="F", ms_type="RR", edss=1.5, phenotype="RRMS")
    assert two == dict(participant_id="sub-02", age=89.0, sex="M", ms_type=None, edss=None)


@pytest.mark.parametrize("word, phenotype", [
    ("RR", "RRMS"), ("sp", "SPMS"), ("PP", "PPMS"), ("PR", "PPMS"), ("CIS", "CIS"), ("HC", "control")])
def test_phenotypes(tmp_path, word, phenotype):
    (tmp_path / "participants.tsv").write_text(f"participant_id\tphenotype\nsub-01\t{word}\n")
    assert read_table(tmp_path / "participants.tsv")[0]["phenotype"] == phenotype


@pytest.mark.parametrize("old, new, why", [
    ("42", "420", "age 420 is outside 0 to 120"), ("42", "-3", "age -3"), ("42", "inf", "age inf"),
    ("42", "young", "age 'young' is not a number"), ("F", "X", "sex 'X' is not known"),
    ("RR", "MS3", "write one of CIS, RRMS"), ("1.5", "11", "edss 11"), ("sub-02", "sub-01", "sub-01 has two rows"),
    ("sub-02", "../x", "participant_id '../x'"),
    ("sub-02", "", "participant_id None"), ("\tsex", "\tage", "column 'age' appears twice"),
    ("\tsex", "\t", "column 3 has no name"),
    ("participant_id", "person", "no column 'participant_id'"), ("\t1.5", "", "line 2 has 4 cells, the header 5"),
    ("1.5", "1.5\t7", "line 2 has 6 cells"), ("age", "a\0ge", "not a text file"), (PEOPLE, "", "an empty table"),
    (PEOPLE, "participant_id\tage\n", "no rows"), ("42", "\udcff", "not UTF-8"),
])
def test_a_bad_table_is_refused_in_one_line(tmp_path, old, new, why):
    path = tmp_path / "participants.tsv"
    path.write_bytes(PEOPLE.replace(old, new, 1).encode("utf-8", "surrogateescape"))
    with pytest.raises(MedFuseError) as told:
        read_table(path)
    assert why in str(told.value) and str(told.value).startswith(str(path)) and "\n" not in str(told.value)


def test_no_table():
    with pytest.raises(MedFuseError, match="no such table"):
        read_table("nowhere.tsv")


def test_cells_that_a_spreadsheet_would_run_are_quoted(tmp_path):
    row = dict(name="=1+1", mail="@x", minus="-2.5", plus="+3", dash="-rm", number=-1e-5, nothing=None, lines="a\tb\nc")
    path = write_table([row], tmp_path / "t.tsv")
    cells = path.read_text().splitlines()[1].split("\t")
    assert cells == ["'=1+1", "'@x", "-2.5", "+3", "'-rm", "-1e-05", "n/a", "a b c"]
    assert read_table(path) == [row | dict(number="-1e-05", lines="a b c")]


def test_masks_go_to_their_visit_and_space(tmp_path):
    images = [f"sub-01/ses-{s}/anat/sub-01_ses-{s}_space-MNI_{c}.nii.gz" for s in "12" for c in ("FLAIR", "T1w")]
    root = tree(tmp_path, *images, "sub-01/ses-1/anat/sub-01_ses-1_ce-gadolinium_space-MNI_T1w.nii.gz",
                "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
                "derivatives/a/sub-01/ses-1/anat/sub-01_ses-1_space-MNI_label-lesion_mask.nii.gz",
                "derivatives/a/sub-01/ses-2/anat/sub-01_ses-2_space-MNI_desc-change_label-lesion_mask.nii.gz",
                "derivatives/a/sub-01/ses-2/anat/sub-01_ses-2_label-lesion_mask.nii.gz",
                "derivatives/b/sub-01/ses-2/anat/sub-01_ses-2_space-other_dseg.nii.gz",
                "derivatives/b/sub-01/ses-1/anat/sub-01_ses-1_dseg.nii.gz",
                "derivatives/c/sub-01/sub-01_desc-brain_mask.nii.gz",
                "sub-01/ses-1/anat/._sub-01_ses-1_T2w.nii.gz", "sub-02/ses-1/dwi/sub-02_ses-1_dwi.nii.gz")
    one, two = bids.index(root)
    assert list(one.contrasts) == ["FLAIR", "T1w", "ce-gadolinium_T1w"] and "space-MNI" in one.contrasts["T1w"].name
    assert one.lesion_mask.name == "sub-01_ses-1_space-MNI_label-lesion_mask.nii.gz" and one.structures.parts[-5] == "b"
    assert two.lesion_mask.name == "sub-01_ses-2_label-lesion_mask.nii.gz" and two.structures is None
    assert one.brain_mask == two.brain_mask and one.brain_mask.parts[-3] == "c"
    assert one.date_years is None is two.date_years and one.name == "sub-01_ses-1"


def test_a_tree_without_sessions(tmp_path):
    root = tree(tmp_path, "sub-01/anat/sub-01_FLAIR.nii", "derivatives/x/sub-01/anat/sub-01_label-lesion_mask.nii.gz",
                participants=PEOPLE)
    (study,) = bids.index(root)
    assert study.session == "" and study.name == "sub-01" and study.date_years == 0 and study.lesion_mask
    assert study.row["age"] == 42 and study.row["phenotype"] == "RRMS"


@pytest.mark.parametrize("text, years, ages", [
    ("session_id\tacq_time\nses-1\t2020-01-01T10:00:00\nses-2\t2021-01-01T10:00:00\n", [0, 1.002], [42, 43]),
    ("session_id\tacq_time\nses-1\t2021-01-01\nses-2\t2020-01-01\n", [1.002, 0], [43, 42]),
    ("session_id\tdays_from_first\tage\nses-1\t0\tn/a\nses-2\t731\t50\n", [0, 2.001], [42, 50]),
    ("session_id\tacq_time\nses-1\tn/a\nses-2\tn/a\n", [None, None], [42, 42]),
])
def test_visits_are_dated(tmp_path, text, years, ages):
    root = tree(tmp_path, *[f"sub-01/ses-{s}/anat/sub-01_ses-{s}_FLAIR.nii.gz" for s in "12"], participants=PEOPLE)
    (root / "sub-01/sub-01_sessions.tsv").write_text(text)
    studies = bids.index(root)
    expected = [None if year is None else pytest.approx(year, abs=2e-3) for year in years]
    assert [study.date_years for study in studies] == expected
    assert [round(study.row["age"]) for study in studies] == ages


def test_one_persons_trouble_stays_with_that_person(tmp_path):
    root = tree(tmp_path / "tree", "sub-01/anat/sub-01_FLAIR.nii.gz", "sub-02/anat/sub-03_FLAIR.nii.gz",
                "sub-04/ses-1/anat/sub-04_ses-1_FLAIR.nii.gz", "sub-b d/anat/x.nii.gz")
    (root / "sub-04/sub-04_sessions.tsv").write_text("session_id\tacq_time\nses-1\tyesterday\n")
    outside = tree(tmp_path, "secret.nii.gz") / "secret.nii.gz"
    (root / "sub-05/anat").mkdir(parents=True)
    (root / "sub-05/anat/sub-05_FLAIR.nii.gz").symlink_to(outside)
    problems = {study.person: study.problem for study in bids.index(root)}
    assert problems.pop("sub-01") == ""
    expected = {"sub-02": "another person", "sub-04": "no date", "sub-05": "leads out", "sub-b d": "rename"}
    assert set(problems) == set(expected)
    assert all(why in problems[person] for person, why in expected.items())


@pytest.mark.parametrize("name, why", [("nowhere", "no such folder"), (".", "no sub-\\* folder")])
def test_what_is_no_tree(tmp_path, name, why):
    with pytest.raises(MedFuseError, match=why):
        bids.index(tmp_path / name)


def test_the_real_tree(shared):
    studies = {study.name: study for study in bids.index(shared / "data/open_ms")}
    assert sorted(studies) == ["sub-cs07_ses-01", "sub-cs19_ses-01", "sub-long01_ses-01", "sub-long01_ses-02"]
    assert [len(study.contrasts) for study in studies.values()] == [4, 4, 3, 3]
    assert [bool(study.lesion_mask) for study in studies.values()] == [True, True, False, False]
    assert all(study.brain_mask for study in studies.values())
    assert studies["sub-long01_ses-02"].date_years == pytest.approx(203 / 365.25)
