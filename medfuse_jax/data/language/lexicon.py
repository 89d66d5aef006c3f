"""What a language is to us: tables of words that the writer takes and the parser reads, and templates.

`written` forms are both written and read; `understood` and `further` forms are only read. A table is named `kind` or
`kind.shape`; the parser sees only the kind. Values are the words of `findings.py` and `definitions.py`.
"""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from medfuse_jax.data.findings import Range

NUMERIC = ("number", "fraction", "article", "ml", "years")      # kinds whose value is a number
UNPROPOSED = ("unsupported", "foreign", "aside", "side", "measure", "skip", "bound", "between", "to", "with", "and",
              "or", "only", "free", "contrast", "duration", "number", "fraction", "decimal", "each",
              "refused")      # cure no typing mistake
Table = dict[str, tuple[str, ...]]
Choose = Callable[[tuple[str, ...]], str]      # takes one of several forms; the canonical choice is the first


def stem(word: str) -> str:
    """A word without case, accents and plural mark, the same for the lexicon and for what is read."""
    decomposed = unicodedata.normalize("NFKD", word.lower().replace("œ", "oe"))
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return plain[:-1] if len(plain) > 3 and plain[-1] in "sx" else plain


def split(phrase: str) -> list[str]:
    """The words of a phrase; hyphens, apostrophes and `~` (the place of the noun) only separate."""
    for mark in "~-'_":
        phrase = phrase.replace(mark, " ")
    return phrase.split()


def stems(phrase: str) -> tuple[str, ...]:
    """The stems of a phrase's words."""
    return tuple(map(stem, split(phrase)))


def merged(*many: dict[str, Table]) -> dict[str, Table]:
    """Tables of one name joined: the forms of each value one after another."""
    found: dict[str, Table] = {}
    for name, table in (item for tables in many for item in tables.items()):
        into = found.setdefault(name, {})
        found[name] = into | {value: (*into.get(value, ()), *forms) for value, forms in table.items()}
    return found


@dataclass(frozen=True, eq=False)      # one of each language: compared and hashed as itself
class Lexicon:
    """One language as data."""

    name: str
    decimal: str
    singular: tuple[float, float]             # numbers in this range take the singular
    numbers: tuple[str, ...]                  # zero, one, two, ... as far as they are read
    written: dict[str, Table]
    understood: dict[str, Table]
    further: dict[str, Table]                 # as `understood`; no word piece is learned from these
    skipped: str                              # words that say nothing about findings
    templates: dict[str, tuple[str, ...]]     # the first of each is the canonical form

    @cached_property
    def phrases(self) -> dict[tuple[str, ...], tuple[str, object]]:
        """Every phrase that is read, as stems -> (kind, value)."""
        found: dict[tuple[str, ...], tuple[str, object]] = {}
        found |= {(stem(word),): ("skip", None) for word in self.skipped.split()}
        found |= {stems(word): ("number", float(n)) for n, word in enumerate(self.numbers)}
        degrees: dict[tuple[str, ...], dict[str, str]] = {}
        for name, table in self.tables:
            kind = name.partition(".")[0]
            for value, forms in table.items():
                for form in forms:
                    if kind in ("load", "grade"):      # "moderate" is either: its noun decides
                        degrees.setdefault(stems(form), {})[kind] = value
                    else:
                        found[stems(form)] = (kind, float(value) if kind in NUMERIC else value)
        return found | {key: ("degree", value) for key, value in degrees.items()}

    @property
    def tables(self) -> tuple[tuple[str, Table], ...]:
        """Every table that is read, with its name."""
        return (*self.written.items(), *self.understood.items(), *self.further.items())

    @cached_property
    def units(self) -> set[tuple[str, ...]]:
        """Stems that may follow a number as its unit."""
        return {stems for stems, (kind, _) in self.phrases.items() if kind in ("ml", "years", "old", "measure")}

    @cached_property
    def longest(self) -> dict[str, int]:
        """How many words the longest phrase has that begins with a word."""
        found: dict[str, int] = {}
        for key in self.phrases:
            found[key[0]] = max(len(key), found.get(key[0], 0))
        return found

    @cached_property
    def openings(self) -> dict[str, list[tuple[tuple[str, ...], str]]]:
        """Phrases of several words that others may not cut, and their kinds, by their first word."""
        found: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for key, (kind, _) in self.phrases.items():
            if len(key) > 1 and kind in ("activity", "feature", "region", "lesion"):
                found.setdefault(key[0], []).append((key, kind))
        return found

    @cached_property
    def vocabulary(self) -> dict[str, str]:
        """Every word that is read with a meaning, by its stem, in the order of the tables."""
        return self._words(self.tables) | {stem(word): word for form in self.numbers for word in split(form)}

    @cached_property
    def proposable(self) -> dict[str, str]:
        """The words that an unknown one may be a slip of, by their stem; never a number, which would be made up."""
        return self._words((name, table) for name, table in self.tables
                           if name.partition(".")[0] not in UNPROPOSED)

    def _words(self, tables: Iterable[tuple[str, Table]]) -> dict[str, str]:
        forms = [form for _, table in tables for values in table.values() for form in values]
        return {stem(word): word for form in forms for word in split(form)}

    @property
    def words(self) -> list[str]:
        """Every word that word pieces are learned from, sorted: a change is a change of vocabulary for new families."""
        own = self._words((*self.written.items(), *self.understood.items()))
        numbers = {word for form in self.numbers for word in split(form)}
        return sorted(set(self.skipped.split()) | set(own.values()) | numbers)

    @property
    def adjectives_follow(self) -> bool:
        """Whether a noun stands before its adjective: lésion corticale."""
        return self.templates["open"][0].endswith("{region}")

    def is_one(self, value: float | int | Range) -> bool:
        """Whether a number takes the singular."""
        return not isinstance(value, Range) and self.singular[0] <= value <= self.singular[1]

    def number(self, value: float | int | Range) -> str:
        """Digits with the decimal mark of the language."""
        return f"{value:.6g}".replace(".", self.decimal)
