"""What a page and a log line say of a sample, in English or French."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from medfuse_jax.data import language
from medfuse_jax.data.definitions import Real
from medfuse_jax.data.findings import ATROPHY, REGIONS, Findings, Statement
from medfuse_jax.data.language.titles import TITLES
from medfuse_jax.metrics import obedience
from medfuse_jax.metrics.obedience import PERSON, Verdict

MINUS, SPACE = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
MARKS = {"obeyed": "\N{CHECK MARK}", "not obeyed": "\N{BALLOT X}", "not measurable": "\N{EN DASH}"}

ENGLISH = {
    "asked": "asked for", "found": "measured", "wanted": "expected", "verdict": "verdict",
    "obeyed": "obeyed", "not obeyed": "not obeyed", "not measurable": "not measurable",
    "tally": "{} of {} measurable commands obeyed", "nothing": "nothing else",
    "lesion": "lesion", "lesions": "lesions", "or": "to", "then": "; ", "all": "measured in all",
    "person": "an image does not show it", "only": "no other abnormality",
    "volumes": "volumes compared with those of {} with this head", "healthy F": "a healthy woman",
    "healthy M": "a healthy man", "healthy None": "a healthy person", "age": " of {:.0f}",
    "fraction": "brain parenchymal fraction {}",
    "axial": "axial", "coronal": "coronal", "sagittal": "sagittal", "labels": "labels", "R": "R", "L": "L", "A": "A",
    "P": "P", "cortex": "cortex", "ventricles": "ventricles", "pallidum": "pallidum", "brainstem": "brainstem",
    "cerebellum": "cerebellum", "sides": "radiological view: the person's right is on the left",
    "grid": "voxels of {} mm", "made": "made on a grid of {} mm", "notice": "SYNTHETIC - research only",
}

FRENCH = {
    "asked": "demandé", "found": "mesuré", "wanted": "attendu", "verdict": "verdict",
    "obeyed": "respecté", "not obeyed": "non respecté", "not measurable": "non mesurable",
    "tally": "demandes mesurables respectées : {} sur {}", "nothing": "rien d'autre",
    "lesion": "lésion", "lesions": "lésions", "or": "à", "then": " ; ", "all": "mesuré en tout",
    "person": "une image ne le montre pas", "only": "pas d'autre anomalie",
    "volumes": "volumes comparés à ceux d'{} avec cette tête", "healthy F": "une femme en bonne santé",
    "healthy M": "un homme en bonne santé", "healthy None": "une personne en bonne santé", "age": ", {:.0f} ans,",
    "fraction": "fraction parenchymateuse cérébrale {}",
    "axial": "axiale", "coronal": "coronale", "sagittal": "sagittale", "labels": "structures", "R": "D", "L": "G",
    "A": "A", "P": "P", "cortex": "cortex", "ventricles": "ventricules", "pallidum": "pallidum",
    "brainstem": "tronc cérébral", "cerebellum": "cervelet",
    "sides": "vue radiologique : la droite de la personne est à gauche", "grid": "voxels de {} mm",
    "made": "produit sur une grille de {} mm", "notice": "SYNTHÉTIQUE - recherche uniquement",
    obedience.NO_EARLIER: "il faut les étiquettes d'un examen antérieur",
    obedience.NO_STRUCTURES: "les étiquettes ne contiennent aucune structure",
    obedience.NO_LESIONS: "les étiquettes ne contiennent aucune lésion",
    obedience.UNCOUNTED["black_hole_count"]: "les trous noirs n'ont pas été cherchés",
    obedience.UNCOUNTED["enhancing_count"]: "les prises de contraste n'ont pas été cherchées",
    obedience.FINER: "plus fin que la grille : moins d'un voxel",
}
WORDS = {"en": ENGLISH, "fr": FRENCH}


class Row(NamedTuple):
    """One line of the table of verdicts."""

    asked: str
    wanted: str
    found: str
    verdict: str        # obeyed | not obeyed | not measurable: for the colour
    said: str           # the same with its mark, in the page's language


class Captions:
    """The words of one language."""

    def __init__(self, name: str = "en"):
        self.words, self.titles, self.lexicon = WORDS[name], TITLES[name], language.lexicon_of(name)
        self.name, self.colon = name, self.titles["colon"]

    def __getitem__(self, key: str) -> str:
        return self.words.get(key) or self.titles[key]

    def number(self, value: Real, digits: int = 1, signed: bool = False) -> str:
        """A number with so many decimals, in the language's own writing."""
        text = f"{value:{'+' if signed else ''}.{digits}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text.replace("-", MINUS).replace(".", self.lexicon.decimal)

    def ml(self, value: Real) -> str:
        """A volume with the decimals that it needs."""
        return f"{self.number(value, 0 if value >= 100 else 1 if value >= 10 else 2)}{SPACE}ml"

    def lesions(self, count: Real) -> str:
        """A number of lesions."""
        one = self.lexicon.is_one(count)
        return f"{count:.0f}{SPACE}{self['lesion' if one else 'lesions']}"

    def amount(self, verdict: Verdict, value: Real) -> str:
        """A value in the unit of a verdict."""
        return self.lesions(value) if verdict.unit == "lesions" else self.ml(value)

    # The table of verdicts

    def tally(self, verdicts: Sequence[Verdict]) -> str:
        """3 of 5 measurable commands obeyed"""
        measured = [verdict.obeyed for verdict in verdicts if verdict.obeyed is not None]
        return self["tally"].format(sum(measured), len(measured))

    def rows(self, verdicts: Sequence[Verdict]) -> list[Row]:
        """A line for each verdict; what is said of the person shares the last one."""
        told = [self.row(verdict) for verdict in verdicts if verdict.finding not in PERSON]
        person = {verdict.finding: verdict.commanded for verdict in verdicts if verdict.finding in PERSON}
        if person:
            asked = language.write(Statement(**person), self.name)
            told.append(Row(asked, "", self["person"], "not measurable", self.marked("not measurable")))
        return told

    def row(self, verdict: Verdict) -> Row:
        """One verdict."""
        asked = self["only"] if verdict.finding == "only" else language.write(verdict.command, self.name)
        return Row(asked, self.wanted(verdict), self.found(verdict), verdict.word, self.marked(verdict.word))

    def marked(self, word: str) -> str:
        """A verdict's word behind its mark, so that colour alone says nothing."""
        return f"{MARKS[word]} {self[word]}"

    def wanted(self, verdict: Verdict) -> str:
        """What would obey: 5.1 to 6.9 ml."""
        low, high = verdict.allowed
        if verdict.amount is None:
            return ""
        if math.isinf(high):
            return f"\N{GREATER-THAN OR EQUAL TO} {self.amount(verdict, low)}"
        if low == high:
            return self.amount(verdict, high)
        if low <= 0:
            return f"\N{LESS-THAN OR EQUAL TO} {self.amount(verdict, high)}"
        first = self.amount(verdict, low).partition(SPACE)[0]
        return f"{first} {self['or']} {self.amount(verdict, high)}"

    def found(self, verdict: Verdict) -> str:
        """What was measured instead, or why nothing was."""
        if verdict.finding == "contrasts":
            return ", ".join(verdict.measured)
        if verdict.finding == "only" and verdict.obeyed is not None:
            return ", ".join(self[name] for name in verdict.measured) or self["nothing"]
        if verdict.amount is None:
            return self.words.get(verdict.why, verdict.why)
        word = f", {self[verdict.measured]}" if verdict.finding.startswith("atrophy") else ""
        return self.amount(verdict, verdict.amount) + word

    # All that was measured

    def summary(self, findings: Findings) -> list[str]:
        """What was measured, in lines for under a picture."""
        places = ", ".join(f"{findings.lesions_by_region[region].count} {self[region]}" for region in REGIONS
                           if findings.lesions_by_region.get(region) and findings.lesions_by_region[region].count)
        lesions = self.words.get(obedience.NO_LESIONS, obedience.NO_LESIONS)
        if findings.lesion_count is not None:
            lesions = f"{self.lesions(findings.lesion_count)}, {self.ml(findings.lesion_volume_ml)}"
        lines = [f"{self['all']}{self.colon} {lesions}" + (f" ({places})" if places else "")]
        if findings.deviation_percent:
            person = self[f"healthy {findings.sex}"]
            person += "" if findings.age is None else self["age"].format(findings.age)
            volumes = ", ".join(f"{self[name]} {self.number(findings.deviation_percent[name], 0, True)}{SPACE}%"
                                for name in ATROPHY)
            lines += [f"{self['volumes'].format(person)}{self.colon} {volumes}{self['then']}"
                      + self["fraction"].format(self.number(findings.brain_parenchymal_fraction, 3))]
        return lines


def line(verdicts: Sequence[Verdict]) -> str:
    """A sample's verdicts in one line of a log; what was disobeyed is named."""
    say, missed = Captions("en"), [verdict for verdict in verdicts if verdict.obeyed is False]
    told = [f"{row.asked} (measured {row.found}" + (f", expected {row.wanted})" if row.wanted else ")")
            for row in map(say.row, missed)]
    line = say.tally(verdicts) + (f"; not obeyed: {'; '.join(told)}" if told else "")
    return line.replace(SPACE, " ")
