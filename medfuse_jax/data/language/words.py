"""From a text to its numbers, words and marks, and what a number that somebody wrote is worth."""

import re
import unicodedata

from medfuse_jax.data.language.lexicon import Lexicon

MARKS = {"stop": ",-–—", "end": ";.!?\n", "colon": ":=", "open": "([", "close": ")]", "and": "&+/"}
MARKS = {mark: kind for kind, marks in MARKS.items() for mark in marks}
QUIET = "\"'«»“”„‘’‚`*_#|\\~≈·•…{}×"          # marks that say nothing; any other sign is reported as not understood
SPOKEN = "%<>≤≥±"                              # signs that the lexicons know
DASH = "‒"                                     # between two numbers, as it was typed in "5-10"

SPACES = "\u00a0\u2009\u202f"                  # that do not break a line: inside a number
UNIT = r"(?=\s?(?:mm|[uµ]l|ml|cc|cm|cubic|micro))"
GROUPED = rf"\d{{1,3}}(?:[{SPACES}'’]\d{{3}})+(?!\d)|\d{{1,3}}(?: 0\d\d)+(?!\d)|\d{{1,3}}(?: \d{{3}})+{UNIT}"
THOUSANDS = r"[1-9]\d{0,2}(?:,\d{3})+"
NUMBER = rf"(?:{GROUPED}|{THOUSANDS}(?![\d,])(?:\.\d+)?|\d+(?:[.,]\d+)?|(?<![\w.,])\.\d+)(?:[eE][-+]?\d+(?!\w))?"
FIELD_STRENGTH = re.compile(r"\d(?:[.,]\d)?\s?[TDd]")
DATE = re.compile(r"\d{1,2}(?P<apart>[/.-])\d{1,2}(?P=apart)\d{2,4}|\d{1,2}/\d{4}|\d{4}-\d{2}-\d{2}")
# In this order: a date, a field strength or a dimension (3T, 3D), a product (1x1x1), a dash between numbers, a number
# with or without its sign, the sex before an age (F42), a word, a joint of words (it separates), a mark, a run of
# other signs.
TOKEN = re.compile(
    rf"(?<![\d/.-])(?:{DATE.pattern})(?![\d/.-])"
    r"|\d(?:[.,]\d)?\s?T\b|\d[Dd]\b|\d+(?:[.,]\d+)?(?:\s?[x×]\s?\d+(?:[.,]\d+)?)+"
    rf"|(?<=\d)(?P<dash>[-–—‑−])(?=\d)|(?<![\w)\]%])[-−–](?:{NUMBER})|{NUMBER}|[FMHfmh](?=\d\d\b)|[^\W\d_]\w*"
    rf"|(?P<joint>(?<=\w)[-'’‑](?=\w))|[{re.escape(''.join(MARKS) + QUIET + SPOKEN)}]"
    rf"|[^\w\s{re.escape(''.join(MARKS) + QUIET + SPOKEN)}]+")
INFRATENTORIAL = re.compile(r"\bIT\b")      # in capitals: otherwise a pronoun
COUNTED_INFRATENTORIAL = re.compile(r"\bIT\b(?=\s?[:=\d])|(?<=\d )IT\b")
LONGEST_NUMBER, LARGEST_NUMBER = 12, 1e9      # characters; what is longer or larger counts or measures nothing
CUBIC = ("mm", "ul", "cubic", "micro")      # no one writes thousandths of these: "1,200 mm3" in any language


def tokens_of(text: str) -> list[str]:
    """Numbers, words and marks; hyphens and apostrophes inside words are gone, and so is what cannot be seen."""
    text = unicodedata.normalize("NFC", text).replace("µ", "u").replace("μ", "u").replace("_", " ")
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    text = (COUNTED_INFRATENTORIAL if text.isupper() else INFRATENTORIAL).sub("infratent", text)
    found: list[str] = []
    for match in TOKEN.finditer(text):
        token = DASH if match["dash"] else match[0]
        if found and is_negative(token) and is_number(found[-1]):          # "5 -10"
            found += [DASH, token[1:]]
        elif not match["joint"]:
            found.append(token)
    return found


def is_number(token: str) -> bool:
    """Whether a token is a number without sign that is worth something."""
    plain = token[0].isdecimal() or token[0] == "." and token[1:2].isdecimal()
    return plain and len(token) <= LONGEST_NUMBER and not FIELD_STRENGTH.fullmatch(token) and not set("x×") & set(token)


def is_negative(token: str) -> bool:
    """Whether a token is a number below zero."""
    return token[0] in "-−–" and token[1:] != "" and is_number(token[1:])


def value_of(number: str, following: str, lexicon: Lexicon) -> float:
    """What a number is worth: a comma before three digits groups thousands in English, and before cubic mm."""
    plain = re.sub(rf"[{SPACES}'’ ]", "", number)
    if re.match(rf"{THOUSANDS}(?!\d)", plain) and (lexicon.decimal == "." or following.lower().startswith(CUBIC)):
        return float(plain.replace(",", ""))
    return float(plain.replace(",", "."))
