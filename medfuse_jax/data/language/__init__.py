"""The language of findings, English and French: state what was measured, write it, read it back, report it."""

from medfuse_jax.data.language.coherence import entail as entail
from medfuse_jax.data.language.languages import LEXICONS as LEXICONS
from medfuse_jax.data.language.languages import lexicon_of as lexicon_of
from medfuse_jax.data.language.languages import write as write
from medfuse_jax.data.language.parsing import parse as parse
from medfuse_jax.data.language.reporting import report as report
from medfuse_jax.data.language.rereading import as_reported as as_reported
from medfuse_jax.data.language.rereading import read_report as read_report
from medfuse_jax.data.language.said import Reading as Reading
from medfuse_jax.data.language.stating import random_findings as random_findings
from medfuse_jax.data.language.stating import random_statement as random_statement
from medfuse_jax.data.language.stating import state as state
