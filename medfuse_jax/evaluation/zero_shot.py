"""Zero-shot findings: to which of two opposite sentences is a brain nearer, with no classifier trained?

The score of a study is how much nearer its image is to "X" than to "no X" (Radford 2021); sentences are the grammar's
own, in each language, so that their words and the facts read in them are what the towers were trained on.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from medfuse_jax.data import language, tokens
from medfuse_jax.data.definitions import GRADES, LOAD_ML
from medfuse_jax.data.findings import ATROPHY, REGIONS, Amount, Findings, Statement
from medfuse_jax.evaluation.estimate import Figure, by_person, estimate
from medfuse_jax.evaluation.judged import Judged
from medfuse_jax.metrics.catalogue import cited
from medfuse_jax.metrics.classification import auroc_over_people

LANGUAGES = tuple(language.LEXICONS)
FIRST = LANGUAGES[0]


class Asked(NamedTuple):
    """A finding: what is said where it is there, what where it is not, and whether a study has it (None: unknown)."""

    there: Statement
    absent: Statement
    truth: Callable[[Findings], bool | None]


def _loaded(found: Findings) -> bool | None:
    return None if found.lesion_volume_ml is None else found.lesion_volume_ml >= LOAD_ML["high"][0]


def _any(found: Findings) -> bool | None:
    return None if found.lesion_count is None else found.lesion_count > 0


def _in_region(name: str) -> Callable[[Findings], bool | None]:
    return lambda found: found.lesions_by_region[name].count > 0 if name in found.lesions_by_region else None


def _shrunk(name: str) -> Callable[[Findings], bool | None]:
    return lambda found: found.deviation_percent[name] < GRADES["none"][0] if name in found.deviation_percent else None


ASKED: dict[str, Asked] = {
    "lesions": Asked(Statement(lesion_count="several"), Statement(lesion_count=0), _any),
    "high_load": Asked(Statement(lesion_load="high"), Statement(lesion_load="minimal"), _loaded),
    **{f"{name}_lesions": Asked(Statement(lesions_by_region={name: Amount()}),
                                Statement(lesions_by_region={name: Amount(0)}), _in_region(name)) for name in REGIONS},
    **{f"{name}_atrophy": Asked(Statement(atrophy={name: "moderate"}), Statement(atrophy={name: "none"}),
                                _shrunk(name)) for name in ATROPHY},
}


def sentences(tokenizer: Any, length: int, spoken: str) -> dict[str, np.ndarray]:
    """Words, mask and facts of all pairs, "there" and "absent" in turn."""
    said = [statement for asked in ASKED.values() for statement in (asked.there, asked.absent)]
    words, mask = tokenizer.encode([language.write(statement, spoken) for statement in said], length)
    return dict(words=words, words_mask=mask, facts=np.stack([tokens.facts(statement) for statement in said]))


def nearer(image: np.ndarray, text: np.ndarray) -> np.ndarray:
    """How much nearer each image (n, e) is to the first of each pair of texts (2 k, e) than to the second: (n, k)."""
    similarity = image @ text.T
    return similarity[:, ::2] - similarity[:, 1::2]


def truths(findings: list[Findings | None]) -> np.ndarray:
    """Whether each study has each finding: 1, 0, or nan where nobody knows; (n, k)."""
    table = np.full((len(findings), len(ASKED)), np.nan)
    for row, found in enumerate(findings):
        for column, asked in enumerate(ASKED.values()):
            known = None if found is None else asked.truth(found)
            table[row, column] = np.nan if known is None else float(known)
    return table


def figures(judged: Judged, align: Callable, image: np.ndarray, latent: np.ndarray, tokenizer: Any,
            length: int) -> dict[str, Figure]:
    """auroc_<finding> in each language where people have it and have it not, and how often the sign alone is right.

    align: (params, batch) -> (image, text), compiled. image: n e, of all studies judged. latent: one, that the towers
    need beside sentences.
    """
    truth, found = truths(judged.cohort.findings), {}
    for spoken in LANGUAGES:
        said = sentences(tokenizer, length, spoken)
        batch = said | {"latent": np.repeat(latent, len(said["words"]), axis=0)}
        scores = nearer(image, np.asarray(align(judged.params, batch)[1]))
        ending = "" if spoken == FIRST else f"/{spoken}"
        for column, name in enumerate(ASKED):
            area = auroc_over_people(scores[:, column], truth[:, column], judged.people, seed=judged.seed)
            if np.isfinite([area.value, area.low, area.high]).all():
                found[f"auroc_{name}{ending}"] = {
                    "value": area.value, "ci95": [area.low, area.high], "n": len(set(judged.people)),
                    "baseline": {"chance": 0.5}, "higher_is_better": True,
                    "reference": f"zero-shot, sentences in {spoken}; {area.with_finding} studies with it and "
                                 f"{area.without} without; {cited('auroc')}"}
        right = np.where(np.isnan(truth), np.nan, (scores > 0) == (truth > 0.5))
        known = ~np.isnan(right)
        each = np.array([row[own].mean() if own.any() else np.nan for row, own in zip(right, known, strict=True)])
        often = np.nanmean(truth, axis=0)
        usual = float(np.nanmean(np.where(known, np.where(often > 0.5, truth, 1 - truth), np.nan)))
        found[f"negation_accuracy{ending}"] = estimate(
            by_person(each, judged.people), {"chance": 0.5, "most frequent answer": usual}, True,
            f'of "X" and "no X" the true one is nearer, mean over {len(ASKED)} findings, sentences in {spoken}; '
            "no threshold is fitted", judged.seed)
    return found
