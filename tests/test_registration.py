"""Where a head lies is found whatever its contrast, tilt and slices; nothing is moved that lies well."""

import numpy as np
import pytest
from painted import FINE, PAINTS, error, head, move, tissues
from scipy import ndimage

from medfuse_jax.data import MedFuseError, brain, nifti, poses, registration
from medfuse_jax.data.grid import Grid
from medfuse_jax.data.nifti import Scan
from medfuse_jax.data.placement import to_grid
from medfuse_jax.data.resampling import resample


@pytest.mark.parametrize("contrast", PAINTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_known_pose_is_recovered(contrast, seed):
    scan, mask = head(contrast, move(seed))
    found = registration.register(scan.array, mask, scan.affine)
    assert error(found.transform, np.linalg.inv(move(seed)), mask, scan.affine) < 1.0
    assert found.kind == "rigid" and found.after > found.before and found.after > 0.6
    np.testing.assert_allclose(np.linalg.det(found.transform), 1)
    np.testing.assert_allclose(np.cbrt(np.linalg.det(found.affine)), 1 / 0.9, rtol=0.02)


def test_what_lies_in_mni_is_left_there():
    scan, mask = head("T1w", poses.shift(np.array([1.0, -2.0, 1.5])))
    left = registration.register(scan.array, mask, scan.affine, "auto")
    assert left.kind == "none" and np.array_equal(left.transform, np.eye(4)) and not left.sentence
    assert left.off_mm == pytest.approx(2.7, abs=0.5)
    assert registration.register(scan.array, mask, scan.affine, "rigid").kind == "rigid"
    grown = registration.register(scan.array, mask, scan.affine, "affine")
    assert np.cbrt(np.linalg.det(grown.transform)) == pytest.approx(1 / 0.9, rel=0.02)
    assert "volumes in ml stay those of its own grid" in grown.sentence
    untouched = registration.register(scan.array, mask, move(0) @ scan.affine, "none")
    assert np.array_equal(untouched.transform, np.eye(4)) and untouched.before is None


def test_the_similarity_knows_no_contrast():
    """Tissues explain as much of an image as of its negative."""
    scan, mask = head("FLAIR", np.eye(4))
    known = registration.template(8.0)
    seen = registration.points(scan.array, mask, scan.affine, 8.0)
    turned = seen._replace(values=1000 - 3 * seen.values)
    assert registration.explained(seen, known, np.eye(4)) == pytest.approx(
        registration.explained(turned, known, np.eye(4)), abs=1e-4)
    assert registration.explained(seen, known, np.eye(4)) > registration.explained(seen, known, move(0)) + 0.1


def test_rigid_keeps_turns_and_places():
    pose, about = move(3), registration.template(4.0).centre
    np.testing.assert_allclose(registration.rigid(pose), pose, atol=1e-9)
    stretched = poses.shift(about) @ np.diag([1.2, 1.1, 1.3, 1]) @ poses.shift(-about) @ pose
    np.testing.assert_allclose(registration.rigid(stretched), pose, atol=1e-9)


def test_a_tilted_visit_comes_to_lie_upright_and_can_go_back():
    shown = {contrast: head(contrast, move(1))[0] for contrast in ("FLAIR", "T1w")}
    volume, present, placed = to_grid(shown, 4.0)
    standard = resample((tissues() > 0).astype(np.float32), FINE.affine, placed.grid).T > 0.5
    assert list(present) == [1, 1, 0, 0] and not (placed.brain & ~standard).sum() > 0.05 * placed.brain.sum()
    assert placed.brain.sum() * 0.064 == pytest.approx((tissues() > 0).sum() * 0.008 * 0.9**3, rel=0.03)
    back = placed.back(volume[..., 1] * placed.medians["T1w"], shown["T1w"])
    inner = ndimage.binary_erosion(shown["T1w"].array > 0, iterations=4)
    assert np.corrcoef(back[inner], shown["T1w"].array[inner])[0, 1] > 0.75


def test_a_whole_head_is_given_the_template_s_brain():
    """Skull, scalp and neck around the brain: the mask that comes out overlaps the brain better than a threshold's."""
    scan, mask = head("T1w", move(1), thick=2.0)
    far = ndimage.distance_transform_edt(~mask, sampling=(1.5, 1.5, 2.0))
    neck = (np.indices(mask.shape)[2] < 18) & (far > 9) & (far < 40)
    shell = np.select([mask, far < 3, far < 9, far < 15, neck], [scan.array, 120, 30, 560, 250], 0.0)
    whole = Scan(np.abs(shell + np.random.default_rng(0).normal(0, 12, mask.shape)).astype(np.float32), scan.affine)
    placed = to_grid({"T1w": whole}, 4.0)[2]
    assert "MNI152's" in placed.brain_origin
    found = placed.back(placed.brain.astype(np.float32), whole) > 0.5
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.9
    assert error(placed.transform, np.linalg.inv(move(1)), mask, scan.affine) < 3.0


def test_no_brain_is_no_brain():
    x, y, z = np.indices((110, 110, 80)) - 45
    rug = np.where((np.abs(x) < 40) & (np.abs(y) < 40) & (np.abs(z) < 10), 300.0, 5.0)
    rug += np.random.default_rng(0).normal(0, 5, rug.shape)
    with pytest.raises(MedFuseError, match="no brain was found"):
        brain.estimate(Scan(rug.astype(np.float32), np.diag([2.0, 2, 2, 1]), [], "rug.nii"))


def test_simpleitk_agrees():
    pytest.importorskip("SimpleITK")
    scan, mask = head("T2w", move(1))
    found = registration.register(scan.array, mask, scan.affine)
    assert found.using.startswith("SimpleITK") and "SimpleITK" in found.sentence
    assert error(found.transform, np.linalg.inv(move(1)), mask, scan.affine) < 1.5


@pytest.mark.parametrize("contrast", PAINTS)
def test_a_real_head_is_found_wherever_it_lies(shared, contrast):
    path = next((shared / "data/open_ms/sub-cs07").rglob(f"*ses-01_space-MNI152_{contrast}.nii.gz"))
    scan = nifti.read_volume(path)
    mask = scan.array > 0
    at_home = registration.register(scan.array, mask, scan.affine, "rigid")
    assert at_home.off_mm < registration.NEAR_MM
    low = (move(4) @ np.append(registration.template(4.0).centre, 1))[:3] - [96, 112, 93]
    scanner = Grid((192, 224, 62), poses.shift(low) @ np.diag([1.0, 1, 3, 1]))
    image, inside = (resample(array, move(4) @ scan.affine, scanner) for array in (scan.array, mask * 1.0))
    found = registration.register(image, inside > 0.5, scanner.affine)
    assert error(found.transform @ move(4), at_home.transform, mask, scan.affine) < 1.5
