"""The tokenizer of a pretrained encoder: its own word pieces, in the frame that it was trained in."""

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from medfuse_jax.errors import MedFuseError

FILE, VOCABULARY, SETTINGS = "tokenizer.json", "vocab.txt", "tokenizer_config.json"
_, UNKNOWN, START, END = FRAME = "[PAD]", "[UNK]", "[CLS]", "[SEP]"              # of a vocab.txt
TRIED = "FLAIR, nine periventricular lesions; œdème, 6 ml"


def read(folder: str | Path) -> tokenizers.Tokenizer:
    """The tokenizer of a checkpoint folder: its tokenizer.json, or the one that BERT has with its vocab.txt."""
    folder = Path(folder)
    if (folder / FILE).is_file():
        return load(folder / FILE)
    if (folder / VOCABULARY).is_file():
        return _of_vocabulary(folder)
    raise MedFuseError(f"{folder}: no tokenizer there: {FILE} (or a BERT's {VOCABULARY}) belongs beside config.json; "
                       "the transformers library writes it (AutoTokenizer.from_pretrained(HERE).save_pretrained(HERE))")


def load(path: Path) -> tokenizers.Tokenizer:
    """A tokenizer.json of any kind that the tokenizers library reads; special words in a text are only letters."""
    with _Refusing(path):
        tokenizer = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        tokenizer.encode(TRIED)
    return tokenizer


def unknown(tokenizer: tokenizers.Tokenizer) -> int:
    """The number of the piece that stands for what the vocabulary cannot spell; -1 when it can spell everything."""
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    number = tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else None
    return -1 if number is None else number


def _of_vocabulary(folder: Path) -> tokenizers.Tokenizer:
    """BERT's WordPiece (Devlin 2019) over the lines of vocab.txt."""
    path = folder / VOCABULARY
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")        # pieces may be other line ends
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8")) if (folder / SETTINGS).is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise MedFuseError(f"{folder}: {VOCABULARY} or {SETTINGS} cannot be read ({error}): copy both again") from error
    vocabulary = {line: number for number, line in enumerate(lines)}
    missing = [name for name in FRAME if name not in vocabulary]
    if missing or not isinstance(settings, dict):
        raise MedFuseError(f"{path}: has no line {missing[0]}, so it is no BERT's: copy it again" if missing else
                           f"{folder / SETTINGS}: not the settings of a tokenizer: copy it again")
    lower, accents = settings.get("do_lower_case", True), settings.get("strip_accents")
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=bool(lower), strip_accents=accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(name, vocabulary[name]) for name in (START, END)])
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(FRAME))
    tokenizer.encode_special_tokens = True
    return tokenizer


class _Refusing:
    """Makes one line of what the tokenizers library raises, which is a plain Exception."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if type(error) is Exception or isinstance(error, OSError | ValueError):
            raise MedFuseError(f"{self.path}: not a tokenizer.json ({error}): copy it again") from error
