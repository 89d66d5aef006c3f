"""The grammar: from the letters of concepts to rules and the concepts that they cover.

The grammar knows no language: the order of adjective and noun is the only difference between English and French that it
meets, and every rule takes both orders. Words that no lexicon holds are left out and reported.
"""

import re
from collections.abc import Iterator

from medfuse_jax.data.language.concepts import Concept

# The grammar: letters in, rule and span out. At each place the longest match is taken, and of equals the first rule.

COUNT = r"(?:n(?![myY])|[wa!])"
SIZE = r"(?:[(]t?:?nm[)]?|t?:?nm)"
REGIONS = r"[rk](?:(?:,[rk])*,?[&|][rk])*"                     # periventricular, cortical and infratentorial
STRUCTURES = r"[sk](?:(?:,[sk])*,?[&|][sk](?!:?o))*"           # thalamus, caudate and putamen
GRADED = r"(?::?d(?![BVLA]|[sk]A)|,d(?=[,.)]|$))"              # a degree that does not open the next phrase

GRAMMAR: tuple[tuple[str, re.Pattern], ...] = tuple((rule, re.compile(pattern)) for rule, pattern in (
    ("unsupported", r"[!nwdaN]*[rks]*U(?:[&|]*U)*[rks]*[LA]?(?:nm)?|(?:n|w|a|!)?[rks]*L[rks]*:?U+"),
    ("unsupported", rf"[sk]:?V?:?{SIZE}|V[sk]:?{SIZE}"),
    ("unsupported", r"![xpcTHIO]"),
    ("foreign", r"[!nwdaNo]*[rks]*F(?:[|&,+]*[rks]*F)*[rks]*[LA]?(?:nm)?|(?:n|w|a|!)?[rks]*L[rks]*F+"),
    ("absence", r"![+]?(?:D|u(?!:?n))"),
    ("lesions", rf"t?{COUNT}?(?:{REGIONS}L?|L:?(?:{REGIONS})?)t?{SIZE}?"),
    ("lesions", rf"(?:(?:{REGIONS})?L|L{REGIONS}):{COUNT}(?![rkms])"),
    ("lesions", rf"(?:L:?)?[rk]:?n(?!m){SIZE}?(?=[,.)&]|$)"),
    ("unitless", r"t?[VB]t?:?n(?!m)"),
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
    ("duration", r"u[:(]?n(?:y|(?![rkLmNw]))|nyu"),
    ("age", r"g:?n[yY]?|n[yY]|n(?=x)|(?<=[xX])n(?![rkLmNwtPA])|(?<=[xX][,&(.])n(?=[,.)&]|$)"),
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
        if letter == "D":
            letter = "u" if re.search("ny$", letters[:i]) or re.match("D[(]ny", letters[i:]) else letter
            if letter == "D" and not re.search(r"![+]?$", letters[:i]):
                continue
        if letter == "S" or letter == "O" and re.search("c$", letters[:i]) or re.match("Oc", letters[i:]):
            continue                                             # "FLAIR only": of the contrasts
        if letter in "?R":
            if not re.search(r"![?R]*$", letters[:i]):
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
