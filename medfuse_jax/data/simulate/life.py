"""One lesion's life: when it is born, how much of it each date sees, when it takes up gadolinium, when it is old."""

from dataclasses import dataclass

import numpy as np

RISE_YEARS, FADE_YEARS = 0.12, 1.0     # grows over weeks, shrinks partly within a year [assume]
CHRONIC_YEARS = 0.5


@dataclass(frozen=True)
class Planned:
    """One lesion of a plan."""

    region: str                        # of findings.REGIONS
    volume_ml: float                   # at its largest
    birth_years: float = -10.0         # from the first visit; old lesions no longer change by themselves
    remains: float = 1.0               # share of its largest volume that persists
    enlarges_years: float | None = None      # when an old lesion grows again, to `volume_ml` from two thirds of it
    drift: float = 0.0                 # of an old lesion's log volume a year, from the first visit
    until_years: float = 0.0           # when a growing lesion is at its largest
    leaks_years: float = 0.0           # for how long after its birth it takes up gadolinium
    seed: int = 0                      # of its own place and shape
    darkness: float = 0.0              # on T1 once it is old: 0 like any lesion, 1 a black hole
    visibility: float = 1.0            # on FLAIR and T2: less where it is intracortical

    def old(self, years: float) -> bool:
        """Whether what remains of it is chronic."""
        return years - self.birth_years >= CHRONIC_YEARS

    def enhances(self, years: float) -> bool:
        """Whether its barrier is open, so that it takes up gadolinium."""
        return 0 <= years - self.birth_years < self.leaks_years

    def share(self, years: float) -> float:
        """Share of its largest volume that a visit at this date sees."""
        since = years - self.birth_years
        if since < 0:
            return 0.0
        if self.enlarges_years is not None:
            return 1.0 if years >= self.enlarges_years else 2 / 3
        rise = min(1.0, 0.35 + 0.65 * since / RISE_YEARS)
        fade = 1 - (1 - self.remains) * np.clip((since - RISE_YEARS) / FADE_YEARS, 0, 1)
        drifted = np.exp(self.drift * (max(years, 0.0) - (self.until_years if self.drift > 0 else 0.0)))
        return float(min(rise * fade * drifted, 1.0))
