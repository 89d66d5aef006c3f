"""Right is right, the lesion is in the picture, and the sheet says what it is."""

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from medfuse_jax import figures, planes
from medfuse_jax.data import labels
from medfuse_jax.data.language import parse
from medfuse_jax.metrics import biomarkers, obedience

SHAPE = (24, 28, 20)
AXIAL, CORONAL, SAGITTAL = planes.PLANES


@pytest.fixture
def study():
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    head = x**2 + y**2 + z**2 < 0.9
    structures = np.where(head, labels.CLASS["cerebral_white_matter_right"], 0).astype(np.uint8)
    structures[12:15, 12:16, 9:12] = labels.CLASS["thalamus_right"]
    lesions = np.zeros(SHAPE, bool)
    lesions[16:18, 8:11, 12:14] = True
    return head * (1.0 + 0.2 * x), structures, lesions


@pytest.mark.parametrize("plane, corner", [
    (AXIAL, (23, 27, None)), (CORONAL, (23, None, 19)), (SAGITTAL, (None, 27, 19))])
def test_the_upper_left_is_right_front_and_top(plane, corner):
    volume = np.zeros(SHAPE)
    volume[tuple(5 if at is None else at for at in corner)] = 1.0
    picture = planes.cut(volume, plane, 5)
    assert picture[0, 0] == 1.0 and picture.sum() == 1.0
    assert picture.shape == (SHAPE[plane.up], SHAPE[plane.across])


def test_the_cuts_go_through_most_lesion(study):
    head, _, lesions = study
    x, y, z = planes.best_cuts(head > 0, lesions.astype(float))
    assert lesions[x].any() and lesions[:, y].any() and lesions[:, :, z].any()
    assert planes.best_cuts(head > 0) == pytest.approx((11.5, 13.5, 9.5), abs=0.6)
    assert planes.best_cuts(np.zeros(SHAPE, bool)) == pytest.approx((11.5, 13.5, 9.5), abs=0.6)


def test_a_lesion_at_the_rim_does_not_choose_the_slice(study):
    head, lesions = np.zeros((24, 24, 24), bool), np.zeros((24, 24, 24))
    head[7:22, 2:22, 2:22] = True
    head[0:7, 8:12, 8:12] = True                       # a neck whose end is all lesion, and few inside
    lesions[0:2, 8:12, 8:12], lesions[12, 10, 10] = 1, 1
    assert planes.best_cuts(head, lesions)[0] == 12


def test_what_the_font_lacks_is_a_sign():
    assert figures.printable("lésion \u2265 6, 日本") == "lésion \u2265 6, \ufffd\ufffd"


def test_a_painted_slice_keeps_its_classes():
    structures = np.full((8, 8), labels.CLASS["thalamus_left"], np.uint8)
    structures[:, 4:] = labels.CLASS["csf"]
    colours = planes.painted(structures, (3.0, 3.0))
    assert colours.shape == (24, 24, 4)
    assert colours[12, 3] == pytest.approx((*planes.rgb(planes.COLOURS["thalamus"]), planes.STRONG))
    assert colours[12, 20, 3] == 0.0, "what has no colour stays bare"


def test_every_structure_has_a_colour_or_is_bare():
    bare = {name.removesuffix("_left").removesuffix("_right") for name in labels.NAMES} - set(planes.COLOURS)
    assert bare == {"background", "csf"}
    assert planes.LESION not in planes.COLOURS.values()


@pytest.mark.parametrize("labelled", [True, False])
def test_slices_are_a_page_of_pixels(study, labelled):
    head, structures, lesions = study
    known = {"structures": structures, "lesions": lesions} if labelled else {}
    page = planes.slices({"FLAIR": head, "T1w": head}, spacing=4.0, pixel_mm=2.0, **known)
    rows = 3 if labelled else 2
    assert page.dtype == np.uint8 and page.shape[2] == 3 and page.shape[0] % rows == 0
    outline = np.array([round(255 * part) for part in planes.rgb(planes.LESION)])
    assert (page == outline).all(axis=2).any() == labelled


@pytest.mark.parametrize("synthetic", [True, False])
def test_preview_says_what_it_is(study, tmp_path, synthetic):
    head, structures, lesions = study
    findings = biomarkers.measure(structures, lesions, 4.0, age=42.0)
    path = figures.preview({"FLAIR": head}, tmp_path / "preview.png", spacing=4.0, structures=structures,
                           lesions=lesions, findings=findings, synthetic=synthetic,
                           title="IRM FLAIR, femme de 42 ans, atrophie sévère: $_{}")
    with Image.open(path) as picture:
        assert picture.width == 1200 and picture.height > 800
        assert ("SYNTHETIC" in picture.info.get("Description", "")) == synthetic


def test_preview_of_an_empty_sample_still_draws(tmp_path):
    empty = np.zeros(SHAPE, np.float32)
    path = figures.preview({"FLAIR": empty}, tmp_path / "empty.png", spacing=(1.0, 2.0, 3.0),
                           structures=empty.astype(np.uint8), lesions=empty)
    assert imread(path).shape[1] == 1200


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_table_of_verdicts_makes_room_for_itself(study, tmp_path, language):
    head, structures, lesions = study
    findings = biomarkers.measure(structures, lesions, 4.0, age=42.0)
    verdicts = obedience.judge(parse("no lesions, severe thalamic atrophy, woman of 42").statement, findings, ())
    plain, judged = (imread(figures.preview({"FLAIR": head}, tmp_path / f"{len(told)}.png", spacing=4.0,
                                            structures=structures, findings=findings, verdicts=told, language=language))
                     for told in ((), verdicts))
    assert judged.shape[0] > plain.shape[0] + 80
    for colour in (figures.VERDICTS["obeyed"], figures.VERDICTS["not obeyed"]):
        near = np.abs(judged[..., :3] - planes.rgb(colour)).max(axis=2) < 0.02
        assert near[-judged.shape[0] // 3:].sum() > 20, colour


def test_an_outline_made_on_a_coarser_grid_is_rounded_a_little():
    lesions = np.zeros((24, 24))
    lesions[8:16, 8:16] = 1.0
    round_off = planes.outlined(lesions, (1.0, 1.0), (4.8, 4.8)) > 0.5        # a lesion of one coarse voxel
    assert not round_off[8, 8] and round_off.sum() == pytest.approx(64, rel=0.13)
    assert np.array_equal(planes.outlined(lesions, (1.0, 1.0), (planes.SMOOTH, planes.SMOOTH)), lesions)


def test_curve_draws_lines_bands_and_gaps(tmp_path):
    years = np.arange(5)
    path = figures.curve({"none": (years, years**2.0), "high": (years, np.full(5, np.nan))}, tmp_path / "curve.png",
                         title="lesions", x_label="years", y_label="ml", bands={"none": (years - 1, years**2 + 1)})
    assert imread(path).shape[:2] == (690, 1200)


@pytest.mark.parametrize("letters, width", [(50, 98), (98, 98), (100, 62), (200, 78)])
def test_lines_are_balanced(letters, width):
    assert figures.balanced(letters, 98) == width
