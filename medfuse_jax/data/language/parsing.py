"""From a sentence to a statement, with all that was not understood or cannot be true said beside it."""

import unicodedata
from dataclasses import dataclass, field, replace

import numpy as np

from medfuse_jax.data.definitions import ends
from medfuse_jax.data.findings import ATROPHY, REGIONS, Amount, Range, Statement
from medfuse_jax.data.labels import CONTRASTS
from medfuse_jax.data.language.coherence import as_healthy, contradictions, lesions_said, spoken
from medfuse_jax.data.language.concepts import Concept, concepts_of, nearest
from medfuse_jax.data.language.languages import LEXICONS
from medfuse_jax.data.language.lexicon import Lexicon
from medfuse_jax.data.language.quantities import gathered, scaled, whole
from medfuse_jax.data.language.reading import SILENT, prepared, spans
from medfuse_jax.data.language.words import tokens_of
from medfuse_jax.errors import MedFuseError

LONGEST = 2000                      # characters of a prompt
OLDEST, WORST_EDSS = 120.0, 10.0
DEEP_GREY_ATROPHY = ("thalamus", "caudate", "putamen")


@dataclass(frozen=True)
class Reading:
    """What was read: the statement, its language, runs of words that were not understood, and warnings."""

    statement: Statement
    language: str
    ignored: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def parse(text: str) -> Reading:
    """Read a sentence in English or French, whichever lexicon knows more of its words.

    A volume that is not tied to a region in the same phrase is the total. What is not said stays free; "healthy" and
    "normal brain MRI" say that there is no lesion and no atrophy, unless the text says otherwise itself.
    """
    check(text)
    tokens = tokens_of(text)
    readings = [(concepts_of(tokens, lexicon), lexicon) for lexicon in LEXICONS.values()]
    accents = unicodedata.normalize("NFC", text) != unicodedata.normalize("NFD", text)      # "6 à 8 ml": French
    concepts, lexicon = min(readings, key=lambda reading: (sum(concept.letter == "?" for concept in reading[0]),
                                                           accents and reading[1].name == "en"))
    return Reader(tokens, lexicon).read(gathered(concepts, tokens))


def check(text: str) -> None:
    """Refuse what cannot be a prompt."""
    if not isinstance(text, str):
        raise MedFuseError(f"prompt: expected text, got {type(text).__name__}")
    if not text.strip():
        raise MedFuseError('prompt: it is empty; say what to show, as in "FLAIR, woman of 42, nine lesions, 6 ml"')
    if len(text) > LONGEST:
        raise MedFuseError(f"prompt: {len(text)} characters are too many; keep it under {LONGEST}")
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        raise MedFuseError("prompt: it is not valid UTF-8 text; set the terminal to UTF-8 and type it again")
    for letter in text:
        if unicodedata.category(letter) == "Cc" and letter not in "\n\r\t":
            raise MedFuseError(f"prompt: it holds the control character U+{ord(letter):04X}; remove it")


class Reader:
    """Collects the fields of one statement while the grammar walks through the text."""

    def __init__(self, tokens: list[str], lexicon: Lexicon):
        self.tokens, self.lexicon = tokens, lexicon
        self.fields: dict = {}
        self.regions: dict[str, Amount] = {}
        self.grades: dict[str, str] = {}
        self.unread: set[int] = set()
        self.warnings: list[str] = []
        self.healthy = self.bare = False          # bare: "lesions", without a word on how many or where

    def read(self, concepts: list[Concept]) -> Reading:
        for concept in concepts:
            if concept.letter in "~R":
                self.warn(f'"{self.words([concept])}": {concept.value}')
            if concept.letter in "RS?":
                self.ignore([concept])
            if concept.letter == "?":
                self.propose(self.tokens[concept.first])
        for rule, covered in spans(prepared(concepts)):
            getattr(self, rule or "leftover")(covered)
        statement = self.statement()
        self.warnings += contradictions(statement, self.healthy)
        if not lesions_said(statement) and self.bare:
            self.warn("lesions without a number, a volume or a region command nothing")
        if statement == Statement():
            self.warn("nothing in the text commands an image")
        return Reading(statement, self.lexicon.name, self.ignored(), self.warnings)

    def statement(self) -> Statement:
        contrasts = self.fields.pop("contrasts", set())
        statement = Statement(**self.fields, contrasts=tuple(name for name in CONTRASTS if name in contrasts),
                              lesions_by_region={name: self.regions[name] for name in REGIONS if name in self.regions},
                              atrophy={name: self.grades[name] for name in ATROPHY if name in self.grades})
        return as_healthy(statement) if self.healthy else statement

    # Words about words

    def words(self, covered: list[Concept]) -> str:
        return " ".join(self.tokens[covered[0].first:covered[-1].last])

    def warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def ignore(self, covered: list[Concept]) -> None:
        self.unread |= {i for concept in covered for i in range(concept.first, concept.last)}

    def ignored(self) -> list[str]:
        """Runs of words that were not understood."""
        runs: list[list[str]] = []
        for i in sorted(self.unread):
            if i - 1 in self.unread:
                runs[-1].append(self.tokens[i])
            else:
                runs.append([self.tokens[i]])
        return [" ".join(run) for run in runs]

    def propose(self, word: str) -> None:
        """Name the word of the lexicon that an unknown word looks like."""
        close = nearest(word, self.lexicon) if len(word) > 3 else None
        if close:
            self.warn(f'"{word}" was not understood: did you mean "{close}"?')

    def put(self, name: str, value, covered: list[Concept], into: dict | None = None) -> None:
        """Store a fact; a second, different value for it is a contradiction, and the first stays."""
        into = self.fields if into is None else into
        if name in into and into[name] != value:
            self.warn(f'"{self.words(covered)}" contradicts an earlier {spoken(name)}: {into[name]} is kept')
        else:
            into[name] = value

    # Rules of the grammar, one method each

    def leftover(self, covered: list[Concept]) -> None:
        letter, value = covered[0].letter, covered[0].value
        if letter == "!":
            self.warn(f'"{self.words(covered)}": what it denies was not understood')
        if letter not in SILENT and value != "whole_brain":
            self.ignore(covered)

    def unsupported(self, covered: list[Concept]) -> None:
        """What no model was trained on, or a negation of what cannot be negated."""
        self.unread |= set(range(covered[0].first, covered[-1].last))
        proposed = [] if covered[0].letter == "!" else [c.value for c in covered if c.letter == "U" and c.value]
        instead = next(iter(proposed), None)
        wording = f'; the nearest wording is "{instead}"' if instead else ""
        self.warn(f'"{self.words(covered)}" cannot be commanded{wording}')

    def foreign(self, covered: list[Concept]) -> None:
        """Another disease; that it is not there needs no command."""
        if covered[0].letter != "!":
            self.ignore(covered)
            self.warn(f'"{self.words(covered)}" is left out: the model knows multiple sclerosis only')

    def absence(self, covered: list[Concept]) -> None:
        """No MS."""
        if covered[-1].letter == "u" and covered[-1].value != "MS":
            return self.unsupported(covered)
        self.healthy = True
        self.put("phenotype", "control", covered)

    def unitless(self, covered: list[Concept]) -> None:
        self.ignore(covered)
        self.warn(f'"{self.words(covered)}": say the unit, ml or mm3')

    def quantity(self, covered: list[Concept]) -> tuple[int | str | Range | None, float | Range | None]:
        """The count and the volume of a phrase."""
        count = volume = None
        for concept, following in zip(covered, [*covered[1:], None], strict=True):
            if following is not None and following.letter == "m":
                volume = scaled(concept.value, following.value, 6)
            elif concept.letter == "!":
                count = 0
            elif concept.letter in "nwa":
                count = concept.value
        if isinstance(count, float | Range):
            if any(end not in (np.inf, end // 1) for end in ends(count)):
                self.warn(f'"{self.words(covered)}": a number of lesions is whole')
            count = whole(count)
        return count, volume

    def lesions(self, covered: list[Concept]) -> None:
        count, volume = self.quantity(covered)
        regions = [concept.value for concept in covered if concept.letter in "rk"]
        if not regions:
            self.bare = self.bare or count is None and volume is None
            if count is not None:
                self.put("lesion_count", count, covered)
            if volume is not None:
                self.put("lesion_volume_ml", volume, covered)
        elif len(regions) > 1 and (count or volume is not None):
            self.warn(f'"{self.words(covered)}": say how many in each region; read as lesions in all of them')
            count = volume = None
        for region in regions:
            self.amount(region, count, volume, covered)

    def amount(self, region: str, count: int | str | Range | None, volume: float | Range | None,
               covered: list[Concept]) -> None:
        """Join what is said of a region with what was said of it before."""
        before = self.regions.setdefault(region, Amount(count, volume))
        for name, value in (("count", count), ("volume_ml", volume)):
            if getattr(before, name) is None:
                before = replace(before, **{name: value})
            elif value is not None and value != getattr(before, name):
                self.warn(f'"{self.words(covered)}" contradicts what was said of {spoken(region)} lesions before')
        self.regions[region] = before

    def inside(self, covered: list[Concept]) -> None:
        """Lesions of a structure: those of the deep grey matter, whose region holds it."""
        count, volume = self.quantity(covered)
        structure = next(concept.value for concept in covered if concept.letter == "s")
        if structure == "whole_brain":
            return self.lesions([concept for concept in covered if concept.letter != "s"])
        if structure == "hippocampus":
            return self.unsupported(covered)
        self.warn(f'"{self.words(covered)}": read as lesions of the deep grey matter')
        return self.amount("deep_grey", count, volume, covered)

    def new(self, covered: list[Concept]) -> None:
        count, _ = self.quantity(covered)
        if not isinstance(count, int | Range) or any(concept.letter in "rk" and count for concept in covered):
            self.warn(f'"{self.words(covered)}": new lesions are commanded by their number, in the whole brain')
        if isinstance(count, int | Range):
            self.put("new_count", count, covered)
        else:
            self.ignore(covered)

    def degree(self, covered: list[Concept], table: str, missing: str | None) -> str | None:
        """The load word or the grade of a phrase: a degree, a negation, or what an unsaid degree means."""
        degrees = [concept.value[table] for concept in covered if concept.letter == "d" and table in concept.value]
        denied = any(concept.letter in "!oP" for concept in covered)
        if any(concept.letter == "d" for concept in covered) and (denied or not degrees):
            self.warn(f'"{self.words(covered)}" is not read: say none, mild, moderate or severe')
            self.ignore(covered)
            return None
        return "none" if denied else degrees[0] if degrees else missing

    def load(self, covered: list[Concept]) -> None:
        word, volume = self.degree(covered, "load", None), self.quantity([c for c in covered if c.letter != "!"])[1]
        if word is not None:
            self.put("lesion_load", word, covered)
        if volume is not None:
            self.put("lesion_volume_ml", volume, covered)

    def atrophy(self, covered: list[Concept]) -> None:
        said = any(concept.letter in "d!oP" for concept in covered)
        grade = self.degree(covered, "grade", "moderate")
        if grade is None:
            return
        if not said:
            self.warn(f'"{self.words(covered)}": the degree is not said; read as moderate')
        named = [concept for concept in covered if concept.letter in "skP"]
        structures = [name for c in named for name in (DEEP_GREY_ATROPHY if c.letter == "k" else (c.value,))]
        for name in structures or (ATROPHY if grade == "none" else ("whole_brain",)):
            self.put(name, grade, covered, self.grades)

    def number(self, name: str, covered: list[Concept], largest: float) -> None:
        value = next(concept.value for concept in covered if concept.letter == "n")
        value = scaled(value, next((concept.value for concept in covered if concept.letter == "y"), 1.0), 4)
        if max(end for end in ends(value) if end < np.inf) > largest:
            self.warn(f'"{self.words(covered)}": {spoken(name)} is at most {largest:g}; not read')
            self.ignore(covered)
        else:
            self.put(name, value, covered)

    def age(self, covered: list[Concept]) -> None:
        self.number("age", covered, OLDEST)

    def duration(self, covered: list[Concept]) -> None:
        self.number("disease_duration_years", covered, OLDEST)

    def edss(self, covered: list[Concept]) -> None:
        self.number("edss", covered, WORST_EDSS)

    def fact(self, covered: list[Concept]) -> None:
        """One word that says it all: sex, phenotype, treatment, contrast, healthy, only."""
        letter, value = covered[0].letter, covered[0].value
        if letter == "c":
            self.fields.setdefault("contrasts", set()).add(value)
        elif letter == "O":
            self.fields["only"] = True
        elif letter in "HI":
            self.healthy = True
            if letter == "H":
                self.put("phenotype", "control", covered)
        else:
            self.put({"x": "sex", "p": "phenotype", "T": "treatment"}[letter], value, covered)
