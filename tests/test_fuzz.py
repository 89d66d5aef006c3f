"""Random damage, lying headers, and the commands: nothing but a MedFuseError comes out, soon and in little memory."""

import gzip
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spoilt import ARRAY, PEOPLE, patched, saved, tree, written

from medfuse_jax.data import MedFuseError, read_table, read_volume, write_table
from medfuse_jax.data.tables import IDENTIFIER, MISSING, NUMBERS


def spoilt(content: bytes, random: np.random.Generator, reach: int) -> bytes:
    """Some bytes replaced, or a bit flipped, among the first `reach`; or the end cut off; or a part repeated."""
    made, kind = bytearray(content), random.integers(4)
    places = random.integers(min(reach, len(made)), size=int(random.integers(1, 5)))
    if kind == 0:
        return content[:int(random.integers(len(content)))]
    if kind == 1:
        at = int(places[0])
        return content[:at] + content[at:at + 9] + content[at:]
    for place in places:
        made[place] = made[place] ^ 1 << int(random.integers(8)) if kind == 2 else int(random.integers(256))
    return bytes(made)


@pytest.mark.parametrize("name, reach", [("a.nii.gz", 10**6), ("a.nii", 352), ("b.nii", 10**6)])
def test_damaged_scans_are_refused_or_sane(tmp_path, name, reach):
    """300 of each: among the bytes of a gz, of a header, and of a whole plain file."""
    random, whole, outcomes = np.random.default_rng(300), saved(tmp_path / name).read_bytes(), set()
    for _ in range(300):
        path, start = written(tmp_path / name, spoilt(whole, random, reach)), time.process_time()
        try:
            scan = read_volume(path)
            outcomes.add("read")
            assert scan.array.dtype == np.float32 and np.isfinite(scan.array).all() and scan.array.shape == ARRAY.shape
            assert nibabel.aff2axcodes(scan.affine) == ("R", "A", "S") and 0.1 <= scan.spacing.min()
            assert scan.spacing.max() <= 20 and np.abs(scan.affine).max() < 5000
        except MedFuseError as error:
            outcomes.add("refused")
            assert str(error).startswith(str(path)) and "\n" not in str(error)
        assert time.process_time() - start < 5
    assert "refused" in outcomes and (name == "a.nii.gz" or "read" in outcomes)


def test_damaged_tables_are_refused_or_sane(tmp_path):
    random, outcomes = np.random.default_rng(300), set()
    for _ in range(300):
        path = written(tmp_path / "participants.tsv", spoilt(PEOPLE.encode(), random, 10**6))
        try:
            for row in read_table(path):
                assert IDENTIFIER["participant_id"].fullmatch(row["participant_id"])
                assert row.get("sex") in (None, "F", "M")
                assert all(row.get(name) is None or low <= row[name] <= high for name, (low, high) in NUMBERS.items())
            outcomes.add("read")
        except MedFuseError as error:
            outcomes.add("refused")
            assert str(error).startswith(str(path)) and "\n" not in str(error)
    assert outcomes == {"read", "refused"}


@given(st.binary(max_size=600), st.sampled_from(["a.nii", "a.nii.gz", "a.tsv"]), st.booleans())
@settings(deadline=None, max_examples=150)
def test_any_bytes_are_refused_or_read(tmp_path_factory, content, name, packed):
    path = written(tmp_path_factory.mktemp("b") / name, gzip.compress(content, 1) if packed else content)
    try:
        assert (read_table if name == "a.tsv" else read_volume)(path)
    except MedFuseError as error:
        assert str(error).startswith(str(path))


@given(st.lists(st.fixed_dictionaries({"note": st.text(st.characters(codec="utf-8", exclude_characters="\0")),
                                       "other": st.integers(0, 9)}), min_size=1, max_size=4))
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "x.tsv"
    notes = [row["note"] for row in rows]
    read = [row["note"] for row in read_table(write_table(rows, path))]
    same = [text for text in notes if text.isprintable() and text.strip() == text and text.lower() not in MISSING
            and not text.startswith("'")]
    assert len(read) == len(rows) and set(same) <= set(read)


# What a lying file may cost

LIMITED = r"""
import re, resource, sys, time
from pathlib import Path
from medfuse_jax.data import MedFuseError, read_table, read_volume
used = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))
for path in sys.argv[1:]:
    start = time.process_time()
    try: (read_table if path.endswith("tsv") else read_volume)(path)
    except MedFuseError as error: print(time.process_time() - start, error)
"""


def behind(path: Path, header: bytes, *mebibytes: int) -> Path:
    """A header and so many MiB of zeros, in one gz member each."""
    members = [gzip.compress(bytes(2**20 * number), 1) for number in mebibytes]
    return written(path, b"".join([gzip.compress(header, 1), *members]))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is limited as on Linux")
def test_lying_files_cost_at_most_five_seconds_and_512_mebibytes(tmp_path):
    content = bytearray(saved(tmp_path / "whole.nii").read_bytes())
    far, large = bytearray(content), bytearray(content)
    struct.pack_into("<f", far, 108, 2.0**26)
    struct.pack_into("<3h", large, 42, 400, 400, 400)
    liars = [
        patched(tmp_path / "a.nii", 42, "<3h", 32767, 32767, 32767), written(tmp_path / "b.nii", large),
        written(tmp_path / "c.nii.gz", gzip.compress(large)), behind(tmp_path / "d.nii.gz", bytes(large), 1),
        behind(tmp_path / "e.nii.gz", bytes(content), 300), behind(tmp_path / "f.nii.gz", bytes(content), *[1] * 99),
        behind(tmp_path / "g.nii.gz", bytes(far), 63), behind(tmp_path / "h.nii.gz", b"", 300),
        written(tmp_path / "i.tsv", b"x" * 2**24), written(tmp_path / "j.tsv", b"\t" * 2**24),
        written(tmp_path / "k.tsv", b"a\n" * 2**23), written(tmp_path / "l.tsv", b"a\tb\n" + b"1\n" * 10**5),
        written(tmp_path / "m.tsv", b"".join(b"c%d\t" % n for n in range(10**6)))]
    ran = subprocess.run([sys.executable, "-c", LIMITED, *map(str, liars)], capture_output=True, text=True, check=True)
    lines = [line.split(" ", 1) for line in ran.stdout.splitlines()]
    assert [error.partition(": ")[0] for _, error in lines] == [str(path) for path in liars]
    assert max(float(seconds) for seconds, _ in lines) < 5 and not ran.stderr


# The commands


def test_commands_refuse_in_one_line_and_write_nothing(root, tmp_path):
    """All at once, each in its own process: exit code 2, one line with the file and the cure, no traceback."""
    bad = tree(tmp_path / "bad")
    written(bad / "participants.tsv", PEOPLE.replace("42", "420").encode())
    scan = written(tmp_path / "x_FLAIR.nii.gz", b"no")
    refused = {
        "archive": ("prepare.py", [f"--source={scan}", "--out=out", "--spacing=8"], "unpack an archive"),
        "table": ("prepare.py", [f"--source={bad}", "--out=out", "--spacing=8"], "line 2: age 420 is outside 0 to 120"),
        "inside": ("prepare.py", [f"--source={bad}", f"--out={bad}/out", "--spacing=8"], "lies inside the source"),
        "maps": ("simulate.py", ["--out=out", f"--label_maps={bad}"], "no label map (*.nii.gz): give whole-brain maps"),
        "image": ("sample.py", ["--prompt=FLAIR", "--image=y_FLAIR.nii", "--workdir=runs"], "does not exist"),
    }
    before = sorted(tmp_path.rglob("*"))
    known = os.environ | {"PYTHONPATH": str(root)}
    running = {name: subprocess.Popen([sys.executable, str(root / "launch" / script), *given], cwd=tmp_path,
                                      env=known, stderr=subprocess.PIPE, text=True)
               for name, (script, given, _) in refused.items()}
    for name, process in running.items():
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 2 and refused[name][2] in said and said.count("\n") == 1, said
    assert sorted(tmp_path.rglob("*")) == before
