"""The count and the volume of a phrase, and what is wrong with them."""

import numpy as np

from medfuse_jax.data.definitions import ends
from medfuse_jax.data.findings import Count, Range
from medfuse_jax.data.language.concepts import Concept
from medfuse_jax.data.language.notes import Notes
from medfuse_jax.data.language.numbers import scaled, times, whole
from medfuse_jax.data.language.words import thousands

Volume = float | Range


class Counting(Notes):
    """Reads numbers of lesions and millilitres; a number that cannot be one is said, and never a command."""

    def quantity(self, covered: list[Concept]) -> tuple[Count | None, Volume | None]:
        """The count and the volume of a phrase; a volume of each lesion times their count."""
        count = volume = None
        for concept, following in zip(covered, [*covered[1:], None], strict=True):
            if following is not None and following.letter == "m":
                volume = scaled(concept.value, following.value, 6)
            elif concept.letter == "!":
                count = 0
            elif concept.letter in "nwa":
                count = self.counted(concept, count, covered)
        if volume is not None and any(concept.letter == "E" for concept in covered):
            volume = self.of_all(count, volume, covered)
        return count, volume

    def counted(self, concept: Concept, before: Count | None, covered: list[Concept]) -> Count | None:
        """A number of lesions; it is whole, and a second one in the phrase is not read."""
        count = concept.value
        if isinstance(count, float | Range) and any(end not in (np.inf, end // 1) for end in ends(count)):
            grouped = thousands(self.tokens[concept.first]) if isinstance(count, float) else None
            if grouped is None:
                self.ignore([concept])
                self.warn(f'"{self.words(covered)}": a number of lesions is whole')
                return before
            self.warn(f'"{self.words([concept])}" is read as {grouped:g}: a number of lesions is whole')
            count = grouped
        count = whole(count) if isinstance(count, float | Range) else count
        if before is None or before == count:
            return count
        self.ignore([concept])
        self.warn(f'"{self.words(covered)}": two numbers for the same lesions; {before} is kept')
        return before

    def of_all(self, count: Count | None, each: Volume, covered: list[Concept]) -> Volume | None:
        """The volume of all lesions from that of each."""
        if not count:
            self.ignore([concept for concept in covered if concept.letter in "nmE"])
            self.warn(f'"{self.words(covered)}": the volume of each lesion is read only beside their number')
            return None
        volume = times(count, each)
        self.warn(f'"{self.words(covered)}": read as {volume:g} ml in all')
        return volume
