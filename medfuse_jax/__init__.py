"""Latent diffusion for 3D brain MRI of multiple sclerosis: a sentence commands, a measurer checks.

Research only, not for clinical use.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["MedFuse", "__version__"]


def __getattr__(name: str) -> Any:
    """`MedFuse`, imported when it is asked for: `import medfuse_jax` alone costs nothing."""
    if name == "MedFuse":
        from medfuse_jax.medfuse import MedFuse
        return MedFuse
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
