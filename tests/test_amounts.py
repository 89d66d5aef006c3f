"""Amounts as people type them: grouped thousands, parts of a ml, ml of each lesion, bounds; sides, which are none."""

import pytest

from medfuse_jax.data.findings import Amount, Range, Statement
from medfuse_jax.data.language import parse

GROUPED = {      # text -> ml, and what is said of the reading
    "1.000,5 mm3": (1.0005, None),
    "1,000.5 mm3": (1.0005, None),
    "1 000,5 mm3": (1.0005, None),
    "12.345,6 mm3 de lésions": (12.3456, None),
    "1 200 mm3": (1.2, None),
    "1,200 mm3": (1.2, None),
    "volume lésionnel 1.200 mm3": (1.2, '"1.200 mm3" is read as 1200; where 1.2 is meant, write that'),
    "lesion volume 12.500 mm3": (12.5, '"12.500 mm3" is read as 12500; where 12.5 is meant, write that'),
    "1.200 ml of lesions": (1.2, None),
    "1,200 ml de lésions": (1.2, None),
    "1,200 ml of lesions": (1.2, '"1,200 ml" is read as 1.2; where 1200 is meant, write that'),
    "1.200 ml de lésions": (1.2, '"1.200 ml" is read as 1.2; where 1200 is meant, write that'),
}


@pytest.mark.parametrize("text", GROUPED)
def test_thousands_and_thousandths(text):
    volume, said = GROUPED[text]
    reading = parse(text)
    assert (reading.statement, reading.ignored) == (Statement(lesion_volume_ml=volume), [])
    assert reading.warnings == ([] if said is None else [said])


@pytest.mark.parametrize("text, volume, warning", [
    ("1.000,5 ml", 1000.5, "more than any brain"), ("1,000.5 ml", 1000.5, "more than any brain"),
    ("1.234.567 mm3", 1234.57, "more than any brain"), ("1,234,567 mm3", 1234.57, "more than any brain")])
def test_a_volume_that_no_brain_holds_is_said(text, volume, warning):
    reading = parse(text)
    assert reading.statement.lesion_volume_ml == volume and warning in " ".join(reading.warnings)


@pytest.mark.parametrize("text", ["1.200 lesions", "1,200 lesions", "1.200 lésions", "1,200 lésions", "1 200 lésions"])
def test_a_number_of_lesions_is_whole(text):
    assert parse(text.replace(" 200", "\u00a0200")).statement == Statement(lesion_count=1200)


@pytest.mark.parametrize("text, ignored", [("2.5 lesions", "2.5"), ("½ lésion", "0.5")])
def test_a_part_of_a_lesion_is_not_read(text, ignored):
    reading = parse(text)
    assert (reading.statement, reading.ignored) == (Statement(), [ignored])
    assert any("a number of lesions is whole" in line for line in reading.warnings)


@pytest.mark.parametrize("text, volume", [
    ("half a ml", 0.5), ("½ ml", 0.5), ("half a millilitre of lesions", 0.5), ("a quarter of a millilitre", 0.25),
    ("three quarters of a ml", 0.75), ("one and a half ml", 1.5), ("1½ ml", 1.5), ("1 ½ ml", 1.5), ("1/2 ml", 0.5),
    ("1 1/2 ml", 1.5), ("6 ml and a half", 6.5), ("a ml of lesions", 1.0), ("six point five ml", 6.5),
    ("un demi ml", 0.5), ("un demi-millilitre de lésions", 0.5), ("½ ml de lésions", 0.5), ("un quart de ml", 0.25),
    ("trois quarts de ml", 0.75), ("un ml et demi", 1.5), ("6 ml et demi", 6.5), ("un tiers de ml", 0.333333),
    ("un ml de lésions", 1.0), ("six virgule cinq ml", 6.5), ("half to one ml", None),
])
def test_parts_of_a_ml(text, volume):
    reading = parse(text)
    if volume is None:
        assert reading.ignored
    else:
        assert (reading.statement, reading.ignored, reading.warnings) == (Statement(lesion_volume_ml=volume), [], [])


@pytest.mark.parametrize("text, statement", [
    ("nine lesions of 6 ml each", Statement(lesion_count=9, lesion_volume_ml=54.0)),
    ("neuf lésions de 6 ml chacune", Statement(lesion_count=9, lesion_volume_ml=54.0)),
    ("nine lesions, 6 ml each", Statement(lesion_count=9, lesion_volume_ml=54.0)),
    ("nine lesions, each of 6 ml", Statement(lesion_count=9, lesion_volume_ml=54.0)),
    ("nine 6-ml lesions", Statement(lesion_count=9, lesion_volume_ml=54.0)),
    ("neuf lésions faisant chacune 6 ml", Statement(lesion_count=9, lesion_volume_ml=54.0)),
    ("9 lésions, 6 ml par lésion", Statement(lesion_count=9, lesion_volume_ml=54.0)),
    ("each of 3 lesions measures 200 mm3", Statement(lesion_count=3, lesion_volume_ml=0.6)),
    ("several lesions of 1 ml each", Statement(lesion_count="several", lesion_volume_ml=Range(6.0, 10.0))),
    ("plusieurs lésions de 1 ml chacune", Statement(lesion_count="several", lesion_volume_ml=Range(6.0, 10.0))),
    ("numerous lesions of half a ml each", Statement(lesion_count="numerous", lesion_volume_ml=Range(10.5))),
    ("5-10 lesions of 1 to 2 ml each", Statement(lesion_count=Range(5, 10), lesion_volume_ml=Range(5.0, 20.0))),
    ("9 PV (0.5 ml each) and 2 JC lesions", Statement(
        lesions_by_region={"periventricular": Amount(9, 4.5), "juxtacortical": Amount(2)})),
])
def test_a_volume_of_each_lesion_counts_as_often_as_there_are_lesions(text, statement):
    reading = parse(text)
    assert (reading.statement, reading.ignored) == (statement, [])
    assert len(reading.warnings) == 1 and reading.warnings[0].endswith("ml in all")


SIDES = "left and right are not commanded"


@pytest.mark.parametrize("text, statement, ignored, warning", [
    ("lesions of 1 ml each", Statement(), ["1 ml each"], "only beside their number"),
    ("6 ml par lésion", Statement(), ["6 ml par lésion"], "only beside their number"),
    ("9 lesions in each region", Statement(lesion_count=9), ["in each region"], "name the regions"),
    ("une à deux lésions par région", Statement(lesion_count=Range(1, 2)), ["par région"], "name the regions"),
    ("nine lesions each", Statement(lesion_count=9), ["each"], None),
    ("three new lesions of 1 ml", Statement(new_count=3), ["1 ml"], "the volume of such lesions is not commanded"),
    ("9 lesions 6", Statement(lesion_count=9), ["6"], None),
    ("9 lésions 6", Statement(lesion_count=9), ["6"], None),
    ("9 lésions périventriculaires 6", Statement(lesions_by_region={"periventricular": Amount(9)}), ["6"], None),
    ("a lesion 6", Statement(lesion_count=1), ["6"], "two numbers for the same lesions"),
    ("6 mm lesions", Statement(), ["6 mm"], "the size of a lesion is not commanded"),
    ("neuf lésions de 6 mm chacune", Statement(lesion_count=9), ["6 mm chacune"], "the size of a lesion"),
    ("lesions on the left side only", Statement(), ["left side only"], SIDES),
    ("only lesions on the left", Statement(), ["only", "left"], SIDES),
    ("lésions du côté gauche seulement", Statement(), ["côté gauche seulement"], SIDES),
    ("neuf lésions à droite uniquement", Statement(lesion_count=9), ["à droite uniquement"], SIDES),
    ("no lesions in the left hemisphere", Statement(), ["no lesions in the left hemisphere"], "cannot be commanded"),
    ("pas de lésion à gauche", Statement(), ["pas de lésion à gauche"], "cannot be commanded"),
    ("a left periventricular lesion", Statement(lesions_by_region={"periventricular": Amount(1)}), ["left"], SIDES),
    ("twice as many lesions", Statement(), [], "a change is not commanded"),
    ("nine ovoid lesions", Statement(lesion_count=9), [], "the shape of a lesion is not commanded"),
    ("large lesions", Statement(lesion_load="high"), [], "read as a lesion load, high"),
    ("natalizumab for 2 years", Statement(treatment="high"), ["for 2 years"], "the duration of a treatment"),
    ("1500 ml intracranial volume", Statement(), ["1500 ml intracranial volume"], "cannot be commanded"),
    ("1200 ml brain", Statement(), ["1200 ml brain"], "cannot be commanded"),
    ("-3 lésions", Statement(), ["-3"], "a negative number is not read"),
    ("between 3 and 5", Statement(), ["between 3 and 5"], "nothing in the text commands"),
    ("at least 2", Statement(), ["at least 2"], "nothing in the text commands"),
    ("moins de 10", Statement(), ["moins de 10"], "nothing in the text commands"),
    ("> 5 or more lesions", Statement(lesion_count=Range(6)), [], "a bound is read only before a number"),
])
def test_what_is_no_amount_is_said(text, statement, ignored, warning):
    reading = parse(text)
    assert (reading.statement, reading.ignored) == (statement, ignored), reading
    assert warning is None or any(warning in line for line in reading.warnings), reading


@pytest.mark.parametrize("text, statement", [
    ("3-5 lesions", Statement(lesion_count=Range(3, 5))), ("3 à 5 lésions", Statement(lesion_count=Range(3, 5))),
    ("between 3 and 5 lesions", Statement(lesion_count=Range(3, 5))),
    ("at least 2 lesions", Statement(lesion_count=Range(2))),
    ("moins de 10 lésions", Statement(lesion_count=Range(0, 9))),
    ("at least 5 and at most 10 lesions", Statement(lesion_count=Range(5, 10))),
    ("more than 5 but less than 10 ml", Statement(lesion_volume_ml=Range(5.0, 10.0))),
    ("au moins 5 et au plus 10 lésions", Statement(lesion_count=Range(5, 10))),
    ("5 < lesions", Statement(lesion_count=Range(6))), ("5 ml > lesions", Statement(lesion_volume_ml=Range(0.0, 5.0))),
    ("lesions < 5", Statement(lesion_count=Range(0, 4))),
    ("disease for two and a half years", Statement(disease_duration_years=2.5)),
    ("EDSS2.5", Statement(edss=2.5)), ("lésions9", Statement(lesion_count=9)), ("9lesions6ml", Statement(
        lesion_count=9, lesion_volume_ml=6.0)), ("EDSS two and a half", Statement(edss=2.5)),
    ("6 ml thalamic lesions", Statement(lesions_by_region={"deep_grey": Amount(None, 6.0)})),
    ("lesions no longer enhance", Statement(enhancing_count=0)),
])
def test_ranges_and_bounds(text, statement):
    reading = parse(text)
    assert (reading.statement, reading.ignored) == (statement, [])


@pytest.mark.parametrize("text", ["brain tumour", "tumeur cérébrale", "tumour load", "charge tumorale", "brain tumor"])
def test_another_disease_is_offered_no_lesion_load(text):
    reading = parse(text)
    assert reading.statement == Statement() and reading.ignored
    assert not any("nearest wording" in line for line in reading.warnings)
