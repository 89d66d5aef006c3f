"""How much of this machine a command may take."""

import os
from pathlib import Path

LIMIT = Path("/sys/fs/cgroup/memory.max")          # of a container: a number, or "max"


def memory_bytes() -> int:
    """Memory of this machine, or of this container where that is less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = LIMIT.read_text().strip() if LIMIT.exists() else ""
    return min(whole, int(limit)) if limit.isdecimal() else whole


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs(asked: int, cores: int, each_bytes: float) -> int:
    """How many jobs run at the same time: so many as are asked for; 0: one a core, if memory holds them all."""
    return asked or max(1, min(cores, int(memory_bytes() // each_bytes)))
