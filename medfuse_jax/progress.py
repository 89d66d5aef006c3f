"""How far long work is: a bar in a terminal, a line every ten seconds elsewhere."""

import sys
import time
from typing import Any

from absl import logging
from tqdm import tqdm

PLAIN_EVERY_S = 10.0        # between progress lines where there is no terminal


class Progress:
    """Units done of a total, their rate, the time left, and what else is told."""

    def __init__(self, name: str, total: int, unit: str, first: int = 0, shows: bool = True):
        self.name, self.total, self.unit, self.shows = name, total, unit, shows
        self.told = self.opened = time.monotonic()
        self.began: tuple[float, int] | None = None      # when the first unit was told: after a compile or a start
        bar = shows and sys.stderr.isatty()
        self.bar = tqdm(desc=name, initial=first, total=total, unit=unit, dynamic_ncols=True) if bar else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *failure: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def tell(self, done: int, **values: Any) -> None:
        """`done` units are done; a value is read from its device only when it is shown."""
        now = time.monotonic()
        since, first = self.began = self.began or (now, done)
        often = PLAIN_EVERY_S if self.bar is None else 0.2
        if not self.shows or now - self.told < often and done != self.total:
            return
        self.told = now
        shown = {name: f"{float(value):.4g}" for name, value in values.items()}
        if self.bar is not None:
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update(done - self.bar.n)
        elif done == self.total:
            self.say(done, f"in {duration(now - self.opened)}", shown)
        elif done > first:                              # before, there is no rate yet
            rate = (done - first) / max(now - since, 1e-9)
            pace = f"{rate:.3g} {self.unit}/s" if rate >= 1 else f"{1 / rate:.3g} s/{self.unit}"
            self.say(done, f"{pace}, {duration((self.total - done) / rate)} left", shown)

    def say(self, done: int, when: str, shown: dict[str, str]) -> None:
        """One line."""
        logging.info("%s", ", ".join([f"{self.name}: {self.unit} {done} of {self.total}", when,
                                      *(f"{name} {value}" for name, value in shown.items())]))


def duration(seconds: float) -> str:
    """A time as people say it: 45 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
