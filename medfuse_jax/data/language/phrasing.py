"""From the fields of a statement to phrases: who and how, what is seen and what is not."""

import re
from collections.abc import Sequence

import numpy as np

from medfuse_jax.data.findings import ACTIVITY, ATROPHY, REGIONS, Amount, Count, Range, Statement
from medfuse_jax.data.language.lexicon import Choose, Lexicon

CHANGES = ACTIVITY[:3]      # new, enlarging, resolved
TWO_DIGITS = range(10, 100)
SOME = Range(1)             # "new lesions", without a number


class Phrases:
    """Phrases in one language; `choose` takes one of several forms, so that writing is random or canonical."""

    short = False           # F42, 9 PV lesions

    def __init__(self, lexicon: Lexicon, rng: np.random.Generator | None = None):
        self.lexicon = lexicon
        self.rng = rng
        self.choose: Choose = lambda forms: forms[0 if rng is None else rng.integers(len(forms))]

    def template(self, name: str) -> str:
        return self.choose(self.lexicon.templates[name])

    def word(self, table: str, value: str = "") -> str:
        return self.choose(self.lexicon.written[table][value])

    def is_one(self, count: float | int | str | Range) -> bool:
        """Whether a count takes the singular."""
        return not isinstance(count, str) and self.lexicon.is_one(count)

    def counted(self, noun: str, count: float | int | str | Range) -> str:
        """`lesion` or `years` in the number that its count asks for."""
        one = self.is_one(count)
        return self.word(f"{noun}.{'one' if one else 'many'}", "" if noun == "lesion" else "1")

    def place(self, region: str, count: float | int | str | Range) -> str:
        """A region's adjective in the number of its lesions."""
        if self.short and region in self.lexicon.written["region.short"]:
            return self.word("region.short", region)
        one = self.is_one(count)
        return self.word(f"region.{'one' if one else 'many'}", region)

    def joined(self, phrases: Sequence[str], conjunction: str) -> str:
        """a, b and c"""
        last = self.template(conjunction)
        return last.join(filter(None, (", ".join(phrases[:-1]), *phrases[-1:])))

    def contrasts(self, statement: Statement) -> str:
        """The contrasts, all in one manner: T1w and T2w, or T1-weighted and T2-weighted."""
        manner = self.choose((0, -1))
        return self.joined([self.lexicon.written["contrast"][name][manner] for name in statement.contrasts], "and")

    def header(self, statement: Statement) -> list[str]:
        """Contrasts, person, disease, treatment."""
        names, phrases = self.contrasts(statement), []
        if names:
            phrases.append(self.template("contrasts").format(names))
        if self.short and statement.sex is not None and statement.age in TWO_DIGITS:
            phrases.append(f"{self.word('sex.short', statement.sex)}{statement.age:.0f}")
        elif statement.sex is not None:
            sex = self.word("sex", statement.sex)
            phrases.append(self.person(sex, statement.age))
        elif statement.age is not None:
            phrases.append(self.aged(self.template("age"), statement.age))
        if statement.phenotype is not None:
            phrases.append(self.phenotype(statement))
        return phrases + self.disease(statement)

    def person(self, sex: str, age: float | int | Range | None, apposition: bool = True) -> str:
        if age is None:
            return sex
        forms = self.lexicon.templates["person"]
        return self.aged(self.choose(forms if apposition else tuple(f for f in forms if "," not in f)), age, sex)

    def aged(self, form: str, age: float | int | Range, sex: str = "") -> str:
        return form.format(sex=sex, age=self.lexicon.number(age), years=self.counted("years", age))

    def phenotype(self, statement: Statement) -> str:
        return self.word("healthy") if is_healthy(statement) else self.word("phenotype", statement.phenotype)

    def disease(self, statement: Statement) -> list[str]:
        phrases = []
        if statement.edss is not None:
            phrases.append(self.template("edss").format(self.lexicon.number(statement.edss)))
        if statement.disease_duration_years is not None:
            years = statement.disease_duration_years
            number = self.lexicon.number(years)
            phrases.append(self.template("duration").format(number, years=self.counted("years", years)))
        if statement.treatment is not None:
            phrases.append(self.word("treatment", statement.treatment))
        return phrases

    def patient(self, statement: Statement) -> str:
        """The person of a letter, with article: a 42-year-old woman (RRMS, EDSS 2)."""
        control = statement.phenotype == "control"
        details = self.disease(statement)
        phenotype = [self.phenotype(statement)] if statement.phenotype else []
        if control and statement.sex is None and statement.age is None:
            noun = phenotype.pop()
        else:
            someone = "subject" if control else "patient"
            noun = self.word("sex", statement.sex) if statement.sex else self.template(someone)
        person = self.person(noun, statement.age, apposition=False)
        details = ", ".join(phenotype + details)
        # "an 18-year-old": English ages that begin with a vowel
        an = "article.an" in self.lexicon.templates and re.match(r"8|11\b|18\b", person)
        article = self.template("article.an" if an else f"article.{statement.sex or 'M'}")
        return f"{article} {person}" + (f" ({details})" if details else "")

    # What is seen

    def findings(self, statement: Statement, bare: bool = False) -> tuple[list[str], list[str]]:
        """Phrases of what is there and of what is not. `bare`: "6 ml" may stand alone."""
        seen, absent = self.lesions(statement, bare)
        thin, normal = self.atrophy(statement)
        seen, absent = seen + thin, absent + normal
        active, quiet = self.activity(statement)
        seen, absent = seen + active, absent + quiet
        return seen, absent + ([self.word("only")] if statement.only else [])

    def lesions(self, statement: Statement, bare: bool) -> tuple[list[str], list[str]]:
        seen, absent = [], []
        count, volume, burden = statement.lesion_count, statement.lesion_volume_ml, self.word("burden")
        if statement.lesion_load == "none":
            absent.append(self.template("load.none").format(burden))
        elif statement.lesion_load is not None:
            seen.append(self.template("load").format(self.word("load", statement.lesion_load).replace("~", burden)))
        if count == 0 and not is_healthy(statement):
            absent.append(self.none_of([""]))
        elif count:
            lesion = self.counted("lesion", count)
            total = self.template("some").format(count=self.number(count), region="", lesion=lesion)
            if volume and self.rng is not None and self.rng.random() < 0.3:
                total, volume = self.sized(total, volume), None
            seen.append(total)
        regions = [(name, statement.lesions_by_region[name]) for name in REGIONS if name in statement.lesions_by_region]
        seen += [self.region(name, amount) for name, amount in regions if not amount.absent]
        empty = [name for name, amount in regions if amount.absent]
        absent += [self.none_of(names) for names in self.grouped(empty)]
        if volume is not None:
            form = self.template("volume" if bare and seen and not statement.lesion_load else "volume.alone")
            seen.append(form.format(ml=self.ml(volume), lesion=self.counted("lesion", "many")))
        return seen, absent

    def activity(self, statement: Statement) -> tuple[list[str], list[str]]:
        """What changed since the earlier visit, black holes and enhancement: one by one, or a change after another."""
        said = {name: getattr(statement, name) for name in ACTIVITY if getattr(statement, name) is not None}
        changed = [name for name in CHANGES if name in said]
        seen, absent, together = [], [], []
        if len(changed) > 1 and said[changed[0]] and self.rng is not None and self.rng.random() < 0.5:
            first, *others = [self.active(name, said.pop(name), ".also" * (i > 0)) for i, name in enumerate(changed)]
            together = [self.joined([first + self.template("since"), *others], "and")]
        for name, count in said.items():
            since = self.template("since") if name in CHANGES else ""
            (seen if count else absent).append(self.active(name, count) + since)
        return seen + together, absent      # last: "none resolved and black holes" would deny both

    def active(self, name: str, count: Count, also: str = "") -> str:
        """three new lesions; `.also`: two enlarging"""
        some = count == SOME and not also
        shape = ".some" if some else ".none" if count == 0 else ".one" * self.is_one(count)
        known = self.lexicon.templates
        form = self.template(next(each for each in (name + also + shape, name + also, name) if each in known))
        number = "" if some or count == 0 else self.number(count, masculine=name == "black_hole_count")
        return form.format(count=number, lesion=self.counted("lesion", "many" if some else count))

    def grouped(self, names: list[str]) -> list[list[str]]:
        """Said together or one by one."""
        together = self.rng is None or self.rng.random() < 0.5
        return [names] * bool(names) if together else [[name] for name in names]

    def none_of(self, regions: list[str]) -> str:
        noun = self.counted("lesion", 0)
        words = [self.place(name, 0) if name else "" for name in regions]
        said = self.template("absent").format(region=self.joined(words, "neither"), either=self.joined(words, "either"),
                                              lesion=noun)
        return " ".join(said.split())              # no region leaves no gap

    def region(self, name: str, amount: Amount) -> str:
        count, volume = amount.count, amount.volume_ml
        words = {"region": self.place(name, count or "many"), "lesion": self.counted("lesion", count or "many")}
        if count is None:
            form = "open" if volume is None else "volume.of_region"
            return self.template(form).format(**words, ml=None if volume is None else self.ml(volume))
        phrase = self.template("some").format(count=self.number(count), **words)
        return phrase if volume is None else self.sized(phrase, volume)

    def sized(self, lesions: str, volume: float | int | Range) -> str:
        return self.template("sized").format(lesions=lesions, ml=self.ml(volume))

    def ml(self, volume: float | int | Range) -> str:
        return f"{self.lexicon.number(volume)} {self.word('ml', '1')}"

    def number(self, count: int | str | Range, masculine: bool = False) -> str:
        """A count in words up to twenty (or digits), digits above, a range, or a count word."""
        gender = ".masculine" if masculine and "one.masculine" in self.lexicon.templates else ""
        if isinstance(count, Range):
            return str(count)
        if isinstance(count, str):
            return self.word(f"count{gender}", count)
        if gender and count == 1 and not self.short:
            return self.template("one.masculine")
        return str(count) if self.short or count > 20 else self.choose((self.lexicon.numbers[count], str(count)))

    def atrophy(self, statement: Statement) -> tuple[list[str], list[str]]:
        grades = {name: statement.atrophy[name] for name in ATROPHY if name in statement.atrophy}
        if list(grades.values()) == ["none"] * len(ATROPHY):
            return [], [] if is_healthy(statement) else [self.template("atrophy.nowhere")]
        seen = []
        for word in ("severe", "moderate", "mild"):
            for names in self.grouped([name for name, value in grades.items() if value == word]):
                seen.append(self.shrunken(self.thinning("atrophy", names), names, "and", self.word("grade", word)))
        normal = [name for name, value in grades.items() if value == "none"]
        absent = []
        for names in self.grouped(normal):
            form = self.thinning("atrophy.none", names)
            if "{preserved}" in form:
                absent += [self.word("preserved", name) for name in names]
            else:
                conjunction = "either" if "{either}" in form else "neither"        # absence of one or the other
                absent.append(self.shrunken(form.replace("{either}", "{noun}"), names, conjunction))
        return seen, absent

    def thinning(self, name: str, names: list[str]) -> str:
        """A template of atrophy: with adjectives only where all structures have one."""
        forms = self.lexicon.templates[name]
        named = set(names) <= self.lexicon.written["structure.adjective"].keys()
        return self.choose(forms if named else tuple(form for form in forms if "{adjective}" not in form))

    def shrunken(self, form: str, names: list[str], conjunction: str, grade: str = "") -> str:
        shape = "adjective" if "{adjective}" in form else "noun"
        words = [self.word(f"structure.{shape}", name) for name in names]
        return form.format(grade=grade, **{shape: self.joined(words, conjunction)})


def is_healthy(statement: Statement) -> bool:
    """Whether "healthy control" says it all: a control without any lesion or atrophy."""
    normal = all(statement.atrophy.get(name) == "none" for name in ATROPHY)
    return statement.phenotype == "control" and statement.lesion_count == 0 and normal
