"""Reading is quick, whatever is typed. Measured in a process of its own: checked types would be measured with it."""

import json
import subprocess
import sys

import pytest

ADVERSARIAL = {
    "unknown words": "qwertz plaisir zzz " * 530, "slips": "periventriclar " * 660, "negations": "no " * 3300,
    "denied lists": "no new or enlarging, " * 480, "regions": "cortical and " * 770, "brackets": "(" * 10_000,
    "digits": "9" * 10_000, "numbers": "1 " * 5000, "thousands": "1,1" * 3300, "dashes": "5-" * 5000,
    "products": "1x" * 5000, "structures": "thalamus, caudate, " * 520, "doubts": "possible black holes and " * 400,
    "or": "no lesions or " * 710, "accents": "é" * 10_000, "spaces": " " * 9_999 + "9",
}
MEASURE = """
import json, sys, time
import numpy as np
from medfuse_jax.data.language import LEXICONS, parse, parsing, random_statement, write

def seconds(text):
    start = time.process_time()
    parse(text)
    return time.process_time() - start

rng = np.random.default_rng(0)
texts = [write(random_statement(rng), language, rng) for language in LEXICONS for _ in range(100)]
parse("9 lesions"), parse("neuf lésions")
usual = [seconds(text) for text in texts]
parsing.LONGEST = 10_000
slowest = {name: min(seconds(text[:10_000]) for _ in range(3)) for name, text in json.load(sys.stdin).items()}
json.dump({"usual": usual} | slowest, sys.stdout)
"""


@pytest.fixture(scope="module")
def measured():
    told = subprocess.run([sys.executable, "-c", MEASURE], input=json.dumps(ADVERSARIAL), text=True, check=True,
                          stdout=subprocess.PIPE)
    return json.loads(told.stdout)


def test_a_sentence_takes_two_milliseconds_at_most(measured):
    usual = sorted(measured["usual"])
    assert usual[len(usual) // 2] < 0.002


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_nothing_typed_takes_long(measured, name):
    """10,000 characters; prompts of more than 2,000 are refused before they are read."""
    assert measured[name] < 0.2
