"""From the spans of the grammar to the fields of a statement: one method for each rule."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from medfuse_jax.data.definitions import ends
from medfuse_jax.data.findings import ATROPHY, Amount, Count, Range, Statement
from medfuse_jax.data.language.coherence import contradictions, lesions_said, spoken
from medfuse_jax.data.language.concepts import Concept
from medfuse_jax.data.language.counting import Counting
from medfuse_jax.data.language.further import LATER
from medfuse_jax.data.language.lexicon import Lexicon, stem
from medfuse_jax.data.language.numbers import scaled
from medfuse_jax.data.language.reading import SILENT, Span, in_doubt, prepared, spans
from medfuse_jax.data.language.said import Reading, Said

OLDEST, ADULT, WORST_EDSS = 120.0, 18.0, 10.0
DEEP_GREY_ATROPHY = ("thalamus", "caudate", "putamen")
SOME = Range(1)
BRAIN = ("brain", "cerebral", "cerebrale", "cerveau", "encephale", "encephalique")      # where all lesions are
NOTHING = (*BRAIN, "since", "for", "depui")          # may stay unread
DOUBT = "what is only possible is not commanded"
ELSEWHERE = "new, enlarging, resolved, dark and enhancing lesions are counted in the whole brain"


class Reader(Counting):
    """Collects the fields of one statement while the grammar walks through the text."""

    def __init__(self, tokens: list[str], lexicon: Lexicon):
        super().__init__(tokens, lexicon)
        self.certain, self.possible = Said(), Said()
        self.said = self.certain
        self.bare = False          # "lesions", without a word on how many or where

    def read(self, concepts: list[Concept]) -> Reading:
        for concept in concepts:
            if concept.letter in "~RZ":
                self.warn(f'"{self.words([concept])}": {concept.value}')
            if concept.letter in "RSZ?":
                self.ignore([concept])
        found = list(spans(prepared(concepts, self.lexicon.adjectives_follow)))
        doubts = [concept for concept in concepts if concept.letter == "q"]
        doubted = {i for doubt in doubts for i in self.doubted(doubt, found)}
        for i, (rule, covered) in enumerate(found):
            self.said = self.possible if i in doubted else self.certain
            getattr(self, rule or "leftover")(covered)
        possible = self.possible.statement()
        statement = replace(self.certain.statement(), possible=None if possible == Statement() else possible)
        if statement.possible:
            self.warn(DOUBT)
        self.warnings += contradictions(statement, self.certain.healthy)
        if not lesions_said(statement) and self.bare:
            self.warn("lesions without a number, a volume or a region command nothing")
        if replace(statement, possible=None) == Statement():
            self.warn("nothing in the text commands an image")
        return Reading(statement, self.lexicon.name, self.ignored(), self.warnings)

    def doubted(self, doubt: Concept, found: list[Span]) -> list[int]:
        """Which spans a doubt is about; what is said in doubt is never a command."""
        about = in_doubt(doubt, found)
        if not about:
            self.warn(f'"{self.words([doubt])}": what it doubts was not understood')
        return about

    def put(self, name: str, value, covered: list[Concept], into: dict | None = None) -> None:
        """Store a fact; a second, different value for it is a contradiction, and the first stays."""
        into = self.said.fields if into is None else into
        if name in into and into[name] != value:
            self.warn(f'"{self.words(covered)}" contradicts an earlier {spoken(name)}: {into[name]} is kept')
        else:
            into[name] = value

    # Rules of the grammar, one method each

    def leftover(self, covered: list[Concept]) -> None:
        letter = covered[0].letter
        if letter == "!":
            self.warn(f'"{self.words(covered)}": what it denies was not understood')
        if letter not in SILENT and stem(self.words(covered)) not in NOTHING:
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
        self.said.healthy = True
        self.put("phenotype", "control", covered)

    def unitless(self, covered: list[Concept]) -> None:
        self.ignore(covered)
        self.warn(f'"{self.words(covered)}": say the unit, ml or mm3')

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
        for region in dict.fromkeys(regions):
            self.amount(region, self.summed(region, count, covered), volume, covered)

    def summed(self, region: str, count: Count, covered: list[Concept]) -> Count:
        """The count of a region with what other words for a part of it said: one cerebellar and two pontine lesions."""
        words = {self.words([concept]) for concept in covered if concept.value == region}
        before = self.said.regions.get(region, Amount()).count
        known = self.said.sites.setdefault(region, set())
        other = bool(known) and not known & words and isinstance(before, int) and isinstance(count, int)
        known |= words
        if not other:
            return count
        self.said.regions[region] = replace(self.said.regions[region], count=None)
        return before + count

    def amount(self, region: str, count: int | str | Range | None, volume: float | Range | None,
               covered: list[Concept]) -> None:
        """Join what is said of a region with what was said of it before."""
        before = self.said.regions.setdefault(region, Amount(count, volume))
        for name, value in (("count", count), ("volume_ml", volume)):
            if getattr(before, name) is None:
                before = replace(before, **{name: value})
            elif value is not None and value != getattr(before, name):
                self.warn(f'"{self.words(covered)}" contradicts what was said of {spoken(region)} lesions before')
        self.said.regions[region] = before

    def inside(self, covered: list[Concept]) -> None:
        """Lesions of a structure: those of the deep grey matter, whose region holds it."""
        count, volume = self.quantity(covered)
        structure = next(concept.value for concept in covered if concept.letter == "s")
        if structure == "whole_brain":
            self.ignore([concept for concept in covered
                         if concept.letter == "s" and stem(self.words([concept])) not in BRAIN])      # diffuse
            return self.lesions([concept for concept in covered if concept.letter != "s"])
        if structure == "hippocampus":
            return self.unsupported(covered)
        self.warn(f'"{self.words(covered)}": read as lesions of the deep grey matter')
        return self.amount("deep_grey", count, volume, covered)

    def activity(self, covered: list[Concept]) -> None:
        """New, enlarging, resolved, enhancing lesions and black holes: "three new lesions", "one enlarging"."""
        names = dict.fromkeys(concept.value for concept in covered if concept.letter in "NKh")
        count, volume = self.quantity([concept for concept in covered if concept.letter != "E"])
        count = 0 if any(concept.letter == "h" for concept in covered) else count
        if volume is not None:
            self.ignore([concept for concept, following in pairwise([*covered, covered[-1]])
                         if concept.letter in "mE" or following.letter == "m"])
            self.warn(f'"{self.words(covered)}": the volume of such lesions is not commanded, only their number')
        if count and len(names) > 1 and any(concept.letter in "&|" for concept in covered):
            self.ignore(covered)
            return self.warn(f'"{self.words(covered)}": say how many of each')
        placed = any(concept.letter in "rk" for concept in covered)
        if placed:
            self.warn(f'"{self.words(covered)}": {ELSEWHERE}')
        if placed and count == 0:
            return self.ignore(covered)
        for name in names:
            if placed and count is not None:
                self.said.parts.setdefault(name, []).append(count)
            else:
                self.count(name, SOME if count is None else count, covered)
        return None

    def count(self, name: str, count: Count, covered: list[Concept]) -> None:
        """A count; that there are some is no second opinion beside a number."""
        before = self.said.fields.get(name)
        if before == SOME and count:
            self.said.fields[name] = count
        elif count != SOME or not before:
            self.put(name, count, covered)

    def stable(self, covered: list[Concept]) -> None:
        """Unchanged since the earlier visit."""
        self.said.stable = True

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
            if not any(concept.letter in "BV" for concept in covered):      # large lesions
                self.warn(f'"{self.words(covered)}": read as a lesion load, {spoken(word)}')
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
            self.put(name, grade, covered, self.said.grades)

    def clear(self, covered: list[Concept]) -> None:
        """normal cerebellum: no lesion there, and no atrophy of the structures beside it"""
        for concept in covered:
            if concept.letter in "rk":
                self.amount(concept.value, 0, None, covered)
            elif concept.letter == "s":
                self.put(concept.value, "none", covered, self.said.grades)

    def number(self, name: str, covered: list[Concept], largest: float) -> None:
        value = next(concept.value for concept in covered if concept.letter == "n")
        value = scaled(value, next((concept.value for concept in covered if concept.letter == "y"), 1.0), 4)
        if max(end for end in ends(value) if end < np.inf) > largest:
            self.warn(f'"{self.words(covered)}": {spoken(name)} is at most {largest:g}; not read')
            self.ignore(covered)
        else:
            self.put(name, value, covered)

    def age(self, covered: list[Concept]) -> None:
        """An age; months without a word on age are those between two visits."""
        if covered[-1].letter == "y" and covered[-1].value < 1 and covered[0].letter != "g":
            self.ignore(covered)
            return self.warn(f'"{self.words(covered)}": {LATER}')
        return self.number("age", covered, OLDEST)

    def onset(self, covered: list[Concept]) -> None:
        """An age, but not that of the scan."""
        self.ignore(covered)
        self.warn(f'"{self.words(covered)}": the age of onset is not commanded')

    def duration(self, covered: list[Concept]) -> None:
        self.number("disease_duration_years", covered, OLDEST)

    def treated(self, covered: list[Concept]) -> None:
        """For how long somebody has been treated is not how long the disease has lasted."""
        self.fact(covered[:1])
        self.ignore(covered[1:])
        self.warn(f'"{self.words(covered)}": the duration of a treatment is not commanded')

    def years(self, covered: list[Concept]) -> None:
        """RRMS 12 years; RRMS 42 years: a number of years behind a disease is its duration, or an adult's age."""
        (self.duration if ends(covered[0].value)[0] < ADULT else self.age)(covered)

    def edss(self, covered: list[Concept]) -> None:
        self.number("edss", covered, WORST_EDSS)

    def fact(self, covered: list[Concept]) -> None:
        """One word that says it all: sex, phenotype, treatment, contrast, healthy, only."""
        letter, value = covered[0].letter, covered[0].value
        if letter == "c":
            self.said.fields.setdefault("contrasts", set()).add(value)
        elif letter == "O":
            self.said.fields["only"] = True
        elif letter in "HI":
            self.said.healthy = True
            if letter == "H":
                self.put("phenotype", "control", covered)
        else:
            self.put({"x": "sex", "p": "phenotype", "T": "treatment"}[letter], value, covered)
