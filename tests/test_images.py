"""What scanners show of simulated brains: tissue, lesions, acquisition, missing contrasts, randomised domains."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from medfuse_jax.data import labels, nifti
from medfuse_jax.data.simulate import acquisition, anatomy, atrophy, images, person, randomise, realism, tree
from medfuse_jax.data.simulate.images import GADOLINIUM, Look
from medfuse_jax.data.simulate.person import CohortSettings

COARSE = CohortSettings(subjects=2, visits=2, spacing=8.0, counterfactual=False)
PERFECT = acquisition.Protocol((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), True, phase_axis=0, ghost=0, ghost_shift=0.25,
                               kept=1.0, sharpened=0, noise=0, centre_noise=0, uneven_slices=0, bias_percent=0)
WHITE = labels.CLASS["cerebral_white_matter_left"]
RADII = np.linspace(1.5, 6, 30)                   # of lesions, mm


@pytest.fixture
def random():
    return np.random.default_rng(3)


def block(fill: int = WHITE) -> np.ndarray:
    """A block of 36 voxels of white matter in cortex: as much of one as of the other."""
    structures = np.full((36, 36, 36), labels.CLASS["cerebral_cortex_left"], np.uint8)
    structures[:, :, :20] = fill
    return structures


def drawn(lesions: list[Look], random: np.random.Generator, structures: np.ndarray | None = None,
          look: images.Appearance | None = None) -> np.ndarray:
    """The four ideal contrasts (x, y, z, 4) of a block."""
    structures = block() if structures is None else structures
    texture = np.zeros(structures.shape, np.float32)
    look = look or images.appearance(random)
    return np.stack(list(images.ideal(structures, texture, lesions, look, 1.0, random, range(4))), axis=-1)


def ball(radius: float, centre: tuple[int, int, int] = (18, 18, 10)) -> np.ndarray:
    """Voxels (n, 3) of a ball in the block."""
    away = np.linalg.norm(np.indices((36, 36, 36)) - np.array(centre)[:, None, None, None], axis=0)
    return np.argwhere(away <= radius)


def at(image: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    return image[tuple(voxels.T)].mean(axis=0)


# Tissue and lesions


@pytest.mark.parametrize("draw", [images.appearance, randomise.appearance])
def test_both_sides_look_alike(draw, random):
    look = draw(random)
    for name in labels.NAMES:
        if name.endswith("_left"):
            right = name.replace("_left", "_right")
            assert (look.means[labels.CLASS[name]] == look.means[labels.CLASS[right]]).all()


def test_lesions_are_bright_on_flair_and_t2_and_dark_on_t1(random):
    body = atrophy.brain(anatomy.head(random, "F", 1.0), 40.0, "F", {})
    deep = np.argwhere(ndimage.binary_erosion(body.structures == WHITE, iterations=2))
    centres = deep[random.choice(len(deep), len(RADII), replace=False)]
    balls = [ball(radius, (18, 18, 18)) - 18 + centre for radius, centre in zip(RADII, centres, strict=True)]
    lesions = [Look(voxels[body.structures[tuple(voxels.T)] == WHITE]) for voxels in balls]
    mask = np.zeros(body.structures.shape, bool)
    for lesion in lesions:
        mask[tuple(lesion.voxels.T)] = True
    inside, seen = person.majority(body.structures, 2) > 0, images.block_mean(mask, 2) > 0.5
    ratios = np.zeros((6, 3))
    for row in ratios:                                          # each of another scanner
        look = images.appearance(random)
        for k, fine in enumerate(images.ideal(body.structures, body.texture, lesions, look, 1.0, random, range(3))):
            how = acquisition.protocol(images.SHOWN[k], random)
            row[k] = acquisition.acquire(fine, inside, 1.0, 2.0, how, random).seen[seen].mean()
    low, high = np.transpose(images.LESION)
    assert (low < ratios.mean(axis=0)).all() and (ratios.mean(axis=0) < high).all()


def test_the_darkest_lesion_is_a_black_hole_on_t1():
    shown = [at(drawn([Look(ball(5), darkness=dark)], np.random.default_rng(1)), ball(3)) for dark in (0, 0.5, 1)]
    t1 = [values[1] for values in shown]
    assert t1[0] > t1[1] > t1[2] and t1[2] / t1[0] == pytest.approx(2 / 3, abs=0.1)
    assert shown[0][0] == pytest.approx(shown[2][0], rel=0.02)                # FLAIR is as bright


def test_only_enhancing_lesions_are_bright_after_gadolinium():
    plain, enhancing = (at(drawn([Look(ball(3), enhancing=flag)], np.random.default_rng(1)), ball(3))
                        for flag in (False, True))
    assert plain[GADOLINIUM] < 1.05 and enhancing[GADOLINIUM] > 1.4 and enhancing[1] == pytest.approx(plain[1])


def test_large_lesions_enhance_as_rings(random):
    image = drawn([Look(ball(7), enhancing=True)], random)[..., GADOLINIUM]
    rim = np.array(sorted(set(map(tuple, ball(7))) - set(map(tuple, ball(6)))))
    assert at(image, rim) > 1.3 * at(image, ball(4))


def test_an_intracortical_lesion_is_faint(random):
    difference = []
    for visibility in (1.0, 0.2):
        image = drawn([Look(ball(4), visibility=visibility)], np.random.default_rng(1))[..., 0]
        without = drawn([], np.random.default_rng(1))[..., 0]
        difference.append(at(image, ball(4)) - at(without, ball(4)))
    assert difference[1] / difference[0] == pytest.approx(0.2, abs=0.05)


def test_halos_do_not_reach_into_fluid():
    structures = block(labels.CLASS["lateral_ventricle_left"])
    lesion = ball(4, (18, 18, 24))
    image, without = (drawn(some, np.random.default_rng(1), structures)[..., :3] for some in ([Look(lesion)], []))
    fluid = structures == labels.CLASS["lateral_ventricle_left"]
    fluid[tuple(lesion.T)] = False
    assert (image[fluid] == without[fluid]).all()


# Acquisition


def test_a_perfect_scanner_shows_what_is_there(random):
    fine = ndimage.gaussian_filter(random.random((24, 20, 16)).astype(np.float32) + 1, 1.5)
    brain = np.ones(fine.shape, bool)
    scan = acquisition.acquire(fine, brain, 1.0, 1.0, PERFECT, random)
    inner = (slice(2, -2),) * 3
    assert np.allclose(scan.clean[inner], (fine / np.median(fine))[inner], atol=0.03)
    assert np.allclose(scan.seen, scan.clean, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 2])
def test_thick_slices_blur_across_and_not_along_them(axis, random):
    voxel = [1.0, 1.0, 1.0]
    voxel[axis] = 4.0
    fine = random.standard_normal((32, 32, 32)).astype(np.float32) * 0.1 + 1
    how = PERFECT._replace(voxel_mm=tuple(voxel), offset=(0.3, 0.3, 0.3))
    clean = acquisition.acquire(fine, np.ones(fine.shape, bool), 1.0, 1.0, how, random).clean
    energy = [np.mean(np.diff(clean, axis=k) ** 2) for k in range(3)]
    assert energy[axis] < 0.3 * min(energy[k] for k in range(3) if k != axis)


def test_noise_is_rician(random):
    fine = np.zeros((40, 40, 40), np.float32)
    fine[20:] = 1
    brain = np.ones(fine.shape, bool)
    brain[20:25] = brain[15:20] = False                                       # the border is soft
    brain[:2] = False
    seen = acquisition.acquire(fine, brain, 1.0, 1.0, PERFECT._replace(noise=0.1), random).seen
    assert seen[2:15].mean() / seen[25:].std() == pytest.approx(np.sqrt(np.pi / 2), rel=0.03)      # Rayleigh / Gaussian
    assert (seen[~brain] == 0).all()


def test_a_coarser_grid_averages_the_noise(random):
    fine = np.ones((48, 48, 48), np.float32)
    how = PERFECT._replace(noise=0.08)
    spread = [acquisition.acquire(fine, np.ones((n,) * 3, bool), 1.0, spacing, how, random).seen[2:-2, 2:-2, 2:-2].std()
              for n, spacing in ((48, 1.0), (24, 2.0))]
    assert spread[0] / spread[1] == pytest.approx(8**0.5, rel=0.05)


def test_motion_repeats_the_head_along_the_phase_axis(random):
    fine = np.full((32, 32, 32), 0.1, np.float32)
    fine[14:18, 14:18, 14:18] = 4
    how = PERFECT._replace(ghost=0.05, ghost_shift=0.25)
    scan = acquisition.acquire(fine, np.ones(fine.shape, bool), 1.0, 1.0, how, random)
    repeated = np.abs(scan.seen - scan.clean)
    assert repeated[24, 16, 16] > 10 * repeated[16, 24, 16] and repeated[24, 16, 16] > 0.1


def test_a_cut_k_space_rings_in_the_plane(random):
    fine = np.ones((40, 40, 40), np.float32)
    fine[:, :20] = 2
    rung, plain = (acquisition.acquire(fine, np.ones(fine.shape, bool), 1.0, 1.0, PERFECT._replace(kept=kept), random)
                   .clean[20, 22:34, 20] for kept in (0.75, 1.0))
    assert np.ptp(rung) > 5 * np.ptp(plain)


def test_every_contrast_has_protocols(random):
    assert set(acquisition.PROTOCOLS) == set(labels.CONTRASTS)
    assert all(sum(kind[0] for kind in kinds) == pytest.approx(1) for kinds in acquisition.PROTOCOLS.values())
    thick = [max(acquisition.protocol("T2w", random).voxel_mm) > 2 for _ in range(200)]
    assert 0.8 < np.mean(thick) < 0.97


# Which contrasts there are


def test_contrasts_are_left_out_as_often_as_asked(random):
    visits = [images.present(random, 0.5, 0.3) for _ in range(4000)]
    planned = 3 + 0.5
    assert all(visits) and np.mean([len(names) for names in visits]) == pytest.approx(planned * 0.7, abs=0.1)
    left = {name: 1 - np.mean([name in names for names in visits]) for name in images.SHOWN}
    assert left["FLAIR"] < 0.6 * left["T1w"]
    assert {images.present(random, 0.0, 0.0) for _ in range(50)} == {images.SHOWN}


def test_missing_contrasts_are_absent_everywhere(tmp_path):
    settings = replace(COARSE, gadolinium=0.6, missing=0.4, refine=1)
    visits = [person.simulate_person(0, index, settings) for index in range(2)]
    root = tree.bids(tmp_path / "bids", settings, progress=False)
    for index, person_visits in enumerate(visits):
        for number, visit in enumerate(person_visits, start=1):
            assert visit.findings.contrasts == visit.present
            there = [bool(visit.images[..., k].any()) for k in range(4)]
            assert there == [name in visit.present for name in labels.CONTRASTS]
            anat = root / f"sub-{index + 1:04d}" / f"ses-{number:02d}" / "anat"
            written = {file.name.split("synthetic_")[1].removesuffix(".nii.gz") for file in anat.glob("*.nii.gz")}
            assert written == set(visit.present)
    name = visits[0][0].present[-1]
    scan = nifti.read_volume(next((root / "sub-0001" / "ses-01" / "anat").glob(f"*synthetic_{name}.nii.gz")))
    assert np.allclose(scan.array, visits[0][0].images[..., labels.CONTRASTS.index(name)], atol=1e-2)


# Randomised domains


def test_randomised_domains_differ_more_than_scanners_do():
    spread = [np.std([draw(np.random.default_rng(k)).means[WHITE] for k in range(40)], axis=0)
              for draw in (images.appearance, randomise.appearance)]
    assert (spread[1] > 3 * spread[0]).all()


def test_lesions_stay_apart_in_randomised_domains():
    for seed in range(6):
        random = np.random.default_rng(seed)
        look = randomise.appearance(random)._replace(grain=np.zeros(4))
        image = drawn([Look(ball(5))], random, look=look)
        assert (np.abs(at(image, ball(4)) / look.means[WHITE] - 1) > 0.15).all()


def test_a_randomised_visit_is_made_again_and_has_a_clean_truth():
    settings = replace(COARSE, spacing=4.0, visits=1, randomise=1.0)
    one, two = (person.simulate_person(0, 1, settings)[0] for _ in range(2))
    inside = one.structures > 0
    assert (one.images == two.images).all() and (one.images[~inside] == 0).all() and (one.clean[~inside] == 0).all()
    for channel in range(3):
        assert np.corrcoef(one.images[inside][:, channel], one.clean[inside][:, channel])[0, 1] > 0.5


# The two-sample test


def scans(random: np.random.Generator, patients: int, blur: float = 1.0) -> list[list[np.ndarray]]:
    """Smooth noise in a box, as skull-stripped scans."""
    made = []
    for _ in range(patients):
        volume = 1 + ndimage.gaussian_filter(random.standard_normal((36, 36, 36)), blur).astype(np.float32)
        made.append([np.pad(np.maximum(volume, 0.1), 2)])
    return made


def test_equal_distributions_are_not_told_apart(random):
    told = realism.two_sample(scans(random, 6), scans(random, 6))
    assert told.interval[0] < 0.5 < told.interval[1] and abs(told.auc - 0.5) < 0.15
    assert set(told.weights) == set(realism.FEATURES)


def test_a_shifted_distribution_is_told_apart(random):
    told = realism.two_sample(scans(random, 4), scans(random, 4, blur=1.3))
    assert told.auc > 0.97 and told.interval[0] > 0.9


@pytest.mark.parametrize("real, simulated, expected", [([0, 1], [2, 3], 1), ([2, 3], [0, 1], 0), ([1, 1], [1], 0.5)])
def test_the_area_counts_pairs(real, simulated, expected):
    assert realism.area(np.array(real), np.array(simulated)) == expected
