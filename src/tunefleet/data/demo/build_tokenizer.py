"""Demo tokenizer: how it was made, to be made again.

    python -m tunefleet.data.demo.build_tokenizer [--out FOLDER]

trains a byte-level BPE on sentences of the train split and writes `tokenizer/` beside this file, the
same bytes every time. Inside the tokenizer every quote is followed by one extra space (decoding takes
it away again), so the first word of a JSON string has the same tokens as that word has in the middle
of a command: to copy a value is to repeat its tokens. Any text survives encoding and decoding.
"""

from __future__ import annotations

import argparse
import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tunefleet.base import files
from tunefleet.data.demo import generate

VOCAB_SIZE = 2048
TRAIN_ROWS = 20_000
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>")
FOLDER = pathlib.Path(__file__).parent / "tokenizer"

# What stands between two JSON values is one piece, and so is a role: a conversation is mostly words. Then
# an apostrophe's ending; punctuation; words; digits; spaces.
_BETWEEN = r""" ?\{" \w+" : "|(?:" ,)?(?: ?" \w+" : \{?)+"|\"(?: [^\w\s]+)*"""
_PIECES = rf"""{_BETWEEN}|\n?[A-Z]\w+:|'[^\W\d]+| ?[^\w\s]+| ?[^\W\d]+(?:_[^\W\d]+)*| ?\d|\s"""

CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "</s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "padding_side": "left",
    "model_max_length": 256,
    "clean_up_tokenization_spaces": False,
}


def train(vocab_size: int = VOCAB_SIZE, row_count: int = TRAIN_ROWS) -> Tokenizer:
    """Train on `row_count` train rows, to at most `vocab_size` tokens; ids 0, 1, 2 are OPT's specials.

    Raises ValueError for a vocabulary that cannot hold the special tokens and the 256 bytes.
    """
    if vocab_size < 256 + len(SPECIAL_TOKENS):
        raise ValueError(f"vocab_size must be at least {256 + len(SPECIAL_TOKENS)}, not {vocab_size}")
    tokenizer = _untrained()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(row_count), trainer)
    return tokenizer


def save(tokenizer: Tokenizer, folder: pathlib.Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, which `AutoTokenizer.from_pretrained` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    text = json.dumps(CONFIG, indent=2, ensure_ascii=False) + "\n"
    files.write_text(folder / "tokenizer_config.json", text)


def _untrained() -> Tokenizer:
    """The pipeline around the BPE model: the extra space after quotes, the pieces, the bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace('"', '" ')
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace('" ', '"')])
    return tokenizer


def _texts(row_count: int) -> list[str]:
    """The text that the trainer sees, one conversation a row."""
    rows = generate.rows("train", row_count)
    return [f"User: {row['prompt']}\nAssistant: {row['completion']}" for row in rows]


def main(argv: list[str] | None = None) -> None:
    """Train the tokenizer and write its two files."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=FOLDER, help="folder to write to")
    save(train(), parser.parse_args(argv).out)


if __name__ == "__main__":
    main()
