"""Which languages there are."""

import numpy as np

from medfuse_jax.data.findings import Statement
from medfuse_jax.data.language import english, french
from medfuse_jax.data.language.lexicon import Lexicon
from medfuse_jax.data.language.writing import Writer
from medfuse_jax.errors import MedFuseError

LEXICONS = {"en": english.LEXICON, "fr": french.LEXICON}


def lexicon_of(language: str) -> Lexicon:
    """The lexicon of a language code."""
    if language not in LEXICONS:
        raise MedFuseError(f"language {language!r} is unknown: take one of {', '.join(LEXICONS)}")
    return LEXICONS[language]


def write(statement: Statement, language: str, rng: np.random.Generator | None = None) -> str:
    """A statement as a sentence or a short paragraph; the canonical form when no `rng` chooses another."""
    return Writer(lexicon_of(language), rng).write(statement)
