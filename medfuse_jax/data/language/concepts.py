"""From words to concepts: each phrase that a lexicon knows means one thing and has one letter."""

import difflib
from dataclasses import dataclass
from functools import lru_cache

from medfuse_jax.data.language.lexicon import Lexicon, stem
from medfuse_jax.data.language.words import (
    DASH,
    DATE,
    FIELD_STRENGTH,
    LARGEST_NUMBER,
    MARKS,
    QUIET,
    is_negative,
    is_number,
    value_of,
)

LETTERS = {
    "skip": "",
    "number": "n", "count": "w", "article": "a", "not": "!", "nor": "/", "region": "r", "lesion": "L", "burden": "B",
    "degree": "d", "structure": "s", "preserved": "P", "atrophy": "A", "normal": "o", "ml": "m", "volume": "V",
    "tally": "C", "total": "t", "years": "y", "old": "Y", "aged": "g", "duration": "u", "edss": "e",
    "sex": "x", "someone": "X", "phenotype": "p", "contrast": "c", "treatment": "T", "healthy": "H",
    "normal brain": "I", "only": "O", "and": "&", "or": "|", "with": "+", "unsupported": "U", "unknown": "?",
    "aside": "~", "mark": ":", "apart": ",", "stop": ",", "end": ".", "colon": ":", "open": "(", "close": ")",
    "to": "z",
    "between": "v",
    "bound": "b", "spread": "±", "measure": "l", "MS": "D", "foreign": "F", "refused": "R",
    "sign": "S", "free": "f", "activity": "N", "feature": "K", "inactive": "h", "onset": "j", "stable": "J",
    "doubt": "q", "fraction": "i", "each": "E", "side": "Z", "decimal": "G",
}


SKIPPED = ""
SHORT, LONG = 3, 24        # letters of words that are too short to be told apart, or too long to be one of ours


@dataclass(frozen=True)
class Concept:
    """One phrase of the text that means one thing."""

    letter: str
    value: object
    first: int        # tokens first..last-1
    last: int


def concepts_of(tokens: list[str], lexicon: Lexicon) -> list[Concept]:
    """The concepts of a text, longest phrase first; `skip` words are left out, unknown words keep their place."""
    found, at = [], 0
    stems = [stem(token) for token in tokens]
    while at < len(tokens):
        concept = concept_at(tokens, stems, at, lexicon)
        found.append(concept)
        at = concept.last
    return [concept for concept in found if concept.letter != SKIPPED]


def concept_at(tokens: list[str], stems: list[str], at: int, lexicon: Lexicon) -> Concept:
    """The concept that begins at a token; its letter is `SKIPPED` where the words say nothing."""
    kind, value, length = _phrase(tokens, stems, at, lexicon)
    letter = "k" if value == "deep_grey" else LETTERS[kind]      # deep grey holds lesions and has atrophy
    return Concept(letter, value, at, at + length)


def _phrase(tokens: list[str], stems: list[str], at: int, lexicon: Lexicon) -> tuple[str, object, int]:
    for length in range(min(lexicon.longest.get(stems[at], 0), len(tokens) - at), 0, -1):
        key = tuple(stems[at:at + length])
        if key in lexicon.phrases:
            kind, value = lexicon.phrases[key]
            if _cuts(kind, stems, at, length, lexicon):      # "no contrast | enhancement"
                continue
            return kind, value, length
    token = tokens[at]
    if token == "?" and (at == 0 or tokens[at - 1] in MARKS):      # "? cortical lesion"
        return "doubt", "before", 1
    if token in MARKS:
        return MARKS[token], None, 1
    if token == DASH:
        return "to", None, 1
    if FIELD_STRENGTH.fullmatch(token) or DATE.fullmatch(token) or token in QUIET:
        return "skip", None, 1
    if is_negative(token):
        return "refused", "a negative number is not read", 1 + (tuple(stems[at + 1:at + 2]) in lexicon.units)
    if is_number(token):
        value = value_of(token, "".join(tokens[at + 1:at + 2]), lexicon)
        if value < LARGEST_NUMBER:
            return "number", value, 1
    return "unknown" if token[0].isalnum() else "sign", token, 1


def _cuts(kind: str, stems: list[str], at: int, length: int, lexicon: Lexicon) -> bool:
    """Whether a phrase takes the first words of another that says more than they do; then it is none."""
    return any(tuple(stems[inside:inside + len(key)]) == key
               for inside in range(at + 1, at + length) for key, other in lexicon.openings.get(stems[inside], ())
               if inside + len(key) > at + length and (other != "lesion" or kind == "normal brain"))


def mended(tokens: list[str], concepts: list[Concept], lexicons: list[Lexicon]) -> dict[int, str]:
    """Mistyped words by their place, each with the word that it is read as, of the lexicon that reads its place."""
    unknown = [concept.first for concept in concepts if concept.letter == "?"]
    found = {i: nearest(tokens[i], lexicons[i]) for i in unknown if len(tokens[i]) > SHORT and tokens[i].isalpha()}
    return {i: word for i, word in found.items() if word is not None}


@lru_cache(maxsize=4096)
def nearest(word: str, lexicon: Lexicon) -> str | None:
    """The word of the lexicon that an unknown word looks like; None when it is that word itself, out of its phrase."""
    typed = stem(word)
    if typed in lexicon.vocabulary or len(typed) > LONG:
        return None
    near = [known for known in lexicon.proposable if abs(len(known) - len(typed)) <= 2 and known[0] in typed[:2]]
    close = difflib.get_close_matches(typed, near, n=1, cutoff=0.84)
    return lexicon.proposable[close[0]] if close else None
