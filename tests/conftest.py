"""What all tests stand on: eight devices on one CPU, a cache of programs, checked shapes, a tiny family, real scans."""

import os
from pathlib import Path

import jaxtyping
import pytest

ROOT = Path(__file__).resolve().parent.parent

# A worker has its own cache: jax writes an entry in place, and another process could read half of it.
CACHE = ROOT / ".pytest_cache" / os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ.update(
    JAX_PLATFORMS="cpu",
    JAX_COMPILATION_CACHE_DIR=str(CACHE / "xla"),
    JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
    XLA_FLAGS="--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=1",
    MPLBACKEND="agg",
)
os.environ.setdefault("MEDFUSE_CACHE", str(ROOT / ".pytest_cache" / "medfuse_jax"))     # commands that tests start, too

# Shapes and types are checked in every call, in tests only. Before anything of the package is imported.
jaxtyping.install_import_hook("medfuse_jax", "beartype.beartype")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for the real scans is marked so: `make test` is the same with and without them."""
    for item in items:
        if "shared" in item.fixturenames:
            item.add_marker("shared")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real scans and label maps beside the repository; they are never copied into it."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no ../shared/data beside the repository")
    return folder


@pytest.fixture(scope="session")
def family(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workdir of a tiny family, trained in this process as `launch/train.py --config=configs/ldm.py:tiny` does."""
    from medfuse_jax import family, overrides
    chosen = overrides.change(overrides.load(root / "configs/ldm.py", "tiny"), ["mesh.data=1", "data.jobs=1"], "ldm.py")
    workdir = tmp_path_factory.mktemp("family")
    family.train(chosen, workdir, root / "configs")
    return workdir


@pytest.fixture(scope="session")
def visit(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[Path, Path]:
    """A simulated FLAIR on a scanner's own grid, in a scanner's units, and a mask over a part of it."""
    import numpy as np

    from medfuse_jax import family, overrides
    from medfuse_jax.data import grid, nifti
    from medfuse_jax.data.resampling import resample
    folder, config = tmp_path_factory.mktemp("visit"), overrides.load(root / "configs/ldm.py", "tiny")
    config.data.jobs = 1
    volume = np.load(family.prepared(config, folder) / "volumes.npy", mmap_mode="r")[0, ..., 0].astype(np.float32).T
    own = grid.Grid((34, 40, 36), np.array([[5.5, 0, 0, -92.0], [0, 5.5, 0, -130], [0, 0, 5.5, -85], [0, 0, 0, 1]]))
    image = 300 * resample(volume, grid.standard(8.0).affine, own)
    inside = np.zeros(own.shape, np.uint8)
    inside[18:26, 12:28, 12:24] = 1
    scan = nifti.write_volume(folder / "sub-x_FLAIR.nii.gz", image, own.affine)
    return scan, nifti.write_volume(folder / "mask.nii.gz", inside, own.affine)
