"""Words, files and numbers: numpy only. What users' scripts need is here, imported when it is asked for."""

from typing import Any

from medfuse_jax.errors import MedFuseError

__all__ = ["MedFuseError", "Scan", "read_mask", "read_table", "read_volume", "write_table", "write_volume"]


def __getattr__(name: str) -> Any:
    """The readers, so that importing a light module of this package does not import nibabel."""
    if name in ("Scan", "read_volume", "read_mask", "write_volume"):
        from medfuse_jax.data import nifti
        return getattr(nifti, name)
    if name in ("read_table", "write_table"):
        from medfuse_jax.data import bids
        return getattr(bids, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
