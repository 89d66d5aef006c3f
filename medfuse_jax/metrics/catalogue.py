"""Every number that judges, in one place: its unit, its range, which way is better, its paper, what it says of nothing.

Suites take citations and directions from here, so that metrics.json, the tables and the docstrings agree.
"""

from collections.abc import Callable
from math import inf
from typing import Any, NamedTuple

from medfuse_jax.metrics import agreement, classification, distribution, image, overlap, reading, retrieval, surface


class Metric(NamedTuple):
    """What a reader of a number must know; its definition is the docstring of `measure`."""

    measure: Callable[..., Any]
    unit: str                       # "" for a share, a correlation or another number without one
    within: tuple[float, float]     # its range; a mean over people stays in it
    higher_is_better: bool          # of the size, where 0 is best (bias)
    citation: str                   # first author (and second of two), year, where
    empty: str                      # what it says where there is nothing to measure


NEITHER = "1 when neither has any, 0 when one side has"
DISTANCE_OF_NOTHING = "0 when both masks are empty, infinity when one is"
NO_PAIRS = "nan for fewer than two pairs and where nothing varies"
MSSEG = "Commowick 2018, Scientific Reports 8:13650"
NIKOLOV = "Nikolov 2018, arXiv 1809.04430"
KUIJF = "Kuijf 2019, IEEE TMI 38:2556"
FACTS = "van Rijsbergen 1979, Information Retrieval"

METRICS: dict[str, Metric] = {
    "psnr": Metric(image.psnr, "dB", (-inf, inf), True, "Huynh-Thu 2008, Electronics Letters 44:800",
                   "nan for an empty mask"),
    "ssim": Metric(image.ssim, "", (-1.0, 1.0), True, "Wang 2004, IEEE TIP 13:600", "nan for an empty mask"),
    "ms_ssim": Metric(image.ms_ssim, "", (0.0, 1.0), True, "Wang 2003, Asilomar 37:1398", "nan for an empty mask"),
    "dice": Metric(overlap.dice, "", (0.0, 1.0), True, "Dice 1945, Ecology 26:297", "1 when both masks are empty"),
    "dice_per_class": Metric(overlap.dice_per_class, "", (0.0, 1.0), True, "Dice 1945, Ecology 26:297",
                             "nan for a class that neither map has"),
    "lesion_scores": Metric(overlap.lesion_scores, "", (0.0, 1.0), True, MSSEG, NEITHER),
    "lesion_f1": Metric(overlap.lesion_f1, "", (0.0, 1.0), True, MSSEG, NEITHER),
    "lesions_by_size": Metric(overlap.lesions_by_size, "", (0.0, 1.0), True, MSSEG, "nan in a bin without lesions"),
    "hd95": Metric(surface.hd95, "mm", (0.0, inf), False, "Huttenlocher 1993, IEEE TPAMI 15:850; " + NIKOLOV,
                   DISTANCE_OF_NOTHING),
    "surface_dice": Metric(surface.surface_dice, "", (0.0, 1.0), True, NIKOLOV, NEITHER),
    "mean_distance": Metric(surface.mean_distance, "mm", (0.0, inf), False, "Heimann 2009, IEEE TMI 28:1251",
                            DISTANCE_OF_NOTHING),
    "pearson": Metric(agreement.pearson, "", (-1.0, 1.0), True, "Pearson 1895, Proc. Royal Society 58:240", NO_PAIRS),
    "spearman": Metric(agreement.spearman, "", (-1.0, 1.0), True, "Spearman 1904, Am. J. Psychology 15:72", NO_PAIRS),
    "concordance": Metric(agreement.concordance, "", (-1.0, 1.0), True, "Lin 1989, Biometrics 45:255", NO_PAIRS),
    "bland_altman": Metric(agreement.bland_altman, "of the amount", (-inf, inf), False,
                           "Bland & Altman 1986, Lancet 327:307", "nan without pairs, nan limits of one"),
    "absolute_error": Metric(agreement.absolute_error, "of the amount", (0.0, inf), False,
                             "Willmott & Matsuura 2005, Climate Research 30:79", "nan without pairs"),
    "volume_difference_ml": Metric(agreement.volume_difference_ml, "ml", (0.0, inf), False, KUIJF,
                                   "0 when both masks are empty"),
    "volume_difference_percent": Metric(agreement.volume_difference_percent, "%", (0.0, inf), False, KUIJF,
                                        "0 when both masks are empty, infinity when only the truth is"),
    "auroc": Metric(classification.auroc, "", (0.0, 1.0), True, "Hanley & McNeil 1982, Radiology 143:29",
                    "nan when one of the classes is missing"),
    "auroc_over_people": Metric(classification.auroc_over_people, "", (0.0, 1.0), True,
                                "Hanley & McNeil 1982, Radiology 143:29; Efron 1979, Annals of Statistics 7:1",
                                "nan when one of the classes is missing"),
    "recall_at": Metric(retrieval.recall_at, "", (0.0, 1.0), True, "Hodosh 2013, JAIR 47:853", "nan without items"),
    "recall_both_ways": Metric(retrieval.recall_both_ways, "", (0.0, 1.0), True,
                               "Hodosh 2013, JAIR 47:853; Radford 2021, ICML", "nan without items"),
    "frechet": Metric(distribution.frechet, "features squared", (0.0, inf), False,
                      "Heusel 2017, NeurIPS; Dowson & Landau 1982, J. Multivariate Analysis 12:450",
                      "nan for fewer than two samples; says so when there are no more samples than features"),
    "kid": Metric(distribution.kid, "", (-inf, inf), False, "Binkowski 2018, ICLR",
                  "nan for fewer than two samples; says so when there are no more samples than features"),
    "ms_ssim_diversity": Metric(distribution.ms_ssim_diversity, "", (0.0, 1.0), False, "Odena 2017, ICML",
                                "nan for fewer than two volumes"),
    "reading": Metric(reading.score, "", (0.0, 1.0), True, FACTS, "nan without statements; no field without facts"),
}


def cited(name: str) -> str:
    """The paper of a metric, for the `reference` of a figure in metrics.json."""
    return METRICS[name].citation
