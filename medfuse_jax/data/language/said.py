"""What a text said: the fields of a statement while they are read, and the reading that comes of them."""

from dataclasses import dataclass, field

from medfuse_jax.data.findings import ATROPHY, REGIONS, Amount, Statement
from medfuse_jax.data.labels import CONTRASTS
from medfuse_jax.data.language.coherence import as_healthy
from medfuse_jax.data.language.numbers import total


@dataclass(frozen=True)
class Reading:
    """What was read: the statement, its language, runs of words that were not understood, and warnings."""

    statement: Statement
    language: str
    ignored: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass
class Said:
    """The fields of one statement while they are read: of what is certain, or of what is possible."""

    fields: dict = field(default_factory=dict)
    regions: dict[str, Amount] = field(default_factory=dict)
    grades: dict[str, str] = field(default_factory=dict)
    sites: dict[str, set[str]] = field(default_factory=dict)  # the words that named each region
    parts: dict[str, list] = field(default_factory=dict)      # of a count of the whole brain, region by region
    healthy: bool = False
    stable: bool = False                                      # neither new nor enlarging, unless said otherwise

    def statement(self) -> Statement:
        contrasts = self.fields.pop("contrasts", set())
        parts = {name: total(counts) for name, counts in self.parts.items()}
        stable = dict(new_count=0, enlarging_count=0) if self.stable else {}
        statement = Statement(**(stable | parts | self.fields),
                              contrasts=tuple(name for name in CONTRASTS if name in contrasts),
                              lesions_by_region={name: self.regions[name] for name in REGIONS if name in self.regions},
                              atrophy={name: self.grades[name] for name in ATROPHY if name in self.grades})
        return as_healthy(statement) if self.healthy else statement
