"""Metadata of medfuse_jax. Versions are ranges: an installed jax (Colab, accelerator images) is never downgraded."""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "medfuse_jax/__init__.py").read_text(), re.MULTILINE)[1]

CORE = [
    "absl-py>=2.1",
    "flax>=0.10",
    "grain>=0.2.12",
    "jax>=0.9.2,<0.13",
    "jaxtyping>=0.3.2",
    "matplotlib>=3.9",
    "ml_collections>=1.0",
    "nibabel>=5.3",
    "nilearn>=0.11",
    "numpy>=2.0",
    "optax>=0.2.5",
    "orbax-checkpoint>=0.11.30",
    "safetensors>=0.5",
    "scipy>=1.14",
    "tensorboard>=2.18",
    "tensorboardX>=2.6.2",
    "tokenizers>=0.21",
    "tqdm>=4.66",
]

EXTRAS = {
    "cuda12": ["jax[cuda12]>=0.9.2,<0.13"],
    "cuda13": ["jax[cuda13]>=0.9.2,<0.13"],
    "tpu": ["jax[tpu]>=0.9.2,<0.13"],
    "notebook": ["ipykernel>=6.29", "jupytext>=1.16"],
    "preproc": ["SimpleITK>=2.4"],
    "test": [
        "beartype>=0.20",
        "hypothesis>=6.112",
        "ipykernel>=6.29",
        "jupytext>=1.16",
        "nbclient>=0.10",
        "pytest>=8.3",
        "pytest-xdist>=3.6",
        "ruff>=0.9",
        "scikit-image>=0.25",
    ],
    # Only what `make test-all` compares with.
    "oracle": ["bids-validator-deno>=2.0", "playwright>=1.49", "surface-distance>=0.1", "torch>=2.5",
               "transformers>=5,<6"],
}

setup(
    name="medfuse_jax",
    version=VERSION,
    description="A sentence commands lesions and atrophy in a 3D brain MRI, and a measurer checks the result.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="medfuse_jax authors",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_namespace_packages(include=["medfuse_jax", "medfuse_jax.*"]),
    package_data={"medfuse_jax": ["**/*.html", "**/*.json", "**/*.tsv", "**/*.txt"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
