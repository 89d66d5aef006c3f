"""How well sentences are read: statements as they were meant beside statements as they were understood."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import binomtest

from medfuse_jax.data.findings import Statement

Fact = tuple[str, str]      # where it stands (lesions_by_region.cortical.count), and its value


class Share(NamedTuple):
    """A share of n, 0 to 1, with its 95 % interval (Wilson 1927)."""

    value: float
    low: float
    high: float
    n: int


class Score(NamedTuple):
    """Of the statements that were meant: how many were read to the letter, and each field's facts."""

    exact: Share
    precision: dict[str, Share]      # of the facts that were read, those that were meant; "all" first
    recall: dict[str, Share]         # of the facts that were meant, those that were read


def facts_of(statement: Statement) -> set[Fact]:
    """Each stated thing once; what is possible is a thing of its own."""
    return {leaf for name, value in statement.to_json().items() for leaf in _leaves(name, value)}


def _leaves(path: str, value: object) -> list[Fact]:
    if isinstance(value, dict) and set(value) != {"low", "high"}:
        amount = set(value) == {"count", "volume_ml"}      # of a region: that lesions are there is a fact as well
        kept = {name: each for name, each in value.items() if not amount or each is not None}
        inner = [leaf for name, each in kept.items() for leaf in _leaves(f"{path}.{name}", each)]
        return inner or [(path, "there")]
    if isinstance(value, tuple):
        return [(path, str(each)) for each in value]
    return [(path, str(value))]


def field_of(fact: Fact) -> str:
    """The field of a statement that a fact belongs to."""
    return fact[0].partition(".")[0]


def score(meant: Sequence[Statement], read: Sequence[Statement]) -> Score:
    """Exact statements, and precision and recall by field (van Rijsbergen 1979), 0 to 1, higher is better.

    A field without facts is left out; without statements `exact` is nan.
    """
    pairs = list(zip(meant, read, strict=True))
    said, found, both = Counter(), Counter(), Counter()
    for one, other in pairs:
        wanted, got = facts_of(one), facts_of(other)
        for counter, facts in ((said, wanted), (found, got), (both, wanted & got)):
            counter.update(field_of(fact) for fact in facts)
            counter["all"] += len(facts)
    exact = _share(sum(one == other for one, other in pairs), len(pairs))
    names = ["all", *sorted(set(said | found) - {"all"})]
    return Score(exact, {name: _share(both[name], found[name]) for name in names if found[name]},
                 {name: _share(both[name], said[name]) for name in names if said[name]})


def _share(hits: int, n: int) -> Share:
    if not n:
        return Share(float("nan"), 0.0, 1.0, 0)
    within = binomtest(hits, n).proportion_ci(method="wilson")
    return Share(hits / n, float(within.low), float(within.high), n)
