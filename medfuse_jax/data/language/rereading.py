"""From a structured report back to the findings that it states."""

import re

from medfuse_jax.data.findings import ATROPHY, COUNTED, NOT_ASSESSED, REGIONS, Change, Findings, RegionLoad
from medfuse_jax.data.language.languages import LEXICONS
from medfuse_jax.data.language.parsing import parse
from medfuse_jax.data.language.titles import TITLES
from medfuse_jax.errors import MedFuseError

NUMBER = r"[-+]?\d+(?:[.,]\d+)?"
SIDES = ("left", "right")
CHANGING = ("whole_brain", "thalamus", "caudate")
PERSON = ("age", "sex", "phenotype", "treatment", "edss", "disease_duration_years")
PARAGRAPHS = ("technique", "clinical", "comparison", "lesions", "black holes", "enhancement", "change", "atrophy",
              "space")


def read_report(text: str) -> Findings:
    """The findings that a report of `reporting` states, with the digits that it gives; what it does not tell is None.

    Raises MedFuseError when the text is no such report.
    """
    title = text.strip().partition("\n")[0]
    for name in LEXICONS:
        if title == TITLES[name]["title"]:
            return Rereader(name, text).findings()
    known = " or ".join(f'"{TITLES[name]["title"]}"' for name in LEXICONS)
    raise MedFuseError(f"report: its first line is {title[:60]!r}, not {known}; give a report that was written here")


def as_reported(findings: Findings) -> Findings:
    """The findings with what a report states of them, rounded as it rounds: what `read_report` gives back."""
    change = findings.change
    years = findings.disease_duration_years
    return Findings(
        lesion_count=findings.lesion_count, lesion_volume_ml=_rounded(findings.lesion_volume_ml, 2),
        lesions_by_region={name: RegionLoad(load.count, round(load.volume_ml, 2) if load.count else 0.0)
                           for name, load in findings.lesions_by_region.items()},
        structures_ml={name: round(findings.structures_ml[name], 2)
                       for name in (f"{each}_{side}" for each in ATROPHY for side in SIDES)
                       if name in findings.structures_ml},
        deviation_percent={name: round(value, 1) for name, value in findings.deviation_percent.items()},
        brain_parenchymal_fraction=_rounded(findings.brain_parenchymal_fraction, 3),
        intracranial_volume_ml=_rounded(findings.intracranial_volume_ml, 0),
        dissemination_in_space=findings.dissemination_in_space,
        change=change and Change(change.new_count, change.enlarging_count, change.resolved_count,
                                 {name: round(value, 1) for name, value in change.annualised_percent.items()}),
        age=None if findings.age is None else float(int(findings.age)), edss=findings.edss,
        disease_duration_years=_rounded(years, 1), date_years=_rounded(findings.date_years, 2),
        sex=findings.sex, phenotype=findings.phenotype, treatment=findings.treatment, contrasts=findings.contrasts,
        spacing_mm=tuple(round(side, 2) for side in findings.spacing_mm),
        not_assessed=(*NOT_ASSESSED, *(name for name in ("lesions", "structures") if name in findings.not_assessed)),
        **{name: getattr(findings, name) for name in COUNTED},
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


class Rereader:
    """Reads the paragraphs of a report in one language."""

    def __init__(self, language: str, text: str):
        self.say = TITLES[language]
        self.paragraphs = dict.fromkeys(PARAGRAPHS, "")
        for block in text.split("\n\n"):
            title, _, told = block.strip().partition(f"{self.say['colon']} ")
            named = [name for name in PARAGRAPHS if self.say[name] == title]
            self.paragraphs |= dict.fromkeys(named, told)
        self.unknown = {f"{told}." for name, told in self.say.items() if name.startswith("not assessed")}

    def findings(self) -> Findings:
        """All paragraphs together."""
        told = self.paragraphs
        met = {f"{self.say['met']}.": True, f"{self.say['not met']}.": False}
        missing = [name for name, title in (("lesions", "lesions"), ("structures", "atrophy"))
                   if told[title] in self.unknown]
        return Findings(
            **self.technique(), **self.person(), **self.lesions(), **self.structures(), change=self.change(),
            dissemination_in_space=met.get(told["space"].partition("\n")[0]),
            black_hole_count=self.count(told["black holes"]), enhancing_count=self.count(told["enhancement"]),
            not_assessed=(*NOT_ASSESSED, *missing))

    def numbers(self, template: str, paragraph: str) -> list[float]:
        """The numbers in the gaps of a template, and none where it does not stand."""
        pattern = re.escape(template).replace(re.escape("{}"), f"({NUMBER})")
        found = re.search(pattern, paragraph)
        return [] if found is None else [number(each) for each in found.groups()]

    def lines(self, title: str, names: tuple[str, ...]) -> dict[str, str]:
        """The lines of a paragraph by what they are about."""
        told = [line.strip().partition(f"{self.say['colon']} ") for line in self.paragraphs[title].split("\n")[1:]]
        by_word = {word: rest for word, _, rest in told}
        return {name: by_word[self.say[name]] for name in names if self.say[name] in by_word}

    def count(self, told: str) -> int | None:
        """5 black holes; no black holes; not assessed"""
        first = re.match(r"\d+", told)
        return None if told in self.unknown else int(first[0]) if first else 0

    def technique(self) -> dict:
        """Contrasts and voxels; years since the first visit."""
        names, _, voxels = self.paragraphs["technique"].partition(self.say["voxels"].split("{}")[1])
        contrasts = () if names == self.say["unstated"] else parse(names).statement.contrasts
        sides = tuple(number(side) for side in re.findall(NUMBER, voxels))
        years = re.search(NUMBER, self.paragraphs["comparison"])
        return dict(contrasts=contrasts, spacing_mm=sides, date_years=years and number(years[0]))

    def person(self) -> dict:
        """The person's covariates, as a sentence tells them."""
        if not self.paragraphs["clinical"]:
            return {}
        said = parse(self.paragraphs["clinical"]).statement
        return {name: getattr(said, name) for name in PERSON}

    def amount(self, told: str) -> RegionLoad:
        """14 lesions (3.1 ml); none"""
        found = [number(each) for each in re.findall(rf"(?<![\w.,])({NUMBER})(?= ml| \w+ [(])", told)]
        return RegionLoad(int(found[0]), found[1]) if len(found) == 2 else RegionLoad()

    def lesions(self) -> dict:
        """Count, volume and regions."""
        if self.paragraphs["lesions"] in self.unknown:
            return dict(lesion_count=None, lesion_volume_ml=None, lesions_by_region={})
        total = self.amount(self.paragraphs["lesions"].partition("\n")[0])
        regions = {name: self.amount(told) for name, told in self.lines("lesions", REGIONS).items()}
        return dict(lesion_count=total.count, lesion_volume_ml=total.volume_ml, lesions_by_region=regions)

    def structures(self) -> dict:
        """Volumes and deviations of structures, and of the whole brain and head."""
        fraction, head = self.numbers(self.say["fraction"], self.paragraphs["atrophy"]) or (None, None)
        lines = self.lines("atrophy", ATROPHY)
        volumes = {f"{name}_{side}": self.numbers(f"{self.say[side]} {{}} ml", told)
                   for name, told in lines.items() for side in SIDES}
        deviations = {name: self.numbers(self.say["deviation"], told) for name, told in lines.items()}
        return dict(structures_ml={name: found[0] for name, found in volumes.items() if found},
                    deviation_percent={name: found[0] for name, found in deviations.items() if found},
                    brain_parenchymal_fraction=fraction, intracranial_volume_ml=head)

    def change(self) -> Change | None:
        """What changed since the earlier visit."""
        told = self.paragraphs["change"]
        counts = self.numbers(self.say["counts"], told)
        rates = {name: self.numbers(f"{self.say[name]} {{}} %", told) for name in CHANGING}
        if not counts:
            return None
        return Change(*map(int, counts), {name: found[0] for name, found in rates.items() if found})


def number(text: str) -> float:
    """A number with the decimal mark of either language."""
    return float(text.replace(",", "."))
