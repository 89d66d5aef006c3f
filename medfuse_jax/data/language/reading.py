"""The grammar: from the letters of concepts to rules and the concepts that they cover.

The grammar knows no language: the order of adjective and noun is the only difference between English and French that it
meets, and every rule takes both orders. Words that no lexicon holds are left out and reported.
"""

import re
from collections.abc import Iterator

from medfuse_jax.data.language.concepts import Concept

# The grammar: letters in, rule and span out. At each place the longest match is taken, and of equals the first rule.

COUNT = r"(?:n(?![myY])|[wa!])"
SIZE = r"(?:[(]t?:?nmE?[)]?|t?:?nmE?)"               # 6 ml; 6 ml each
REGIONS = r"[rk](?:(?:,[rk])*,?[&|][rk])*"                     # periventricular, cortical and infratentorial
STRUCTURES = r"[sk](?:(?:,[sk])*,?[&|][sk](?!:?o))*"           # thalamus, caudate and putamen
PLACES = r"[rks](?:(?:,[rks])*,?[&|]?[rks])*"
GRADED = r"(?::?d(?![BVLA]|[sk]A)|,d(?=[,.)]|$)|[(]d[)])"              # a degree that does not open the next phrase

GRAMMAR: tuple[tuple[str, re.Pattern], ...] = tuple((rule, re.compile(pattern)) for rule, pattern in (
    ("unsupported", rf"[!nwdaN]{{0,4}}[rks]{{0,4}}U(?:[&|]*U)*(?:{PLACES})?[LA]?(?:nm)?|(?:n|w|a|!)?[rks]*L[rks]*:?U+"),
    ("unsupported", rf"[sk]:?V?:?{SIZE}|V[sk]:?{SIZE}"),
    ("unsupported", rf"!U+[na]?(?:{PLACES})?[NLAK]{{0,3}}(?:{PLACES})?"),
    ("unsupported", r"nm:?U+|nms+V?(?![LABKN:])"),
    ("onset", r"j:?n[yY]?"),
    ("unsupported", r"![xpcTHIOJ]"),
    ("foreign", r"[!nwdaNo]{0,4}[rks]{0,4}F(?:[|&,+]*[rks]*F)*[rks]*[LA]?(?:nm)?|(?:n|w|a|!)?[rks]*L[rks]*F+"),
    ("absence", r"![+]?(?:D|u(?!:?n))"),
    ("lesions", rf"t?{COUNT}?(?:{REGIONS}L?|L:?(?:{REGIONS})?)t?{SIZE}?"),
    ("lesions", rf"(?:(?:{REGIONS})?L|L{REGIONS})(?:,?:){COUNT}(?![rkms])"),
    ("lesions", rf"(?:(?:L|t?C):?)?[rk]:?n(?!m)L?{SIZE}?(?=[,.)&rk]|$)|[rk]:{COUNT}L{SIZE}?"),
    ("unitless", r"t?[VB]t?:?n(?!m)"),
    ("lesions", rf"t?(?:(?:{REGIONS})?C|C{REGIONS})t?:?n(?!m)"),
    ("lesions", rf"(?:t?(?:(?:{REGIONS})?[VB]|[VB]{REGIONS}):?)?{SIZE}(?:{REGIONS}L?|L(?:{REGIONS})?|t?[VB])?t?"),
    ("lesions", rf"a?(?:L(?:{REGIONS})?|{REGIONS}L)(?:n(?=[,.)]|$)|w)"),
    ("inside", rf"(?:n(?!m)|w|a|!)?(?:sL|Ls(?![Aod:])){SIZE}?|{SIZE}(?:sL|Ls(?![Aod:]))"),
    ("activity", rf"{COUNT}(?:{REGIONS})?N+(?:{REGIONS})?(?:[LK](?:{REGIONS})?[+]?N*)?{SIZE}?"),  # two new lesions
    ("activity", rf"(?:{REGIONS})?N+(?:{REGIONS})?[LK](?:{REGIONS})?{SIZE}?"),                     # new lesions
    ("activity", rf"{COUNT}?(?:{REGIONS})?L(?:{REGIONS})?[+]?N+(?:{REGIONS})?{SIZE}?"),            # lésions nouvelles
    ("activity", rf"(?:{REGIONS})?L(?:{REGIONS})?[+]?!N+(?![NLKrk])"),                             # do not enhance
    ("activity", rf"{COUNT}?(?:{REGIONS})?(?:L[+]?)?K(?:{REGIONS})?"),                             # five black holes
    ("activity", rf"K:{COUNT}(?:{REGIONS})?L?|K(?:n(?![myY])|w)(?=[,.)]|$)"),                      # black holes: 5
    ("activity", rf"(?:(?:{REGIONS})?L(?:{REGIONS})?)?[+]?h"),                                     # no longer enhance
    ("activity", rf"K[nwa]N*(?:{REGIONS})?L(?:{REGIONS})?"),                                       # enhancement of two
    ("activity", rf"(?:N+L?|LN+):{COUNT}L?"),                                                      # new lesions: 3
    ("activity", r"!L?N(?:,N)*(?:(?:,?[&|]+!*|!)L?[NK])+L?"),                                      # no new or enlarging
    ("activity", rf"{COUNT}?N[&|]N+L?"),
    ("stable", rf"J(?:{REGIONS})?t?[LB]?|t?[LB][+]?:?J"),
    ("load", rf"!?dt?[BV]{SIZE}?|!t?B|t?[BV]:?(?:d(?![sk]A)|!(?![UNKLA])){SIZE}?|dL(?![rk])|L:?d(?![BVLskA])"),
    ("atrophy", rf"!?d?{STRUCTURES}[:+]?!?d?A(?:{GRADED}|:!)?"),
    ("atrophy", rf"!?d?A:?d?{STRUCTURES}{GRADED}?"),
    ("atrophy", rf"!?d?A(?:{GRADED}|:!)?|{STRUCTURES}A,d?A{GRADED}?"),
    ("atrophy", rf"[d!]{STRUCTURES}(?!L)|[sk]:?d(?![BVLskA])"),
    ("atrophy", r"o[sk](?:(?:,[sk])*,?[&|][sk])*|[sk](?:(?:,[sk])*,?[&|][sk])*:?o|P(?:[&|][sk](?![:dA]))*"),
    ("clear", rf"{REGIONS}(?:[&,]{STRUCTURES})?:?o|o{REGIONS}|I{REGIONS}(?![LNK])"),
    ("edss", r"e:?n"),
    ("duration", r"u[:(]?n(?:y|(?![rkLmNw]))|nyu(?![:(]?n)"),
    ("treated", r"Tu[:(]?ny"),
    ("years", r"(?<=p)ny(?![xX])"),
    ("age", r"g:?n[yY]?|n[yY]|n(?=x)|(?<=[xX])n(?![rkLmNwtPA])|(?<=[xX][,&(.])n(?=[,.)&]|$)"),
    ("fact", r"[xpcTHIO]"),
))
JOINTS = set("(),.:|&")                    # open no rule
SILENT = set("Xat&|+,.:()L~")     # may stay unread without a word


Span = tuple[str, list[Concept]]      # a rule, and the concepts that it covers


def spans(concepts: list[Concept]) -> Iterator[Span]:
    """Concepts in the order of the text, as (rule, concepts it covers); rule "" where none fits."""
    letters = "".join(concept.letter for concept in concepts)
    at = 0
    while at < len(letters):
        best, name = None, ""
        for rule, pattern in GRAMMAR if letters[at] not in JOINTS else ():
            match = pattern.match(letters, at)
            if match and match.end() > at and (best is None or match.end() > best.end()):
                best, name = match, rule
        end = best.end() if best else at + 1
        yield name, concepts[at:end]
        at = end


def prepared(concepts: list[Concept], adjectives_follow: bool = False) -> list[Concept]:
    """What the grammar sees: articles only where they count, unknown words out, negations carried over "or" and "nor".

    A negation of an unknown word ("no necrotic lesions", "pas de lésion nécrotique") must not negate the noun: the word
    becomes unsupported.
    """
    concepts = [concept for concept in concepts if concept.letter not in "~qZ"]
    letters = "".join(concept.letter for concept in concepts)
    kept = []
    denied, denied_noun = re.compile(r"![?R]*$"), re.compile(r"!(?:[?R]*|[rk]*L[rk]*)$")
    carried = re.compile(r"![^,.&+]*(?<![rskc!])$")
    for i, concept in enumerate(concepts):
        letter, value = concept.letter, concept.value
        if letter == "a" and not re.match(r"a[?RS]*[rskN?S]*[LNK]", letters[i:]):
            continue
        if letter == "D":
            letter = "u" if re.search("ny$", letters[:i]) or re.match("D[(]ny", letters[i:]) else letter
            if letter == "D" and not re.search(r"![+]?$", letters[:i]):
                continue
        if letter == "S" or letter == "O" and re.search("c$", letters[:i]) or re.match("Oc", letters[i:]):
            continue                                             # "FLAIR only": of the contrasts
        if letter in "?R":
            if not (denied_noun if adjectives_follow else denied).search(letters[:i]):
                continue
            letter, value = "U", None
        if letter == "!" and letters[i + 1:i + 2] == "!":        # sans aucune lésion
            continue
        if letter == "/":
            letter = "|" if re.search("[rk]/[rk]|[sk]/[sk]", letters[max(i - 1, 0):i + 2]) else "!"
        if letter == "|" and carried.search(letters[:i]) and re.match(r"[|][srkN]*[LABK]", letters[i:]):
            letter = "!"
        kept.append(Concept(letter, value, concept.first, concept.last))
    return kept


def in_doubt(doubt: Concept, found: list[Span]) -> list[int]:
    """Which spans a doubt is about: the one around it, else the next, else the one before.

    A doubt that stands before its matter ("suspicion of") looks forward only, one that follows it ("cannot be
    excluded") back only. What is joined to the matter by "and" and is of its kind is doubted with it.
    """
    around = [i for i, (rule, covered) in enumerate(found)
              if rule and covered[0].first <= doubt.first and doubt.last <= covered[-1].last]
    later = next((i for i, (_, covered) in enumerate(found) if covered[0].first >= doubt.last), len(found))
    if around:
        first = around[0]
    elif doubt.value != "after" and (first := _beside(found, later, 1, ":(|")) is not None:
        pass
    elif doubt.value == "before" or (first := _beside(found, later - 1, -1, "+,:(")) is None:
        return []
    about = [first]
    while doubt.value != "after" and (following := _joined(found, about[-1])) is not None:
        about.append(following)
    return about


def _joined(found: list[Span], at: int) -> int | None:
    """The span that "and" or "nor" joins to another: of its kind, or denied with it."""
    rules = [rule for rule, _ in found[at:at + 3]]
    first = [covered[0].letter for _, covered in found[at:at + 3]]
    if rules[1:2] and rules[1] and first[1] == "!":
        return at + 1
    if rules[1:] == ["", rules[0]] and first[1] in "&|":
        return at + 2
    return None


def _beside(found: list[Span], at: int, step: int, across: str) -> int | None:
    """The nearest span of a rule from `at` on, with nothing but marks of `across` between."""
    while 0 <= at < len(found):
        rule, covered = found[at]
        if rule:
            return at
        if covered[0].letter not in across:
            return None
        at += step
    return None
