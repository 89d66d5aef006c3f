"""From a statement to a sentence: tags, telegraphic sentences, a radiologist's letter or prose."""

import re

from medfuse_jax.data.findings import Statement
from medfuse_jax.data.language.lexicon import stems
from medfuse_jax.data.language.phrasing import Phrases


class Writer(Phrases):
    """One sentence in one language, in one of five forms; the canonical form is tags."""

    def write(self, statement: Statement) -> str:
        """The sentence. Canonical (no rng): tags."""
        form = self.choose((self.tags, self.note, self.letter, self.prose, self.shorthand))
        return re.sub(r" +(?=[,.)]| |$)", "", form(statement))

    def tags(self, statement: Statement) -> str:
        """FLAIR and T1w, woman of 42, RRMS, nine periventricular lesions, 6 ml, moderate thalamic atrophy"""
        seen, absent = self.findings(statement, bare=True)
        phrases = (*self.header(statement), *seen, *absent, *self.possible(statement))
        return ", ".join(plain(phrase) for phrase in phrases)

    def shorthand(self, statement: Statement) -> str:
        """FLAIR, F42, RRMS, 9 PV lesions, 6 ml"""
        self.short = True
        text = self.tags(statement)
        self.short = False
        return text

    def note(self, statement: Statement) -> str:
        """FLAIR MRI, woman of 42, RRMS. Nine periventricular lesions, mild thalamic atrophy. No cortical lesions."""
        seen, absent = self.findings(statement)
        groups = (self.header(statement), seen, absent, self.possible(statement))
        return " ".join(capital(", ".join(plain(phrase) for phrase in group)) + "." for group in groups if group)

    def letter(self, statement: Statement) -> str:
        """FLAIR MRI of a 42-year-old woman (RRMS) showing nine periventricular lesions. No thalamic atrophy."""
        seen, absent = self.findings(statement)
        *forms, alone = self.lexicon.templates["letter"]
        form = self.choose(tuple(forms)) if seen else alone
        listed = self.joined([running(phrase) for phrase in seen], "and")
        opening = form.format(scan=self.scan(statement), person=self.patient(statement), findings=listed)
        return self.told([opening, *map(plain, absent), *map(plain, self.possible(statement))])

    def prose(self, statement: Statement) -> str:
        """FLAIR MRI of a 42-year-old woman. The scan shows nine periventricular lesions. There is mild thalamic ..."""
        lesions, no_lesion = self.lesions(statement, bare=False)
        thin, normal = self.atrophy(statement)
        active, quiet = self.activity(statement)
        groups = (("lesions", lesions), ("activity", active), ("atrophy", thin))
        seen = [self.template(f"prose.{name}").format(self.joined([running(phrase) for phrase in group], "and"))
                for name, group in groups if group]
        absent = [*no_lesion, *quiet, *normal, *([self.word("only")] if statement.only else [])]
        opening = self.lexicon.templates["letter"][-1].format(scan=self.scan(statement), person=self.patient(statement))
        return self.told([opening, *seen, *map(plain, absent), *map(plain, self.possible(statement))])

    def told(self, sentences: list[str]) -> str:
        """Sentences one after another."""
        return " ".join(capital(sentence) + "." for sentence in sentences)

    def scan(self, statement: Statement) -> str:
        """FLAIR MRI"""
        names = self.contrasts(statement)
        return self.template("scan").format(names) if names else self.template("scan.unsaid")

    def possible(self, statement: Statement) -> list[str]:
        """What is said in doubt, each phrase with a doubt of its own."""
        doubted = statement.possible
        if doubted is None:
            return []
        alone = [Statement(**{name: getattr(doubted, name)}) for name in doubted.to_json()]
        seen, absent = (sum(phrases, []) for phrases in zip(*map(self.findings, alone), strict=True))
        uncounted = [phrase for phrase in seen if not self.begins_with_number(plain(phrase))]
        told = {phrase: "possible" if phrase in uncounted else "probably" for phrase in seen}
        told |= dict.fromkeys((*self.header(doubted), *absent), "probably")
        return [elided(self.template(form).format(phrase=plain(phrase), running=running(phrase)))
                for phrase, form in told.items()]

    def begins_with_number(self, phrase: str) -> bool:
        """nine cortical lesions; a few cortical lesions"""
        kinds = [self.lexicon.phrases.get(stems(" ".join(phrase.split()[:n])), ("",))[0] for n in (1, 2, 3)]
        return phrase[:1].isdigit() or phrase[:1] == "≥" or bool({"number", "count", "article"} & set(kinds))


def plain(phrase: str) -> str:
    """A phrase in a list of tags: without its article."""
    return re.sub(r"\[.*?\]", "", phrase)


def running(phrase: str) -> str:
    """A phrase in running text: with its article."""
    return phrase.replace("[", "").replace("]", "")


def capital(sentence: str) -> str:
    """A sentence with its first letter large."""
    return sentence[:1].upper() + sentence[1:]


def elided(phrase: str) -> str:
    """suspicion d'atrophie"""
    return re.sub(r"(?<=suspicion )de (?=[aeiouéh])", "d'", phrase)
