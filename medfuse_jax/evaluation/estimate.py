"""From one value a study to a figure of metrics.json: a mean over people with its interval and its baseline."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medfuse_jax.metrics import interval

Figure = dict[str, Any]       # value, ci95, n, baseline, higher_is_better, reference
Baseline = Mapping[str, float | None]


def by_person(values: np.ndarray, people: np.ndarray) -> np.ndarray:
    """The mean of each person's visits, in the order of their names; nan where none has a value."""
    known = ~np.isnan(values)
    own = [known & (people == person) for person in np.unique(people)]
    return np.array([values[visits].mean() if visits.any() else np.nan for visits in own])


def estimate(each: np.ndarray, baseline: Baseline, higher: bool, reference: str, seed: int = 0) -> Figure:
    """Mean over people (or samples), nan left out, with its bootstrap interval; no interval for fewer than two."""
    each = each[~np.isnan(each)]
    ends = interval.bootstrap(each, seed=seed) if len(each) > 1 else (None, None)
    return {"value": float(each.mean()), "ci95": list(ends), "n": len(each), "baseline": dict(baseline),
            "higher_is_better": higher, "reference": reference}


def law(deviations: ArrayLike, baseline: Baseline, reference: str) -> Figure:
    """The largest deviation from a law: it holds for all samples or it does not, so the interval is the value."""
    worst = float(np.max(deviations))
    return {"value": worst, "ci95": [worst, worst], "n": np.size(deviations), "baseline": dict(baseline),
            "higher_is_better": False, "reference": f"{reference}; a law, so its interval is the value itself"}
