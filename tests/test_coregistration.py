"""Contrasts of a session, and visits of a person, come to lie on one another; what lies well is left as it is."""

import json
from itertools import pairwise

import numpy as np
import pytest
from painted import error, head, move
from phantom import opened, stop_at, structures, tree

from medfuse_jax.data import bids, coregistration, nifti, poses, prepare, registration, write_volume
from medfuse_jax.data.longitudinal import First, follow
from medfuse_jax.data.placement import to_grid

AT_HOME = poses.shift(np.array([1.0, -2.0, 1.5]))      # within what --register=auto leaves


@pytest.mark.parametrize("seed, first, second", [(0, "FLAIR", "T1w"), (1, "T1w", "T2w"), (2, "T2w", "FLAIR")])
def test_a_contrast_that_moved_comes_back(seed, first, second):
    """In slices of another thickness, too; one that did not move is left."""
    apart, (scan, mask) = move(13 + seed, 10, 10), head(first, move(seed))
    seen = coregistration.look(scan, mask)
    found = coregistration.lay(seen, head(second, apart @ move(seed), thick=3.0)[0])
    assert error(found.move, np.linalg.inv(apart), mask, apart @ scan.affine) < 1.0
    assert found.off_mm == pytest.approx(error(apart, np.eye(4), mask, scan.affine), abs=1.0)
    assert found.degrees == pytest.approx(poses.angle(apart), abs=0.5)
    assert found.clear and found.plausible and found.after > found.before
    aligned = coregistration.lay(seen, head(second, move(seed), thick=3.0)[0])
    assert not aligned.clear and aligned.off_mm < 1.0


def test_contrasts_lie_on_one_another_on_the_grid():
    """One that moved is as good as one that did not; one that is too far away to be believed is left, and told."""
    first, apart = head("FLAIR", AT_HOME)[0], move(13, 10, 10)
    plain, _, left = to_grid({"FLAIR": first, "T1w": head("T1w", AT_HOME)[0]}, 4.0)
    mended, _, placed = to_grid({"FLAIR": first, "T1w": head("T1w", apart @ AT_HOME)[0]}, 4.0)
    assert coregistration.moves(left.laid) == {} and set(coregistration.moves(placed.laid)) == {"T1w"}
    assert any("T1w: lies" in line and "laid onto it" in line for line in placed.fixups)
    assert np.corrcoef(plain[..., 1].ravel(), mended[..., 1].ravel())[0, 1] > 0.98
    untouched = to_grid({"FLAIR": first, "T1w": head("T1w", apart @ AT_HOME)[0]}, 4.0, register="none")[2]
    assert untouched.laid == {} and untouched.seen == ()
    away = poses.shift(np.array([0.0, 31.0, 0.0]))
    _, _, far = to_grid({"FLAIR": first, "T1w": head("T1w", away @ AT_HOME)[0]}, 4.0)
    assert coregistration.moves(far.laid) == {} and any("too far to be believed" in line for line in far.fixups)


def test_masks_move_with_the_image_they_were_drawn_on(tmp_path):
    """T1w and its label map, on a grid of their own, lie 12 mm off FLAIR and its lesion mask."""
    root = tree(tmp_path / "tree", people=1)
    plain = opened(prepare.prepare(root, tmp_path / "plain", 4.0))[1]["structures"]
    for place in (root / "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz",
                  root / "derivatives/truth/sub-01/ses-01/anat/sub-01_ses-01_dseg.nii.gz"):
        scan = nifti.read_volume(place)
        array = structures() if "dseg" in place.name else scan.array
        write_volume(place, array, poses.shift(np.array([0.0, 12.0, 0.0])) @ scan.affine)
    out = prepare.prepare(root, tmp_path / "out", 4.0)
    (line,), arrays = opened(out)
    assert np.mean((arrays["structures"] > 0) == (plain > 0)) > 0.99
    told = json.loads((out / "provenance/sub-01_ses-01.json").read_text())["contrasts"]["T1w"]
    assert told["done"] == "moved" and told["off_mm"] == pytest.approx(12, abs=1)
    assert any("T1w: lies 12" in said and "laid onto it" in said for said in line["fixups"])


@pytest.mark.parametrize("asked", ["auto", "affine"])
def test_a_later_visit_lies_where_the_first_one_does(asked):
    """However the heads lay in the scanner, and whatever is shown."""
    (scan, mask), (later, inside) = head("FLAIR", move(0)), head("T1w", move(1))
    own = registration.register(scan.array, mask, scan.affine, asked)
    first = First("sub-01_ses-01", coregistration.look(scan, mask), own)
    alone = registration.register(later.array, inside, later.affine, asked)
    found = follow(alone, first, later, inside)
    assert error(found.transform @ move(1), own.transform @ move(0), mask, np.linalg.inv(move(0)) @ scan.affine) < 0.7
    assert (found.kind, found.onto, found.doubts) == (own.kind, "sub-01_ses-01", ())
    assert np.linalg.det(found.transform[:3, :3]) == pytest.approx(np.linalg.det(own.transform[:3, :3]))
    assert found.after > 0.6 and "off sub-01_ses-01: laid onto it" in found.sentence


def test_visits_that_lie_alike_share_a_transform():
    """Also where one of them alone would be left and the other one moved: 5 mm off MNI152, more or less."""
    (scan, mask), (later, inside) = (head("FLAIR", poses.shift(np.array([0.0, 0.0, z]))) for z in (5.0, 5.8))
    alone = [registration.register(one.array, its, one.affine) for one, its in ((scan, mask), (later, inside))]
    assert [one.kind for one in alone] == ["none", "rigid"]
    found = follow(alone[1], First("first", coregistration.look(scan, mask), alone[0]), later, inside)
    assert found.kind == "none" and np.array_equal(found.transform, np.eye(4)) and found.sentence == ""


def test_another_head_is_not_laid_onto_the_first():
    scan, mask = head("FLAIR", AT_HOME)
    rng = np.random.default_rng(0)
    other = nifti.Scan(rng.permuted(scan.array), scan.affine)
    own = registration.register(scan.array, mask, scan.affine)
    found = follow(own, First("sub-01_ses-01", coregistration.look(scan, mask), own), other, mask)
    assert found.onto == "MNI152" and np.array_equal(found.transform, own.transform)
    assert "could not be laid onto sub-01_ses-01" in found.doubts[0] and found.doubts[0] in found.lines


def visits(root, lie):
    """A person whose visits lie differently, of painted heads."""
    for number, pose in enumerate(lie, 1):
        stem = f"sub-01/ses-{number:02d}/anat/sub-01_ses-{number:02d}"
        scan, mask = head("FLAIR", pose)
        write_volume(root / f"{stem}_FLAIR.nii.gz", scan.array, scan.affine)
        write_volume(root / f"derivatives/masks/{stem}_desc-brain_mask.nii.gz", mask, scan.affine)
    return root


def test_visits_of_a_tree_share_a_pose_whoever_makes_them(tmp_path, monkeypatch):
    """The first visit cannot be used: the second takes its place. One job, two, and one that was stopped agree."""
    root = visits(tmp_path / "tree", [AT_HOME, move(5), move(6)])
    (root / "sub-01/ses-01/anat/sub-01_ses-01_FLAIR.nii.gz").write_bytes(b"no")
    out = prepare.prepare(root, tmp_path / "out", 8.0, jobs=2)
    lines, arrays = opened(out)
    first, second = np.asarray(arrays["volumes"][..., 0], np.float32)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.98
    told = [json.loads((out / f"provenance/{line['study']}.json").read_text())["registration"] for line in lines]
    assert [one["onto"] for one in told] == ["MNI152", "sub-01_ses-02"]
    assert told[1]["to_first"]["done"] == "moved" and told[1]["to_first"]["off_mm"] > 5
    stop_at(monkeypatch, lambda study: study.session == "ses-03")
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(root, tmp_path / "stopped", 8.0)
    monkeypatch.undo()
    stopped = prepare.prepare(root, tmp_path / "stopped", 8.0)
    for name in ("volumes.npy", "studies.jsonl", "rejected.tsv"):
        assert (stopped / name).read_bytes() == (out / name).read_bytes()


def test_real_contrasts_that_moved_come_back_and_aligned_ones_are_left(shared):
    """By up to 10 mm and 10 degrees; those of the source lie alike within what was measured there."""
    came_back = []
    for study in bids.index(shared / "data/open_ms"):
        scans = {contrast: nifti.read_volume(path) for contrast, path in study.contrasts.items()}
        first = next(iter(scans.values()))
        mask = nifti.read_mask(study.brain_mask, like=first)
        seen = coregistration.look(first, mask)
        assert coregistration.moves(coregistration.aligned(scans, seen)[0]) == {}
        for seed, scan in enumerate(list(scans.values())[1:]):
            apart = move(16 + seed, 10, 10)
            found = coregistration.lay(seen, coregistration.moved(scan, apart))
            came_back.append(found.clear and error(found.move @ apart, np.eye(4), mask, first.affine) < 1.0)
    assert len(came_back) == 10 and all(came_back)


def test_real_visits_share_a_pose_wherever_they_lie(shared):
    """Two visits that the source laid on one another, the second moved away: it comes back within a millimetre."""
    one, two = (study for study in bids.index(shared / "data/open_ms") if study.person == "sub-long01")
    poses_found = []
    for study, apart in ((one, np.eye(4)), (two, np.eye(4)), (two, move(7))):
        scan = coregistration.moved(nifti.read_volume(study.contrasts["FLAIR"]), apart)
        mask = nifti.on_grid(nifti.read_marks(study.brain_mask), nifti.read_volume(study.contrasts["FLAIR"]))
        own = registration.register(scan.array, mask, scan.affine)
        if study is one:
            first = First(study.name, coregistration.look(scan, mask), own)
        else:
            own = follow(own, first, scan, mask)
        poses_found.append(own.transform @ apart)
    assert np.array_equal(poses_found[0], poses_found[1])
    for earlier, later in pairwise(poses_found):
        assert error(earlier, later, mask, scan.affine @ np.eye(4)) < 1.0
