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
PART = r"(?:[.,]\d+)?"
SPACED = (rf"\d{{1,3}}(?:[{SPACES}'’]\d{{3}})+(?!\d){PART}|\d{{1,3}}(?: 0\d\d)+(?!\d){PART}"
          rf"|\d{{1,3}}(?: \d{{3}})+{PART}{UNIT}")
COMMAS = r"[1-9]\d{0,2}(?:(?:,\d{3}){2,}(?![\d,])(?:\.\d+)?|,\d{3}\.\d+)"            # 1,234,567 and 1,000.5
DOTS = r"[1-9]\d{0,2}(?:(?:\.\d{3}){2,}(?![\d.])(?:,\d+)?|\.\d{3},\d+)"             # 1.234.567 and 1.000,5
NUMBER = rf"(?:{SPACED}|{COMMAS}|{DOTS}|\d+(?:[.,]\d+)?|(?<![\w.,])\.\d+)(?:[eE][-+]?\d+(?!\w))?"
EITHER = re.compile(r"([1-9]\d{0,2})([.,])(\d{3})")        # thousands or thousandths
VULGAR = re.compile(r"(?:(?<![\d.,/])(\d{1,3})\s?)?([½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])")
SLASHED = re.compile(r"(?<![\d/.,-])(?:(\d{1,3})\s)?([1-9])/([2-9]|10)"
                     r"(?=\s?(?:of |an? |de |d['’]un )*(?:ml|millilit|cc|cm\s?[\^3³]))", re.IGNORECASE)
RUN_ON = re.compile(r"(?<=[^\W\d_]{4})(?=\d)")             # "EDSS3.5", "9 lesions6 ml"
FIELD_STRENGTH = re.compile(r"\d(?:[.,]\d)?\s?[TDd]")
DATE = re.compile(r"\d{1,2}(?P<apart>[/.-])\d{1,2}(?P=apart)\d{2,4}|\d{1,2}/\d{4}|\d{4}-\d{2}-\d{2}")
# In this order: a date, a field strength or a dimension (3T, 3D), a product (1x1x1), a dash between numbers, a number
# with or without its sign, the sex before an age (F42), a word, a joint of words (it separates), a mark, a run of
# other signs. Before them all, a tag of HTML: its brackets bound no number.
TOKEN = re.compile(
    rf"</?[A-Za-z][^<>\n]{{0,99}}>|(?<![\d/.-])(?:{DATE.pattern})(?![\d/.-])"
    r"|\d(?:[.,]\d)?\s?T\b|\d[Dd]\b|\d+(?:[.,]\d+)?(?:\s?[x×]\s?\d+(?:[.,]\d+)?)+"
    rf"|(?<=\d)(?P<dash>[-–—‑−])(?=\d)|(?<![\w)\]%])[-−–](?:{NUMBER})|{NUMBER}|[FMHfmh](?=\d\d\b)|[^\W\d_]\w*"
    rf"|(?P<joint>(?<=\w)[-'’‑](?=\w))|[{re.escape(''.join(MARKS) + QUIET + SPOKEN)}]"
    rf"|[^\w\s{re.escape(''.join(MARKS) + QUIET + SPOKEN)}]+")
INFRATENTORIAL = re.compile(r"\bIT\b")      # in capitals: otherwise a pronoun
COUNTED_INFRATENTORIAL = re.compile(r"\bIT\b(?=\s?[:=\d])|(?<=\d )IT\b")
LONGEST_NUMBER, LARGEST_NUMBER = 12, 1e9      # characters; what is longer or larger counts or measures nothing
CUBIC = ("mm", "ul", "cubic", "micro", "millim")      # thousandths of these are no lesions
LITRES = ("ml", "cc", "cm", "millil", "centi")        # and thousands of these are no lesions


def tokens_of(text: str) -> list[str]:
    """Numbers, words and marks; hyphens and apostrophes inside words are gone, and so is what cannot be seen."""
    text = unicodedata.normalize("NFC", text).replace("µ", "u").replace("μ", "u").replace("_", " ")
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    text = SLASHED.sub(lambda found: f"{int(found[1] or 0) + int(found[2]) / int(found[3]):.6g}", text)
    text = VULGAR.sub(lambda found: f"{int(found[1] or 0) + unicodedata.numeric(found[2]):.6g}", text)
    text = RUN_ON.sub(" ", text)
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
    """What a number is worth before a word: "1.000,5" and "1,000.5" are thousand and a half in any language."""
    plain = ungrouped(number)
    if re.match(DOTS, plain):
        plain = plain.replace(".", "")
    elif re.match(COMMAS, plain) or EITHER.fullmatch(plain) and has_thousands(plain, following, lexicon):
        plain = plain.replace(",", "") if "," in plain else plain.replace(".", "")
    return float(plain.replace(",", "."))


def ungrouped(number: str) -> str:
    """A number without the spaces and apostrophes between its thousands."""
    return re.sub(rf"[{SPACES}'’ ]", "", number)


def has_thousands(plain: str, following: str, lexicon: Lexicon) -> bool:
    """Whether "1,200" or "1.200" is twelve hundred: always of cubic mm, never of ml, else as the language writes."""
    if following.lower().startswith(CUBIC):
        return True
    return not following.lower().startswith(LITRES) and lexicon.decimal not in plain


def thousands(number: str) -> float | None:
    """The thousands that a number with three decimals would be: 1200 of "1.200"."""
    found = EITHER.fullmatch(ungrouped(number))
    return float(found[1] + found[3]) if found else None


def doubtful(number: str, following: str, lexicon: Lexicon) -> str | None:
    """Which of two readings of "1.200" was taken, where the language alone does not tell."""
    found = EITHER.fullmatch(ungrouped(number))
    if not found or following.lower().startswith(CUBIC) and found[2] == ",":
        return None
    taken, grouped = value_of(number, following, lexicon), thousands(number)
    if (taken == grouped) == (lexicon.decimal != found[2]) and not following.lower().startswith(CUBIC):
        return None
    other = float(f"{found[1]}.{found[3]}") if taken == grouped else grouped
    said = f"{number} {following}".strip()
    return f'"{said}" is read as {taken:.7g}; where {other:.7g} is meant, write that'
