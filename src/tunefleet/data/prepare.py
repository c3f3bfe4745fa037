"""Prepares data once: from sources to memory-mapped data sets, in a cache named by their content."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunefleet import __version__
from tunefleet.base import files
from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig
from tunefleet.config.load import dump
from tunefleet.data import dataset, gate, template
from tunefleet.data.conversation import Conversation
from tunefleet.data.dataset import Card, Dataset, Example
from tunefleet.data.demo.generate import SPLITS
from tunefleet.data.encode import Encoded, encode
from tunefleet.data.formats import conversation
from tunefleet.data.packing import pack
from tunefleet.data.sources import Source
from tunefleet.data.template import ChatTemplate
from tunefleet.data.turn import end_of_turn
from tunefleet.data.verify import verify

_LAYOUT = 2  # of the files in the cache: raise it when they change
_AT_ONCE = 2_000  # conversations tokenised together
_VERIFIED = 64  # conversations of a set whose masks are compared with inference


@dataclass(frozen=True)
class Prepared:
    """Training rows, validation rows by split, and the chat template that rendered them."""

    train: Dataset
    validation: dict[str, Dataset]
    template: ChatTemplate


def prepare(config: DataConfig, tokenizer: Any, sequence_length: int) -> Prepared:
    """The data of a run; a second call finds them in `config.cache`.

    Safe in many processes at once: one prepares, the others wait. Raises `DataError` with file and line.
    """
    chat = chat_template(config, tokenizer)
    folder = Path(config.cache) / _fingerprint(config, chat, tokenizer, sequence_length)
    with _alone(folder):
        found = _read(folder)
        if found is None:
            shutil.rmtree(folder, ignore_errors=True)
            _write(folder, config, chat, tokenizer, sequence_length)
            found = _read(folder)
    assert found is not None
    train = found.pop("train")
    return Prepared(train, found, chat)


def chat_template(config: DataConfig, tokenizer: Any) -> ChatTemplate:
    """The template of a run, with the tokenizer's special tokens."""
    if tokenizer.eos_token is None:
        raise DataError("model.tokenizer: has no end-of-sequence token, so no answer would ever learn to stop.")
    return _with_specials(template.find(config.template, tokenizer.chat_template), tokenizer)


def own_template(tokenizer: Any) -> ChatTemplate:
    """The template that an exported tokenizer carries."""
    return _with_specials(tokenizer.chat_template, tokenizer)


def _with_specials(source: str, tokenizer: Any) -> ChatTemplate:
    specials = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return ChatTemplate(source, specials)


def _fingerprint(config: DataConfig, chat: ChatTemplate, tokenizer: Any, sequence_length: int) -> str:
    parts = [
        str(_LAYOUT),
        __version__,
        json.dumps({**dump(config), "cache": "", "name": ""}, sort_keys=True),
        *(source.fingerprint() for source in _sources(config)),
        chat.source,
        json.dumps(chat.specials, sort_keys=True),
        _identity(tokenizer),
        str(sequence_length),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _identity(tokenizer: Any) -> str:
    """The tokenizer without how it was called last."""
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    return json.dumps({**described, "padding": None, "truncation": None}, sort_keys=True)


def _sources(config: DataConfig) -> list[Source]:
    path = config.path
    assert path is not None, "the plan refuses a run without data.path"
    if path == "demo":
        unseen = [Source(split, path, split, config.validation_rows) for split in SPLITS if split != "train"]
        return [Source("train", path, "train", config.max_rows), *unseen]
    train = Source("train", path, limit=config.max_rows)
    return [train, Source("validation", config.validation_path)] if config.validation_path else [train]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time for this folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(folder: Path) -> dict[str, Dataset] | None:
    """The data sets in `folder`; None where it is missing or broken."""
    try:
        names = files.read_json(folder / "names.json")
        return {name: dataset.read(folder / name) for name in names}
    except (OSError, EOFError, ValueError, TypeError, KeyError):
        return None


def _write(folder: Path, config: DataConfig, chat: ChatTemplate, tokenizer: Any, longest: int) -> None:
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that died, or of a refusal: numbers come again
    sets = _conversations(config)
    for name, conversations in sets.items():
        _write_set(temporary / name, name, conversations, config, chat, tokenizer, longest)
    files.write_json(temporary / "names.json", list(sets))
    files.publish(temporary, folder)


def _conversations(config: DataConfig) -> dict[str, list[Conversation]]:
    read = {s.name: [conversation(row, config.format) for row in s.rows()] for s in _sources(config)}
    if not read["train"]:
        raise DataError(f"{config.path}: no rows.")
    return read if len(read) > 1 else _held_out(read["train"], config.validation_rows)


def training_rows(config: DataConfig) -> list[Conversation]:
    """Every training row as it was read. Raises `DataError` with file and line."""
    return _conversations(config)["train"]


def _held_out(rows: list[Conversation], wanted: int) -> dict[str, list[Conversation]]:
    """Splits rows: the same ones whatever the run's seed, at most a tenth of them."""
    count = min(wanted, len(rows) // 10)
    chosen = set(np.random.default_rng(0).permutation(len(rows))[:count].tolist())
    return {
        "train": [row for i, row in enumerate(rows) if i not in chosen],
        "validation": [row for i, row in enumerate(rows) if i in chosen],
    }


def _write_set(
    folder: Path,
    name: str,
    conversations: Sequence[Conversation],
    config: DataConfig,
    chat: ChatTemplate,
    tokenizer: Any,
    longest: int,
) -> None:
    encoded = _encode_all(conversations, lambda part: encode(part, chat, tokenizer, config.train_on, longest))
    for i in _spread(len(encoded)):
        verify(conversations[i], encoded[i], chat, tokenizer, config.train_on)
    if name == "train":
        stops = end_of_turn(chat, tokenizer).stops
        gate.expect_learnable(list(zip(conversations, encoded, strict=True)), config, longest, stops)
    kept = [e for e in encoded if gate.learns(e)]
    lengths = [len(e.tokens) for e in kept]
    rows = pack(lengths, longest) if config.packing else [[i] for i in range(len(kept))]
    card = _card(name, encoded, kept, len(rows), longest)
    examples = [] if name == "train" else [_example(c, chat) for c in conversations]
    dataset.write(folder, asdict(card), kept, rows, examples)


def _spread(rows: int) -> list[int]:
    """Numbers of a few rows, from the first to the last."""
    return sorted({i * (rows - 1) // max(1, _VERIFIED - 1) for i in range(_VERIFIED)}) if rows else []


def _encode_all(
    conversations: Sequence[Conversation], encoder: Callable[[Sequence[Conversation]], list[Encoded]]
) -> list[Encoded]:
    parts = [conversations[i : i + _AT_ONCE] for i in range(0, len(conversations), _AT_ONCE)]
    return [encoded for part in parts for encoded in encoder(part)]


def _card(name: str, encoded: Sequence[Encoded], kept: Sequence[Encoded], rows: int, row_length: int) -> Card:
    return Card(
        name=name,
        conversations=len(kept),
        rows=rows,
        tokens=sum(len(e.tokens) for e in kept),
        learning_tokens=sum(int(e.learns[1:].sum()) for e in kept),
        truncated=sum(e.truncated for e in encoded),
        dropped=len(encoded) - len(kept),
        longest=max((len(e.tokens) for e in kept), default=0),
        row_length=row_length,
    )


def _example(conversation: Conversation, chat: ChatTemplate) -> Example:
    return Example(conversation.question, chat.prompt(conversation.question), conversation.answer)
