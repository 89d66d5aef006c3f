"""From a sentence to a statement: words become concepts, concepts become letters, and one grammar reads the letters.

The grammar knows no language: the order of adjective and noun is the only difference between English and French that it
meets, and every rule takes both orders. Words that no lexicon holds are left out and reported.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from medfuse_jax.data.language.lexicon import Lexicon, stem

LETTERS = {
    "number": "n", "count": "w", "article": "a", "not": "!", "nor": "/", "region": "r", "lesion": "L", "burden": "B",
    "degree": "d",
    "structure": "s", "preserved": "P", "atrophy": "A", "normal": "o", "ml": "m", "volume": "V", "tally": "C",
    "total": "t", "new": "N", "years": "y", "old": "Y", "aged": "g", "duration": "u", "edss": "e", "sex": "x",
    "someone": "X", "phenotype": "p", "contrast": "c", "treatment": "T", "healthy": "H", "normal brain": "I",
    "only": "O", "and": "&", "or": "|", "with": "+", "unsupported": "U", "unknown": "?", "aside": "~",
    "stop": ",", "end": ".", "colon": ":", "open": "(", "close": ")",
}
MARKS = {"stop": ",-–—", "end": ";.!?\n", "colon": ":=", "open": "([", "close": ")]", "and": "&+/"}
MARKS = {mark: kind for kind, marks in MARKS.items() for mark in marks}
# In this order: a field strength or a dimension (3T, 3D), a number, a word, a joint of words (it separates), a mark.
FIELD_STRENGTH = re.compile(r"\d(?:[.,]\d)?\s?[TDd]")
TOKEN = re.compile(r"\d(?:[.,]\d)?\s?T\b|\d[Dd]\b|\d+(?:[.,]\d+)?|[^\W\d_]\w*"
                   r"|(?P<joint>(?<=\w)[-'’‑](?=\w))|\n|[^\w\s]")
LONGEST_NUMBER = 9                  # characters; longer ones count or measure nothing


@dataclass(frozen=True)
class Concept:
    """One phrase of the text that means one thing."""

    letter: str
    value: object
    first: int        # tokens first..last-1
    last: int


def tokens_of(text: str) -> list[str]:
    """Numbers, words and marks; hyphens and apostrophes inside words are gone."""
    text = unicodedata.normalize("NFC", text).replace("µ", "u").replace("μ", "u").replace("_", " ")
    return [match[0] for match in TOKEN.finditer(text) if not match["joint"]]


def concepts_of(tokens: list[str], lexicon: Lexicon) -> list[Concept]:
    """The concepts of a text, longest phrase first; `skip` words are left out, unknown words keep their place."""
    found, at = [], 0
    stems = [stem(token) for token in tokens]
    while at < len(tokens):
        kind, value, length = _phrase(tokens, stems, at, lexicon)
        if kind != "skip":
            letter = "k" if value == "deep_grey" else LETTERS[kind]      # deep grey holds lesions and has atrophy
            found.append(Concept(letter, value, at, at + length))
        at += length
    return found


def _phrase(tokens: list[str], stems: list[str], at: int, lexicon: Lexicon) -> tuple[str, object, int]:
    for length in range(min(lexicon.longest, len(tokens) - at), 0, -1):
        key = tuple(stems[at:at + length])
        if key in lexicon.phrases:
            kind, value = lexicon.phrases[key]
            return kind, value, length
    token = tokens[at]
    if token in MARKS:
        return MARKS[token], None, 1
    if FIELD_STRENGTH.fullmatch(token) or not token[0].isalnum():
        return "skip", None, 1
    if token[0].isdecimal() and len(token) <= LONGEST_NUMBER:
        return "number", float(token.replace(",", ".")), 1
    return "unknown", token, 1


# The grammar: letters in, rule and span out. At each place the longest match is taken, and of equals the first rule.

COUNT = r"(?:n(?![myY])|[wa!])"
SIZE = r"(?:[(]t?:?nm[)]?|t?:?nm)"
REGIONS = r"[rk](?:(?:,[rk])*,?[&|][rk])*"                     # periventricular, cortical and infratentorial
STRUCTURES = r"[sk](?:(?:,[sk])*,?[&|][sk](?!:?o))*"           # thalamus, caudate and putamen
GRADED = r"(?::?d(?![BVLA]|[sk]A))"                            # a degree that does not open the next phrase

GRAMMAR: tuple[tuple[str, re.Pattern], ...] = tuple((rule, re.compile(pattern)) for rule, pattern in (
    ("unsupported", r"[!nwdaN]*[rks]*U(?:[&|]*U)*[rks]*[LA]?(?:nm)?|(?:n|w|a|!)?[rks]*L[rks]*:?U+"),
    ("unsupported", rf"[sk]:?V?:?{SIZE}|V[sk]:?{SIZE}"),
    ("unsupported", r"![xpcTHIO]"),
    ("lesions", rf"t?{COUNT}?(?:{REGIONS}L?|L:?(?:{REGIONS})?)t?{SIZE}?"),
    ("lesions", rf"(?:(?:{REGIONS})?L|L{REGIONS}):{COUNT}(?![rkms])"),
    ("lesions", rf"t?(?:(?:{REGIONS})?C|C{REGIONS})t?:?n(?!m)"),
    ("lesions", rf"(?:t?(?:(?:{REGIONS})?[VB]|[VB]{REGIONS}):?)?{SIZE}(?:{REGIONS}L?|L(?:{REGIONS})?|t?[VB])?t?"),
    ("lesions", rf"[na]?(?:L(?:{REGIONS})?|{REGIONS}L)(?:n(?=[,.)]|$)|w)"),
    ("inside", r"(?:n(?!m)|w|a|!)?(?:sL|Ls(?![Aod:]))"),
    ("new", r"(?:n(?!m)|w|a|!)?(?:N+[rk]*L|LN+)[rk]?|N+L:[n!]"),
    ("load", rf"!?dt?[BV]{SIZE}?|!t?B|t?[BV]:?(?:d(?![sk]A)|!){SIZE}?|dL(?![rk])|L:?d(?![BVLskA])"),
    ("atrophy", rf"!?d?{STRUCTURES}[:+]?!?d?A(?:{GRADED}|:!)?"),
    ("atrophy", rf"!?d?A:?d?{STRUCTURES}{GRADED}?"),
    ("atrophy", rf"!?d?A(?:{GRADED}|:!)?"),
    ("atrophy", rf"[d!]{STRUCTURES}(?!L)|[sk]:?d(?![BVLskA])"),
    ("atrophy", r"o[sk](?:(?:,[sk])*,?[&|][sk])*|[sk](?:(?:,[sk])*,?[&|][sk])*:?o|P(?:[&|][sk](?![:dA]))*"),
    ("edss", r"e:?n"),
    ("duration", r"u:?ny?|nyu"),
    ("age", r"g:?n[yY]?|n[yY]|n(?=x)|(?<=[xX])n(?![rkLmNwtPA])|(?<=[xX],)n(?=[,.)]|$)"),
    ("fact", r"[xpcTHIO]"),
))
SILENT = set("Xatu&|+,.:()yYgoL~")     # may stay unread without a word


def spans(concepts: list[Concept]) -> Iterator[tuple[str, list[Concept]]]:
    """Concepts in the order of the text, as (rule, concepts it covers); rule "" where none fits."""
    letters = "".join(concept.letter for concept in concepts)
    at = 0
    while at < len(letters):
        best, name = None, ""
        for rule, pattern in GRAMMAR:
            match = pattern.match(letters, at)
            if match and match.end() > at and (best is None or match.end() > best.end()):
                best, name = match, rule
        end = best.end() if best else at + 1
        yield name, concepts[at:end]
        at = end


def prepared(concepts: list[Concept]) -> list[Concept]:
    """What the grammar sees: articles only where they count, unknown words out, negations carried over "or" and "nor".

    A negation of an unknown word ("no necrotic lesions") must not negate what follows: the word becomes unsupported.
    """
    letters = "".join(concept.letter for concept in concepts)
    kept = []
    carried = re.compile(r"![^,.&+]*(?<![rskc!])$")
    for i, concept in enumerate(concepts):
        letter, value = concept.letter, concept.value
        if letter == "a" and not re.match(r"a[?]*[rskN?]*L", letters[i:]) or letter == "~":
            continue
        if letter == "?":
            if not re.search(r"![?]*$", letters[:i]):
                continue
            letter, value = "U", None
        if letter == "!" and letters[i + 1:i + 2] == "!":        # sans aucune lésion
            continue
        if letter == "/":
            letter = "|" if re.search("[rk]/[rk]|[sk]/[sk]", letters[max(i - 1, 0):i + 2]) else "!"
        if letter == "|" and carried.search(letters[:i]) and re.match(r"[|][srkN]*[LAB]", letters[i:]):
            letter = "!"
        kept.append(Concept(letter, value, concept.first, concept.last))
    return kept


def nearest(word: str, lexicon: Lexicon) -> str | None:
    """The word of the lexicon that an unknown word looks like."""
    close = difflib.get_close_matches(stem(word), list(lexicon.vocabulary), n=1, cutoff=0.8)
    return lexicon.vocabulary[close[0]] if close else None
