"""Where what can be made again is kept between runs: compiled programs, the derived atlas. Safe to delete."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$MEDFUSE_CACHE, or medfuse_jax in $XDG_CACHE_HOME, or ~/.cache/medfuse_jax. Whoever writes there makes it."""
    if chosen := os.environ.get("MEDFUSE_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "medfuse_jax"
