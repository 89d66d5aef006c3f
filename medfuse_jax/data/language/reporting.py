"""From findings to a structured radiology report; every number in it is one of the findings.

The fields are those that MAGNIMS-CMSC-NAIMS (Wattjes et al., Lancet Neurology 2021) and OFSEP (Brisset et al., Journal
of Neuroradiology 2020) ask a report of brain MRI in multiple sclerosis to tell. It measures and neither names a disease
nor advises. `rereading` reads it back.
"""

from medfuse_jax.data.definitions import count_word, grade, load_word
from medfuse_jax.data.findings import ACTIVITY, ATROPHY, NOT_ASSESSED, REGIONS, Findings, RegionLoad, Statement
from medfuse_jax.data.language.languages import lexicon_of
from medfuse_jax.data.language.lexicon import Lexicon
from medfuse_jax.data.language.titles import TITLES
from medfuse_jax.data.language.writing import Writer, capital, plain


def report(findings: Findings, language: str) -> str:
    """Technique, comparison, lesions, black holes, enhancement, change, atrophy, dissemination, impression and notice.

    One titled paragraph each; what nobody looked at is "not assessed".
    """
    return Reporter(lexicon_of(language)).report(findings)


class Reporter:
    """Writes the paragraphs in one language."""

    def __init__(self, lexicon: Lexicon):
        self.lexicon, self.say, self.writer = lexicon, TITLES[lexicon.name], Writer(lexicon)
        self.digits = Writer(lexicon)
        self.digits.short = True

    def report(self, findings: Findings) -> str:
        paragraphs = {
            "technique": self.technique(findings), "clinical": self.clinical(findings),
            "comparison": self.comparison(findings), "lesions": self.lesions(findings),
            "black holes": self.counted(findings, "black holes", "black_hole_count"),
            "enhancement": self.counted(findings, "enhancement", "enhancing_count"), "change": self.change(findings),
            "atrophy": self.atrophy(findings), "space": self.space(findings), "time": f"{self.time(findings)}.",
            "impression": self.impression(findings),
        }
        body = [f"{self.say[title]}{self.say['colon']} {text}" for title, text in paragraphs.items() if text]
        return "\n\n".join([self.say["title"], *body, self.say["notice"]]) + "\n"

    def number(self, value: float | int, digits: int = 2) -> str:
        """A number with at most so many decimals; never "-0"."""
        text = f"{value:.{digits}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return ("0" if text == "-0" else text).replace(".", self.lexicon.decimal)

    def technique(self, findings: Findings) -> str:
        names = self.writer.contrasts(Statement(contrasts=findings.contrasts)) or self.say["unstated"]
        return self.say["voxels"].format(names, " x ".join(self.number(side) for side in findings.spacing_mm))

    def clinical(self, findings: Findings) -> str:
        years = findings.disease_duration_years
        person = Statement(age=None if findings.age is None else float(int(findings.age)), sex=findings.sex,
                           phenotype=findings.phenotype, treatment=findings.treatment, edss=findings.edss,
                           disease_duration_years=None if years is None else round(years, 1))
        words = ", ".join(self.writer.header(person))
        return f"{capital(words)}." if words else ""

    def comparison(self, findings: Findings) -> str:
        """Whether this visit was compared with an earlier one; that there is none is said of a first visit alone."""
        first = findings.date_years == 0
        earlier = self.say["earlier" if findings.change else "no earlier" if first else "not compared"]
        if findings.date_years is None:
            return earlier
        years = self.writer.counted("years", round(findings.date_years, 2))
        return f"{earlier} {self.say['after'].format(self.number(findings.date_years), years)}"

    def unseen(self, title: str) -> str:
        """That nobody looked, in the gender and number of a paragraph's title."""
        return f"{self.say.get(f'not assessed {title}', self.say['not assessed'])}."

    def counted(self, findings: Findings, title: str, name: str) -> str:
        count = getattr(findings, name)
        return self.unseen(title) if count is None else f"{capital(self.digits.active(name, count))}."

    def amount(self, load: RegionLoad) -> str:
        if load.count == 0:
            return self.say["no lesion"]
        return f"{load.count} {self.writer.counted('lesion', load.count)} ({self.number(load.volume_ml)} ml)"

    def lesions(self, findings: Findings) -> str:
        if findings.lesion_count is None:
            return self.unseen("lesions")
        lines = [f"  {self.say[region]}{self.say['colon']} {self.amount(findings.lesions_by_region[region])}"
                 for region in REGIONS if region in findings.lesions_by_region]
        if findings.lesion_count == 0:
            return "\n".join([capital(self.writer.none_of([""])).strip() + ".", *lines])
        load = Statement(lesion_load=load_word(findings.lesion_volume_ml))
        burden = ", ".join(map(plain, sum(self.writer.lesions(load, bare=False), [])))
        total = self.amount(RegionLoad(findings.lesion_count, findings.lesion_volume_ml))
        band = f"{self.say[count_word(findings.lesion_count)]}, " if findings.lesion_count > 1 else ""
        return "\n".join([f"{total}{self.say['colon']} {band}{burden}.", *lines])

    def change(self, findings: Findings) -> str:
        change = findings.change
        if change is None:
            return self.unseen("change")
        counts = self.say["counts"].format(change.new_count, change.enlarging_count, change.resolved_count)
        rates = ", ".join(f"{self.say[name]} {self.number(value, 1)} %"
                          for name, value in change.annualised_percent.items())
        return f"{counts} {self.say['rates'].format(rates)}" if rates else counts

    def atrophy(self, findings: Findings) -> str:
        if findings.intracranial_volume_ml is None:
            return self.unseen("atrophy")
        lines = []
        for name in ATROPHY:
            sides = [(side, findings.structures_ml.get(f"{name}_{side}")) for side in ("left", "right")]
            parts = [f"{self.say[side]} {self.number(ml)} ml" for side, ml in sides if ml is not None]
            if name in findings.deviation_percent:
                deviation = findings.deviation_percent[name]
                signed = "+" * (deviation > 0.05) + self.number(deviation, 1)
                parts.append(f"{self.say['deviation'].format(signed)} ({self.say[grade(deviation)]})")
            if parts:
                lines.append(f"  {self.say[name]}{self.say['colon']} {', '.join(parts)}")
        whole = self.say["fraction"].format(self.number(findings.brain_parenchymal_fraction, 3),
                                            self.number(findings.intracranial_volume_ml, 0))
        return "\n".join([whole, *lines])

    def space(self, findings: Findings) -> str:
        """The five regions of the 2024 McDonald criteria; what a brain scan does not show is not assessed."""
        regions = findings.lesions_by_region
        places = {"periventricular": ("periventricular",), "cortical or juxtacortical": ("cortical", "juxtacortical"),
                  "infratentorial": ("infratentorial",)}
        verdicts = {place: self.seen(regions, names) for place, names in places.items()}
        verdicts |= dict.fromkeys(NOT_ASSESSED, "not assessed")
        lines = [f"  {self.say['region'].format(self.say[f'{place} region'])}{self.say['colon']} {self.say[verdict]}"
                 for place, verdict in verdicts.items()]
        return "\n".join([f"{self.say[self.met(findings)]}.", *lines])

    def met(self, findings: Findings) -> str:
        return {None: "not assessed", True: "met", False: "not met"}[findings.dissemination_in_space]

    def time(self, findings: Findings) -> str:
        """New lesions since an earlier visit, or lesions that enhance beside others that do not."""
        if findings.change is None and findings.enhancing_count is None:
            return self.say["not assessed"]
        if findings.change is not None and findings.change.new_count:
            return self.say["time new"]
        mixed = 0 < (findings.enhancing_count or 0) < (findings.lesion_count or 0)
        return self.say["time enhancing" if mixed else "time not shown"]

    def seen(self, regions: dict[str, RegionLoad], names: tuple[str, ...]) -> str:
        known = [regions[name].count for name in names if name in regions]
        return "present" if any(known) else "absent" if len(known) == len(names) else "not assessed"

    def impression(self, findings: Findings) -> str:
        """The words of a sentence about these findings, so that they can be read back; then dissemination."""
        load = "none" if findings.lesion_volume_ml is None else load_word(findings.lesion_volume_ml)
        change = {} if findings.change is None else vars(findings.change)
        statement = Statement(
            lesion_count=0 if findings.lesion_count == 0 else None, lesion_load=None if load == "none" else load,
            atrophy={name: grade(value) for name, value in findings.deviation_percent.items()},
            **{name: change.get(name, getattr(findings, name, None)) for name in ACTIVITY})
        lines = [f"  {self.say['space short']}{self.say['colon']} {self.say[self.met(findings)]}",
                 f"  {self.say['time']}{self.say['colon']} {self.time(findings)}"]
        return "\n".join([self.writer.note(statement), *lines])
