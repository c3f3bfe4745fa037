"""Tokenizer training: a byte-level BPE over the texts of the rows that a run would train on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tunefleet.base import delivery
from tunefleet.base.errors import ConfigError, DataError
from tunefleet.config.data import DataConfig, OnBadRow
from tunefleet.data.encode.fast_bpe import QWEN2
from tunefleet.data.formats.collect import rows
from tunefleet.data.read import select_sources

BYTES = 256
_CHECKED = 2000  # texts that must come back from their tokens


@dataclass(frozen=True)
class SpecialTokens:
    """Tokens that no text has; `more` are those of a chat template, such as `<|im_start|>`."""

    end: str = "<|endoftext|>"
    pad: str = "<|pad|>"
    more: tuple[str, ...] = ()

    @property
    def all(self) -> Sequence[str]:
        """In the order of their ids, each once."""
        return list(dict.fromkeys((self.end, self.pad, *self.more)))


def train(config: DataConfig, vocabulary: int, specials: SpecialTokens, folder: Path) -> Mapping[str, str]:
    """Writes a tokenizer of at most `vocabulary` tokens to `folder`; what is to be said about it.

    Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) with Qwen 2's pattern of pieces: any text of any language
    comes back from its tokens. Raises `ConfigError` where the special tokens and the bytes alone are more, `DataError`
    for rows that cannot be read or have no text, `RunError` where something else is in `folder`.
    """
    least = BYTES + len(specials.all)
    if vocabulary < least:
        raise ConfigError(f"--vocab {vocabulary}: the bytes and the special tokens alone are {least}. Use more.")
    delivery.expect_free(folder)
    texts = list(_texts(config))
    if not any(texts):
        raise DataError(f"{config.path}: its rows have no text to train a tokenizer on.")
    tokenizer = _trained(texts, vocabulary, specials)
    _expect_lossless(tokenizer, texts[:_CHECKED])
    with delivery.staging(folder) as staged:
        _in_transformers_form(tokenizer, specials).save_pretrained(staged)
        delivery.deliver(staged, folder, {"tokenizer of": str(config.path)})
    return _summary(tokenizer, texts, folder)


def _texts(config: DataConfig) -> Iterator[str]:
    """Every turn of every training row. Bad rows are left out where the configuration says so."""
    for source in select_sources.training(config):
        for row in rows(source):
            if isinstance(row, DataError):
                if config.on_bad_row is not OnBadRow.SKIP:
                    raise row
                continue
            for conversation in row:
                yield from (turn.content for turn in conversation.turns)


def _trained(texts: Sequence[str], vocabulary: int, specials: SpecialTokens) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    pieces = pre_tokenizers.Split(Regex(QWEN2), behavior="isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in specials.all],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _expect_lossless(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    for text in texts:
        decoded = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=False)
        assert decoded == text, f"{text!r} came back as {decoded!r}"


def _in_transformers_form(tokenizer: Tokenizer, specials: SpecialTokens) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=specials.end,
        eos_token=specials.end,
        pad_token=specials.pad,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _summary(tokenizer: Tokenizer, texts: Sequence[str], folder: Path) -> dict[str, str]:
    encodings = tokenizer.encode_batch(list(texts[:_CHECKED]), add_special_tokens=False)
    tokens = sum(len(encoding.ids) for encoding in encodings)
    size = tokenizer.get_vocab_size()
    return {
        "tokens": f"{size:,} in the vocabulary, from {len(texts):,} texts",
        "characters": f"{sum(map(len, texts[:_CHECKED])) / max(1, tokens):.2f} of a token",
        "saved to": str(folder),
        "next": f"model.tokenizer={folder} model.architecture.vocab_size={size}, for a model from scratch",
    }
