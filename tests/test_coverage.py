"""A brain that the field of view cuts is known to be cut, laid where it belongs, and refused when little is seen."""

from functools import cache

import numpy as np
import pytest
from painted import FINE, error, head, tissues
from phantom import BRAIN, phantom, tree
from phantom import FINE as ROUGH

from medfuse_jax.data import MedFuseError, coverage, files, nifti, poses, prepare, registration, write_volume
from medfuse_jax.data.nifti import Scan
from medfuse_jax.data.placement import to_grid
from medfuse_jax.data.simulate import tree as simulated
from medfuse_jax.data.simulate.person import CohortSettings

UP, RIGHT, BACK = np.eye(3)[2], np.eye(3)[0], -np.eye(3)[1]
TILTED = poses.shift(np.array([5.0, -12.0, 8.0])) @ poses.linear(poses.turn(*np.radians([8.0, -5.0, 6.0])))


@cache
def whole() -> tuple[Scan, np.ndarray]:
    return head("T1w", TILTED)


def cut(share: float, *away: np.ndarray, crop: bool = False) -> tuple[Scan, np.ndarray]:
    """A head of which a share is left before each plane (normals: in the head's frame); crop: the volume ends there."""
    scan, mask = whole()
    voxels = np.argwhere(mask)
    places, left = poses.apply(scan.affine, voxels), np.ones(len(voxels), bool)
    for normal in away:
        height = places @ (TILTED[:3, :3] @ normal)
        left &= height < np.quantile(height, share)
    inside = np.zeros_like(mask)
    inside[tuple(voxels[left].T)] = True
    ends = tuple(slice(low, high + 1) for low, high in zip(*(ends(voxels[left], 0) for ends in (np.min, np.max)),
                                                           strict=True)) if crop else (slice(None),) * 3
    affine = scan.affine @ poses.shift(np.array([end.start or 0 for end in ends], float))
    return Scan(np.where(inside, scan.array, 0)[ends], affine, [], "cut.nii"), inside[ends]


def test_a_whole_brain_is_not_cut():
    scan, mask = whole()
    assert coverage.cuts(mask, scan.affine) == [] and coverage.cuts(tissues() > 0, FINE.affine) == []
    assert coverage.cuts(BRAIN, ROUGH.affine) == [] and coverage.cuts(cut(1.0, crop=True)[1], scan.affine) == []
    assert registration.register(scan.array, mask, scan.affine).shown == 1


@pytest.mark.parametrize("share, away, side, crop", [(0.5, UP, "top", False), (0.6, -UP, "bottom", True),
                                                     (0.75, RIGHT, "right", False), (0.85, UP, "top", True),
                                                     (0.75, BACK, "back", False)])
def test_the_share_that_is_seen_and_where_the_head_lies(share, away, side, crop):
    """The pose is as good as that of the whole head, nearly; the share is within a tenth."""
    scan, mask = cut(share, away, crop=crop)
    (face,) = coverage.cuts(mask, scan.affine)
    assert face.normal @ TILTED[:3, :3] @ away > np.cos(np.radians(10))
    found = registration.register(scan.array, mask, scan.affine, "rigid")
    assert found.shown == pytest.approx(share, abs=0.08) and found.cut == side
    assert error(found.transform, np.linalg.inv(TILTED), mask, scan.affine) < 6


def test_half_a_head_is_refused_and_most_of_one_is_told():
    scan, mask = cut(0.5, UP)
    with pytest.raises(MedFuseError, match=r"cut.nii: shows [45]\d% of a brain only, 70% are needed: the top is cut"):
        to_grid({"T1w": scan}, 8.0, mask)
    scan, mask = cut(0.85, UP)
    placed = to_grid({"T1w": scan}, 8.0, mask)[2]
    assert [line for line in placed.fixups if "of a brain: the top is cut off" in line]
    assert placed.registration.shown == pytest.approx(0.85, abs=0.06)


def test_a_slab_is_cut_twice():
    scan, mask = cut(0.75, UP, -UP)
    assert len(coverage.cuts(mask, scan.affine)) == 2
    found = registration.register(scan.array, mask, scan.affine)
    assert found.shown < 0.7 and sorted(found.cut.split(" and ")) == ["bottom", "top"]


def test_who_is_cut_is_in_the_table(tmp_path):
    """With no registration the head is where it says that it is."""
    root = tree(tmp_path / "tree", people=2)
    half = np.where(np.arange(BRAIN.shape[2]) < BRAIN.shape[2] // 2, phantom(), 0)
    for contrast in ("FLAIR", "T1w"):
        write_volume(root / f"sub-01/ses-01/anat/sub-01_ses-01_{contrast}.nii.gz", half, ROUGH.affine)
    write_volume(root / "derivatives/truth/sub-01/ses-01/anat/sub-01_ses-01_desc-brain_mask.nii.gz", half > 0,
                 ROUGH.affine)
    out = prepare.prepare(root, tmp_path / "out", 8.0, register="none")
    (line,) = (out / "rejected.tsv").read_text().splitlines()[1:]
    assert line.startswith("sub-01/ses-01\t") and "of a brain only, 70% are needed: the top is cut off: give" in line


def test_a_disk_that_cannot_hold_it_is_told_before_long_work(tmp_path, monkeypatch):
    usage = files.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    root = tree(tmp_path / "tree", people=2)
    monkeypatch.setattr(nifti, "read_volume", lambda path: pytest.fail("nothing is read"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MedFuseError, match=r"new/out: some 0\.\d GB will be written, its disk has 0.0 GB free: make"):
        prepare.prepare(root, tmp_path / "new/out", 1.0)
    with pytest.raises(MedFuseError, match="cohort: some .* GB will be written"):
        simulated.bids(tmp_path / "cohort", CohortSettings(subjects=2, visits=2, spacing=1.0))
    assert not any(path.is_file() for path in set(tmp_path.rglob("*")) - set(before))


def test_the_size_that_is_asked_for_is_the_size_that_is_written(tmp_path, monkeypatch):
    """Not less; and not twice as much."""
    asked = []
    monkeypatch.setattr(files, "room", lambda folder, needed: asked.append(needed))
    out = prepare.prepare(tree(tmp_path / "tree", people=2), tmp_path / "out", 2.0, register="none")
    assert 1.0 <= asked[0] / sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) < 1.3
    monkeypatch.setattr(simulated, "room", lambda folder, needed: asked.append(needed))
    cohort = simulated.bids(tmp_path / "cohort", CohortSettings(subjects=1, visits=2, spacing=2.0), progress=False)
    assert 0.9 <= asked[1] / sum(path.stat().st_size for path in cohort.rglob("*") if path.is_file()) < 2.0
