"""One flag, one meaning: --jobs=0 is one a core in every command that has it, as far as memory goes."""

import re
import subprocess
import sys

import pytest

from medfuse_jax.data import machine


@pytest.mark.parametrize("asked, cores, limit, jobs", [(3, 2, 1e9, 3), (0, 8, 64e9, 8), (0, 64, 16e9, 8),
                                                       (0, 4, 1e9, 1)])
def test_zero_is_one_a_core_if_memory_holds_them(monkeypatch, asked, cores, limit, jobs):
    monkeypatch.setattr(machine, "memory_bytes", lambda: int(limit))
    assert machine.jobs(asked, cores, 2e9) == jobs


@pytest.mark.parametrize("limit, smaller", [("max\n", False), ("123456789\n", True), (None, False)])
def test_a_container_has_the_memory_that_it_is_given(monkeypatch, tmp_path, limit, smaller):
    monkeypatch.setattr(machine, "LIMIT", tmp_path / "memory.max")
    if limit is not None:
        machine.LIMIT.write_text(limit)
    assert (machine.memory_bytes() == 123456789) == smaller and machine.memory_bytes() > 0


@pytest.mark.parametrize("command", ["prepare", "simulate"])
def test_a_command_takes_one_job_a_core_unless_told(root, command):
    told = subprocess.run([sys.executable, f"launch/{command}.py", "--help"], cwd=root, capture_output=True, text=True)
    assert re.search(r"--jobs=VALUE\n +[^-]*; 0: one a core[^-]*\(default: 0\)\n", told.stdout)
