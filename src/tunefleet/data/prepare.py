"""Prepares data once: from sources to memory-mapped data sets, in a cache named by their content."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tunefleet import __version__
from tunefleet.base import files
from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, OnBadRow
from tunefleet.config.load import dump
from tunefleet.data import bad_rows, cleaning, dataset, gate, template, wanted
from tunefleet.data.bad_rows import BadRows
from tunefleet.data.cleaning import Cleaning
from tunefleet.data.collect import collect
from tunefleet.data.conversation import Conversation
from tunefleet.data.dataset import Card, Dataset, Example
from tunefleet.data.encode import Encoded, Pair, in_pairs
from tunefleet.data.mix import mixed
from tunefleet.data.packing import pack
from tunefleet.data.sources import Source
from tunefleet.data.template import ChatTemplate
from tunefleet.data.turn import end_of_turn
from tunefleet.data.verify import verify

_LAYOUT = 4  # of the files in the cache: raise it when they change
_AT_ONCE = 2_000  # conversations tokenised together
_VERIFIED = 64  # conversations of a set whose masks are compared with inference


@dataclass(frozen=True)
class Prepared:
    """Training rows, validation rows by split, the template that rendered them, and two reports of rows left out."""

    train: Dataset
    validation: dict[str, Dataset]
    template: ChatTemplate
    report: Path
    removed_report: Path

    @property
    def bad_rows(self) -> int:
        """Rows that were left out; `report` says why."""
        return bad_rows.count(self.report)

    @property
    def removed(self) -> Mapping[str, int]:
        """How many rows each step of `data.clean` left out; `removed_report` names them."""
        return cleaning.counted(self.removed_report)


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
    return Prepared(train, found, chat, _report(folder), _removed(folder))


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
        *(source.fingerprint() for source in wanted.training(config) + wanted.validation(config)),
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


def _report(folder: Path) -> Path:
    return folder.with_suffix(".bad_rows.txt")


def _removed(folder: Path) -> Path:
    return folder.with_suffix(".removed_rows.txt")


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
    bad, clean = _bad_rows(config, folder), Cleaning(config.clean)
    sets = _conversations(config, chat, bad, clean)
    for name, conversations in sets.items():
        _write_set(temporary / name, name, conversations, config, chat, tokenizer, longest)
    files.write_json(temporary / "names.json", list(sets))
    bad.write()
    clean.write(_removed(folder))
    files.publish(temporary, folder)


def training_rows(config: DataConfig, tokenizer: Any, sequence_length: int) -> list[Conversation]:
    """Every training row as `prepare` takes it: cleaned, mixed, without bad or held-out rows. Raises `DataError`."""
    chat = chat_template(config, tokenizer)
    folder = Path(config.cache) / _fingerprint(config, chat, tokenizer, sequence_length)
    return _conversations(config, chat, _bad_rows(config, folder), Cleaning(config.clean))["train"]


def _bad_rows(config: DataConfig, folder: Path) -> BadRows:
    return BadRows(_report(folder), config.max_bad_rows) if config.on_bad_row is OnBadRow.SKIP else BadRows()


def _conversations(
    config: DataConfig, chat: ChatTemplate, bad: BadRows, clean: Cleaning
) -> dict[str, list[Conversation]]:
    def read(source: Source) -> list[Conversation]:
        return collect(source, bad, lambda conversation: chat.render(conversation, config.train_on))

    training = {source.name: clean.clean(read(source)) for source in wanted.training(config)}
    unseen = {source.name: clean.normalise(read(source)) for source in wanted.validation(config)}
    for source in wanted.training(config):
        if not training[source.name]:
            raise DataError(f"{source.config.path}: no rows{clean.told()}.")
    if not unseen:
        split = {name: _held_out(rows, config.validation_rows) for name, rows in training.items()}
        training = {name: kept for name, (kept, _) in split.items()}
        unseen = {name if config.mix else "validation": held_out for name, (_, held_out) in split.items()}
    return {"train": _mixed(training, config) if config.mix else training["train"], **unseen}


def _mixed(sources: Mapping[str, list[Conversation]], config: DataConfig) -> list[Conversation]:
    parts = [[replace(conversation, source=name) for conversation in rows] for name, rows in sources.items()]
    found = mixed(parts, config.mix, config.mix_seed)
    if not found:
        raise DataError("data.mix: so few epochs of so few rows leave none to train on. Raise data.mix.*.epochs.")
    return found


def _held_out(conversations: list[Conversation], most: int) -> tuple[list[Conversation], list[Conversation]]:
    """What to train on and what to validate with: the same rows whatever the run's seed, at most a tenth held out.

    Both directions of a translation are on one side.
    """
    rows = list(dict.fromkeys(conversation.where for conversation in conversations))
    drawn = np.random.default_rng(0).permutation(len(rows))[: min(most, len(rows) // 10)]
    chosen = {rows[i] for i in drawn}
    return [c for c in conversations if c.where not in chosen], [c for c in conversations if c.where in chosen]


def _write_set(
    folder: Path,
    name: str,
    conversations: Sequence[Conversation],
    config: DataConfig,
    chat: ChatTemplate,
    tokenizer: Any,
    longest: int,
) -> None:
    pairs = _encode_all(conversations, lambda part: in_pairs(part, chat, tokenizer, config.train_on, longest))
    for conversation, one in _spread(pairs):
        verify(conversation, one, chat, tokenizer, config.train_on)
    if name == "train":
        gate.expect_learnable(pairs, config, longest, end_of_turn(chat, tokenizer).stops)
    encoded = [one for _, one in pairs]
    kept = [one for one in encoded if gate.learns(one)]
    lengths = [len(e.tokens) for e in kept]
    rows = pack(lengths, longest) if config.packing else [[i] for i in range(len(kept))]
    card = _card(name, encoded, kept, len(rows), longest)
    examples = [] if name == "train" else [_example(c, chat) for c in conversations if not c.is_text]
    dataset.write(folder, asdict(card), kept, rows, examples)


def _spread(pairs: Sequence[Pair]) -> list[Pair]:
    """A few of them, from the first to the last."""
    last = len(pairs) - 1
    numbers = sorted({i * last // (_VERIFIED - 1) for i in range(_VERIFIED)}) if pairs else []
    return [pairs[i] for i in numbers]


def _encode_all(
    conversations: Sequence[Conversation], encoder: Callable[[Sequence[Conversation]], list[Pair]]
) -> list[Pair]:
    parts = [conversations[i : i + _AT_ONCE] for i in range(0, len(conversations), _AT_ONCE)]
    return [pair for part in parts for pair in encoder(part)]


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
    return Example(conversation.question, chat.prompt(conversation.question, conversation.tools), conversation.answer)
