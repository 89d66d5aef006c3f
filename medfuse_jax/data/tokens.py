"""From a sentence to numbers: word pieces for the text tower, and the stated facts beside them.

The vocabulary is made offline from the language of findings itself. Words lose case and accents (as the parser reads
them), every digit is a piece of its own, and whole words of the grammar are pieces before parts of words are.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import tokenizers
from absl import logging
from tokenizers import models, normalizers, pre_tokenizers, processors

from medfuse_jax.data import pretrained
from medfuse_jax.data.definitions import GRADES, LOAD_ML, ends
from medfuse_jax.data.findings import ACTIVITY, ATROPHY, PHENOTYPES, REGIONS, TREATMENTS, Amount, Range, Statement
from medfuse_jax.data.language import LEXICONS, entail, random_statement, write
from medfuse_jax.errors import MedFuseError

PAD, UNKNOWN, START, END = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PADS = (PAD, "<pad>", "<|endoftext|>", "</s>")      # what others call it, or put there
RARE = 0.05                           # share of pieces from which it is said that a vocabulary does not know our words
SENTENCES = 300                       # of each language that word frequencies are counted in
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,;:!?()[]/+-'\"%&=<>≤≥±_*#@~"  # anything typed can be spelled


def _of(vocabulary: dict[str, int]) -> tokenizers.Tokenizer:
    """The tokenizer over a vocabulary. Only the frame knows special tokens: "[PAD]" in a text is spelled out."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace("œ", "oe")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(name, vocabulary[name]) for name in (START, END)])
    return tokenizer


def corpus(seed: int = 0) -> list[str]:
    """Sentences of random statements in every language, then every word of the lexicons."""
    rng = np.random.default_rng(seed)
    sentences = [write(random_statement(rng), language, rng) for language in LEXICONS for _ in range(SENTENCES)]
    return sentences + [word for lexicon in LEXICONS.values() for word in lexicon.words]


@dataclass(frozen=True)
class Tokenizer:
    """Word pieces of prompts, in a frame of [CLS] ... [SEP] [PAD] ..., or in that of a pretrained encoder."""

    tokenizer: tokenizers.Tokenizer

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    @cached_property
    def digest(self) -> str:
        """Names the vocabulary: two models speak the same words when their digests agree."""
        return hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest()[:16]

    @cached_property
    def pad(self) -> int:
        """What stands where no piece does; the mask says so, and nothing reads it."""
        return next((number for name in PADS if (number := self.tokenizer.token_to_id(name)) is not None), 0)

    def encode(self, texts: Sequence[str], length: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Texts to words (b, l) int32 and mask (b, l) bool, true where a piece stands.

        Longer texts are cut before their [SEP], and how many were is logged.
        """
        if isinstance(texts, str):
            texts = [texts]
        words = np.full((len(texts), length), self.pad, np.int32)
        mask = np.zeros(words.shape, bool)
        long = 0
        for row, encoding in enumerate(self.tokenizer.encode_batch(list(texts))):
            ids = encoding.ids
            if len(ids) > length:
                long += 1
                ids = ids[:length - 1] + ids[-1:]
            words[row, :len(ids)] = ids
            mask[row, :len(ids)] = True
        if long:
            logging.warning("%d of %d texts are longer than %d word pieces and were cut", long, len(texts), length)
        return words, mask

    def decode(self, words: np.ndarray) -> list[str]:
        """Words (b, l) as texts, without the frame; lower case, as they were read."""
        return self.tokenizer.decode_batch(words.tolist())

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text in the order of `encode`, frame included: what explanations name."""
        return self.tokenizer.encode(text).tokens

    def save(self, path: str | Path) -> None:
        """Write tokenizer.json, which any tokenizers library reads."""
        Path(path).write_text(self.tokenizer.to_str(pretty=True), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read tokenizer.json, or a folder that holds it."""
        path = Path(path)
        path = path / "tokenizer.json" if path.is_dir() else path
        if not path.is_file():
            raise MedFuseError(f"{path}: no tokenizer there; give the tokenizer.json of a trained run")
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            vocabulary = said["model"]["vocab"]
        except (ValueError, KeyError, TypeError) as error:
            raise MedFuseError(f"{path}: not a tokenizer.json ({error!r}); copy it again from the run") from error
        if said.get("added_tokens"):                         # which ours has not: a pretrained encoder's
            return cls(pretrained.load(path))
        pieces = sorted(vocabulary, key=vocabulary.get) if isinstance(vocabulary, dict) else []
        if tuple(pieces[:len(SPECIAL)]) != SPECIAL or list(vocabulary.values()) != list(range(len(pieces))):
            raise MedFuseError(f"{path}: not a tokenizer of this package; copy tokenizer.json again from the run")
        return cls(_of(vocabulary))


def _learned(texts: Sequence[str]) -> list[str]:
    """Pieces of the texts, the most useful first: whole words by frequency, then word parts by the letters they save.

    The trainer of the tokenizers library breaks ties in the order of a random hash: no two runs give one vocabulary.
    """
    reader = _of({name: i for i, name in enumerate(SPECIAL)})
    count = Counter(word for text in texts
                    for word, _ in reader.pre_tokenizer.pre_tokenize_str(reader.normalizer.normalize_str(text)))
    parts: Counter[str] = Counter()
    for word in count:
        for first in range(len(word)):
            for last in range(first + 2, len(word) + 1):
                parts[("##" if first else "") + word[first:last]] += last - first - 1
    words = sorted(count, key=lambda word: (-count[word], word))
    return words + sorted(parts, key=lambda part: (-parts[part], part))


@cache
def build(vocabulary_size: int = 2048, seed: int = 0) -> Tokenizer:
    """Learn a WordPiece vocabulary from the language of findings; the same bytes for the same arguments."""
    pieces = (*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS if letter.isalnum()), *_learned(corpus(seed)))
    kept = list(dict.fromkeys(pieces))[:vocabulary_size]
    return Tokenizer(_of({piece: i for i, piece in enumerate(kept)}))


def of_checkpoint(folder: str | Path, vocabulary: int, length: int) -> Tokenizer:
    """The tokenizer of a pretrained encoder that knows `vocabulary` pieces; how it reads our sentences is logged."""
    made = Tokenizer(pretrained.read(folder))
    highest = max(made.tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if highest >= vocabulary:
        raise MedFuseError(f"{folder}: the tokenizer knows piece {highest} where config.json's vocab_size is "
                           f"{vocabulary}: copy both again, of one checkpoint")
    frame, read = len(made.pieces("")), [encoding.ids for encoding in made.tokenizer.encode_batch(corpus())]
    number, longest = pretrained.unknown(made.tokenizer), max(map(len, read))
    share = sum(ids.count(number) for ids in read) / max(sum(len(ids) - frame for ids in read), 1)
    logging.info("%s: %.1f %% of the pieces of our sentences are unknown to its vocabulary; the longest has %d pieces",
                 folder, 100 * share, longest)
    if share > RARE:
        logging.warning("%s: its vocabulary does not know %.1f %% of the pieces of our sentences: choose a checkpoint "
                        "of the language, or --config.data.language", folder, 100 * share)
    if longest > length:
        logging.warning("%s: sentences have up to %d pieces and are cut at %d: give --config.text.length=%d",
                        folder, longest, length, longest)
    return made


# Stated facts beside the words

FACTS: tuple[str, ...] = (
    "age", "sex", *(f"phenotype_{name}" for name in PHENOTYPES), "treatment", "edss", "disease_duration_years",
    "lesion_count", "lesion_volume_ml", *(f"count_{name}" for name in REGIONS), *(f"volume_{name}" for name in REGIONS),
    *(f"atrophy_{name}" for name in ATROPHY), "new_count", "only", *ACTIVITY[1:],      # in the order in which they came
)
# Where an open band ends: what patients of the data reach (55 ml; a tenth has more than 218 lesions).
LARGEST_ML, LARGEST_COUNT = 60.0, 300.0
LARGEST = {"age": 90.0, "edss": 10.0, "disease_duration_years": 60.0, **dict.fromkeys(ACTIVITY, LARGEST_COUNT)}
SMALLEST_DEVIATION, LARGEST_DEVIATION = -40.0, 10.0      # percent

Interval = tuple[float, float]


def _interval(stated: float | int | str | Range, largest: float) -> Interval:
    """What a number, a count word or a range means; a wide one ends at the largest value, unless it lies beyond."""
    low, high = ends(stated)
    return low, max(low, high if low == high else min(high, largest))


def _count(count: int | str | Range | None) -> Interval:
    """A count; None is any number above zero."""
    return _interval(Range(1) if count is None else count, LARGEST_COUNT)


def _intervals(statement: Statement) -> dict[str, Interval]:
    """What is stated, in the units of findings."""
    stated = entail(statement)
    numbers = {name: getattr(stated, name) for name in LARGEST}
    found = {name: _interval(value, LARGEST[name]) for name, value in numbers.items() if value is not None}
    if stated.sex is not None:
        found["sex"] = (1.0, 1.0) if stated.sex == "M" else (-1.0, -1.0)
    if stated.phenotype is not None:
        found |= {f"phenotype_{name}": (float(name == stated.phenotype),) * 2 for name in PHENOTYPES}
    if stated.treatment is not None:
        found["treatment"] = (TREATMENTS.index(stated.treatment) / 2,) * 2
    if stated.lesion_count is not None:
        found["lesion_count"] = _count(stated.lesion_count)
    if stated.lesion_volume_ml is not None:
        found["lesion_volume_ml"] = _interval(stated.lesion_volume_ml, LARGEST_ML)
    elif stated.lesion_load is not None:
        low, high = LOAD_ML[stated.lesion_load]
        found["lesion_volume_ml"] = (low, min(high, LARGEST_ML))
    for name, amount in stated.lesions_by_region.items():
        found |= _region(name, amount)
    found |= {f"atrophy_{name}": tuple(np.clip(GRADES[word], SMALLEST_DEVIATION, LARGEST_DEVIATION))
              for name, word in stated.atrophy.items()}
    return found | ({"only": (1.0, 1.0)} if stated.only else {})


def _region(name: str, amount: Amount) -> dict[str, Interval]:
    volume = 0.0 if amount.absent else amount.volume_ml
    stated = {} if volume is None else {f"volume_{name}": _interval(volume, LARGEST_ML)}
    return {f"count_{name}": _count(amount.count)} | stated


def _scaled(name: str, value: float) -> float:
    """A value of the size that a network likes, about -2 to 3."""
    if name == "age":
        return value / 50.0 - 1.0
    if name == "edss":
        return value / 5.0 - 1.0
    if name == "disease_duration_years":
        return value / 20.0
    if name.startswith("atrophy_"):
        return value / 20.0
    if name.endswith("_count") or name.startswith(("count_", "volume_")) or name == "lesion_volume_ml":
        return float(np.log1p(value)) / 2.0
    return value


def facts(statement: Statement) -> np.ndarray:
    """What a statement says, as intervals: (s, 3) float32 of low, high, stated; s = len(FACTS).

    An exact number has low = high, a word has its range, what is not stated is (0, 0, 0). What follows from the
    statement (`entail`) counts as stated; what is only `possible` does not.
    """
    found = _intervals(statement)
    rows = [(*(_scaled(name, end) for end in found[name]), 1.0) if name in found else (0.0, 0.0, 0.0) for name in FACTS]
    return np.array(rows, np.float32)
