"""From a sentence to a statement, with all that was not understood or cannot be true said beside it."""

import unicodedata
from itertools import pairwise

from medfuse_jax.data.language.concepts import SKIPPED, Concept, concepts_of, mended
from medfuse_jax.data.language.languages import LEXICONS
from medfuse_jax.data.language.mixing import guests, lexicons_of, mixed
from medfuse_jax.data.language.quantities import gathered
from medfuse_jax.data.language.reader import Reader
from medfuse_jax.data.language.said import Reading
from medfuse_jax.data.language.words import doubtful, is_number, tokens_of
from medfuse_jax.errors import MedFuseError

LONGEST = 2000                      # characters of a prompt


def parse(text: str) -> Reading:
    """Read a sentence in English or French, whichever lexicon knows more of its words.

    Words that only the other lexicon knows are read as well, and a warning says which. A mistyped word is read as the
    word that it looks like, and a warning says so. A volume that is not tied to a region in the same phrase is the
    total. What is not said stays free, and what is said in doubt is only `possible`; "healthy" and "normal brain MRI"
    say that there is no lesion and no atrophy, unless the text says otherwise.
    """
    check(text)
    tokens = tokens_of(text)
    readings = [(concepts_of(tokens, lexicon), lexicon) for lexicon in LEXICONS.values()]
    accents = unicodedata.normalize("NFC", text) != unicodedata.normalize("NFD", text)      # "6 à 8 ml": French
    concepts, lexicon = min(readings, key=lambda reading: (sum(concept.letter == "?" for concept in reading[0]),
                                                           accents and reading[1].name == "en"))
    reader = Reader(tokens, lexicon)
    if any(concept.letter == "?" for concept in concepts):
        concepts = understood(reader)
    for token, following in pairwise([*reader.tokens, ""]):
        if is_number(token) and (doubt := doubtful(token, following, lexicon)):
            reader.warn(doubt)
    return reader.read(gathered(concepts, reader.tokens))


def understood(reader: Reader) -> list[Concept]:
    """The concepts of a text with unknown words: those of the other language are read, and slips are mended."""
    second = next(lexicon for lexicon in LEXICONS.values() if lexicon is not reader.lexicon)
    pieces = mixed(reader.tokens, reader.lexicon, second)
    typed, mends = reader.tokens, mended(reader.tokens, [concept for concept, _ in pieces], lexicons_of(pieces))
    while mends:
        reader.tokens = [mends.get(i, token) for i, token in enumerate(typed)]
        pieces = mixed(reader.tokens, reader.lexicon, second)
        vain = {concept.first for concept, _ in pieces if concept.letter == "?"} & set(mends)
        if not vain:
            break
        mends = {i: word for i, word in mends.items() if i not in vain}      # "lesiones", half of "volume lesionel"
    else:
        reader.tokens, pieces = typed, mixed(typed, reader.lexicon, second)
    reader.warnings += [f'"{typed[i]}" is read as "{word}"' for i, word in mends.items()]
    reader.warnings += guests(pieces, reader.tokens, second)
    return [concept for concept, _ in pieces if concept.letter != SKIPPED]


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
