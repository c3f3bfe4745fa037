"""How was the demo's tokenizer made, and how does one make it again?

    python -m tunefleet.data.demo.build_tokenizer

trains a byte-level BPE on sentences of the train split and writes `tokenizer/` beside this file, the
same bytes every time. A word and the space before it are separate tokens, so a word has the same tokens
after a space (in the command) and after a quote (in the JSON): copying a value means repeating tokens.
"""

from __future__ import annotations

import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tunefleet.data.demo import generate

VOCAB_SIZE = 512
TRAIN_ROWS = 20_000
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>")
FOLDER = pathlib.Path(__file__).parent / "tokenizer"

# The punctuation between two JSON strings; an apostrophe's ending; punctuation; words; digits; spaces.
_PIECES = r"""\"(?: [^\w\s]+)*|'[^\W\d]+| ?[^\w\s]+| ?[^\W\d]+| ?\d|\s"""


def train(vocab_size: int = VOCAB_SIZE, row_count: int = TRAIN_ROWS) -> Tokenizer:
    """Train the tokenizer on `row_count` train rows; ids 0, 1, 2 are `<s>`, `<pad>`, `</s>` as in OPT."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace('"', '" ')
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace('" ', '"')])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(row_count), trainer)
    return tokenizer


def _texts(row_count: int) -> list[str]:
    """The text that the trainer sees, one conversation a row."""
    found = generate.rows("train", row_count)
    return [f"User: {row['prompt']}\nAssistant: {row['completion']}" for row in found]
