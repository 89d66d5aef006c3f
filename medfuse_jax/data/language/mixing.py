"""Sentences in two languages at once: which of them reads which words."""

from medfuse_jax.data.language.concepts import SKIPPED, Concept, concept_at
from medfuse_jax.data.language.lexicon import Lexicon, stem
from medfuse_jax.data.language.words import is_number

NAMES = {"en": "English", "fr": "French"}
# The price of a word that is not understood, of a change of language, and of a phrase in the first or the second. A
# long phrase is cheaper than its words one by one.
UNKNOWN, CHANGE, OWN, GUEST = 40, 12, 2, 5
Pieces = list[tuple[Concept, Lexicon]]


def mixed(tokens: list[str], first: Lexicon, second: Lexicon) -> Pieces:
    """The concepts of a text, each with the lexicon that read it: the fewest words are left, then the least is mixed.

    What only the second language skips stays an unknown word of the first: it may have been meant.
    """
    stems = [stem(token) for token in tokens]
    known = {lexicon.name: [_priced(tokens, stems, at, lexicon, lexicon is not first) for at in range(len(tokens))]
             for lexicon in (first, second)}
    costs = [{first.name: 0, second.name: 0} for _ in range(len(tokens) + 1)]       # of what is left, from a token on
    step: list[dict[str, str]] = [{} for _ in tokens]
    for at in reversed(range(len(tokens))):
        for name in costs[at]:
            costs[at][name], step[at][name] = min(
                (known[other][at][1] + costs[known[other][at][0].last][other] + CHANGE * (other != name), other)
                for other in sorted(costs[at], key=lambda other: other != name))
    return _walked(known, step, first, second)


def _priced(tokens: list[str], stems: list[str], at: int, lexicon: Lexicon, guest: bool) -> tuple[Concept, int]:
    """A concept and its price; a single letter of the second language is no word of it."""
    concept = concept_at(tokens, stems, at, lexicon)
    word = tokens[at][0].isalpha()
    if guest and word and concept.last == at + 1 and len(stems[at]) == 1:
        concept = Concept("?", tokens[at], at, at + 1)
    return concept, UNKNOWN if concept.letter == "?" else (GUEST if guest else OWN) if word else 0


def _walked(known: dict[str, list[tuple[Concept, int]]], step: list[dict[str, str]], first: Lexicon,
            second: Lexicon) -> Pieces:
    """The cheapest way through the text; a run of the second language that says nothing is left to the first."""
    lexicons, at, name = {first.name: first, second.name: second}, 0, first.name
    runs: list[Pieces] = []
    while at < len(step):
        changed, name = step[at][name] != name or not runs, step[at][name]
        concept = known[name][at][0]
        if changed:
            runs.append([])
        runs[-1].append((concept, lexicons[name]))
        at = concept.last
    return [piece for run in runs for piece in _kept(run, second)]


def _kept(run: Pieces, second: Lexicon) -> Pieces:
    said = any(concept.letter not in (SKIPPED, "?", ",", ".", ":") for concept, _ in run)
    if run[0][1] is not second or said:
        return run
    return [(Concept("?", None, concept.first, concept.last) if concept.letter == SKIPPED else concept, lexicon)
            for concept, lexicon in run]


def guests(pieces: Pieces, tokens: list[str], second: Lexicon) -> list[str]:
    """The runs of words that the second language read, as warnings."""
    runs: list[list[Concept]] = [[]]
    for concept, lexicon in pieces:
        if lexicon is not second:
            runs.append([])
        elif tokens[concept.first][0].isalpha() and concept.letter != "?" or runs[-1] and is_number(
                tokens[concept.first]):
            runs[-1].append(concept)
    spoken = [(run[0].first, max(concept.last for concept in run if tokens[concept.first][0].isalpha()))
              for run in runs if run]
    return [f'"{" ".join(tokens[first:last])}" is read as {NAMES[second.name]}' for first, last in spoken]


def lexicons_of(pieces: Pieces) -> list[Lexicon]:
    """Which lexicon read each token."""
    return [lexicon for concept, lexicon in pieces for _ in range(concept.first, concept.last)]
