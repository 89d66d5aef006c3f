"""Words about words: what of a text was not understood, and what its reader should know."""

from medfuse_jax.data.language.concepts import Concept
from medfuse_jax.data.language.lexicon import Lexicon


class Notes:
    """Collects warnings and unread words while a text is read."""

    def __init__(self, tokens: list[str], lexicon: Lexicon):
        self.tokens, self.lexicon = tokens, lexicon
        self.unread: set[int] = set()
        self.warnings: list[str] = []

    def words(self, covered: list[Concept]) -> str:
        first, last = min(concept.first for concept in covered), max(concept.last for concept in covered)
        return " ".join(self.tokens[first:last])

    def warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    def ignore(self, covered: list[Concept]) -> None:
        self.unread |= {i for concept in covered for i in range(concept.first, concept.last)}

    def ignored(self) -> list[str]:
        """Runs of words that were not understood."""
        runs: list[list[str]] = []
        for i in sorted(self.unread):
            if i - 1 in self.unread:
                runs[-1].append(self.tokens[i])
            else:
                runs.append([self.tokens[i]])
        return [" ".join(run) for run in runs]
