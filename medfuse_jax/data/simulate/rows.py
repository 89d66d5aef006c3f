"""A quantity of simulated people beside what was measured in patients: a row of the table that validation writes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from medfuse_jax.data.simulate.cohort import each_person
from medfuse_jax.data.simulate.person import CohortSettings
from medfuse_jax.metrics import interval


class Row(NamedTuple):
    """One quantity: what it should be, and what it is with its 95 % interval over people."""

    quantity: str
    source: str                        # of science.md's tables: data, paper, assume
    low: float
    high: float
    value: float
    interval: tuple[float, float]
    people: int

    @property
    def inside(self) -> bool:
        """Whether the value lies in its tolerance."""
        return self.low <= self.value <= self.high


def row(name: str, source: str, low: float, high: float, people: Sequence[Any], statistic: Callable[[Sequence], float],
        seed: int, draws: int = 200) -> Row:
    """A quantity of some people with its bootstrap interval over them."""
    places = np.arange(len(people))
    ends = interval.bootstrap(places, lambda some: statistic([people[int(place)] for place in some]), draws, seed)
    return Row(name, source, low, high, float(statistic(people)), ends, len(people))


def gathered(measure: partial, settings: CohortSettings, jobs: int, name: str) -> list[Any]:
    """One measurement of each person, by `jobs` processes, with progress."""
    return list(each_person(measure, settings, jobs, f"{name}, {settings.spacing:g} mm"))


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| quantity | target | simulated | 95 % interval | people | inside |", "|---|---|---|---|---|---|"]
    for one in rows:
        low, high = one.interval
        cells = (one.quantity, f"{one.low:.3g} to {one.high:.3g}", f"{one.value:.3g}", f"{low:.3g} to {high:.3g}",
                 one.people, "yes" if one.inside else "**no**")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
