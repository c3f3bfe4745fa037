"""Preparation of data: from sources to memory-mapped data sets, in one pass and in bounded memory."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.base import files, progress, pulse
from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, OnBadRow, SourceConfig
from tunefleet.data.checks import gate
from tunefleet.data.checks.file_notes import FileNotes
from tunefleet.data.checks.sample import Sample
from tunefleet.data.checks.verify import verify_uncut
from tunefleet.data.clean.held_out import HeldOut, HeldOutShare, held_out
from tunefleet.data.clean.steps import Cleaning
from tunefleet.data.encode import template_source
from tunefleet.data.encode.end_of_turn import end_of_turn
from tunefleet.data.encode.loss_mask import Encoder
from tunefleet.data.encode.stream import EncodedRow, encoded
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.formats.collect import rows
from tunefleet.data.formats.conversation import Conversation
from tunefleet.data.read import meter, select_sources
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.read.meter import Meter
from tunefleet.data.read.sources import Source
from tunefleet.data.store import cache, dataset
from tunefleet.data.store.dataset import Dataset, Example
from tunefleet.data.store.mix import mixed
from tunefleet.data.store.tally import tally
from tunefleet.data.store.writer import StoredLines, StoreWriter

_REMOVED = "removed_rows.txt"
_ONE_SET: dict[str, Any] = {"mix": (), "packing": False, "validation_rows": 0}
_ONE_SET |= dict.fromkeys(("validation_path", "validation_target_path", "validation_split", "validation_share"))
_VERIFIED = 64  # conversations of a source whose masks are compared with inference


@dataclass(frozen=True)
class Prepared:
    """Training data, validation data by split, the template that rendered them, and how many rows were left out.

    They are in `folder`; `was_cached` says that they were before.
    """

    train: Dataset
    validation: dict[str, Dataset]
    template: ChatTemplate
    folder: Path
    was_cached: bool
    bad_rows: int
    """Rows that were left out; `report` says why."""
    removed: Mapping[str, int]
    """How many rows each step of `data.clean` left out; `removed_report` names them."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Keys of rows that carry text and are not read, each with the place of the first."""

    @property
    def report(self) -> Path:
        """Names bad rows that were left out."""
        return cache.bad_rows(self.folder)

    @property
    def removed_report(self) -> Path:
        """Names rows that were left out on purpose."""
        return cache.removed_rows(self.folder)


def prepare(config: DataConfig, tokenizer: Any, sequence_length: int, thorough: bool = False) -> Prepared:
    """The data of a run; a second call finds them in `config.cache`, and compares every byte that was changed since it
    was last compared, or if `thorough` every byte. Damaged ones are named, set aside and prepared again.

    Safe in many processes at once: one prepares, the others wait. Raises `DataError` with file and line.
    """
    chat = chat_template(config, tokenizer)
    folder = cache.folder_of(config, chat, tokenizer, sequence_length)
    with cache.locked(folder), pulse.solo_work("preparing data"):
        cached = cache.read(folder, thorough)
        if cached is None:
            write_folder(folder, config, chat, tokenizer, sequence_length)
        data = cached or cache.read(folder)
    assert data is not None
    validation = {name: split for name, split in data.sets.items() if name != "train"}
    train, was_cached = data.sets["train"], cached is not None
    return Prepared(train, validation, chat, folder, was_cached, data.bad_rows, data.removed, data.unread)


def prepare_alone(config: DataConfig, source: SourceConfig, name: str, tokenizer: Any, sequence_length: int) -> Dataset:
    """The rows of `source`, to be measured and not to train on, each a sequence; else as `prepare` with `config`."""
    rows = {field.name: getattr(source, field.name) for field in fields(SourceConfig)}
    config = replace(config, **rows, **_ONE_SET)
    chat = chat_template(config, tokenizer)
    folder = cache.folder_of(config, chat, tokenizer, sequence_length)
    folder = folder.with_name(f"{folder.name}-alone")
    with cache.locked(folder), pulse.solo_work("preparing data"):
        cached = cache.read(folder)
        if cached is None:
            write_folder(folder, config, chat, tokenizer, sequence_length, only_set=name)
        data = cached or cache.read(folder)
    assert data is not None
    return next(iter(data.sets.values()))


def chat_template(config: DataConfig, tokenizer: Any) -> ChatTemplate:
    """The template of a run, with the tokenizer's special tokens."""
    if tokenizer.eos_token is None:
        raise DataError("model.tokenizer: has no end-of-sequence token, so no answer would ever end.")
    return _with_specials(config.template, tokenizer)


def own_template(tokenizer: Any) -> ChatTemplate:
    """The template that an exported tokenizer carries."""
    return _with_specials("auto", tokenizer)


def _with_specials(name: str, tokenizer: Any) -> ChatTemplate:
    sources = [find(name, tokenizer.chat_template) for find in (template_source.find, template_source.find_for_tools)]
    specials = {key: str(token) for key, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return ChatTemplate(sources[0], specials, sources[1])


def write_folder(
    folder: Path, config: DataConfig, chat: ChatTemplate, tokenizer: Any, longest: int, only_set: str = ""
) -> None:
    """Prepares the data into `folder`, which is there when all of it is; with `only_set` as one set of that name.
    The caller has the folder's lock.

    Raises `DataError`.
    """
    temporary = files.temporary_beside(folder)
    for leftover in folder.parent.glob(f"{folder.name}.*.tmp"):  # of processes that were killed: this one has the lock
        shutil.rmtree(leftover, ignore_errors=True)
    gc.freeze()  # a search for garbage need not look at the half million objects of torch and transformers
    try:
        watch = Meter()
        with progress.during("preparing data", watch.state, every_rank=True), meter.watching(watch):
            preparation = _Preparation(config, chat, tokenizer, longest, folder, temporary)
            preparation.run_alone(only_set) if only_set else preparation.run()
    finally:
        gc.unfreeze()
        shutil.rmtree(temporary, ignore_errors=True)


class _Preparation:
    """All that the data sets of one configuration share while they are written."""

    def __init__(
        self, config: DataConfig, chat: ChatTemplate, tokenizer: Any, longest: int, folder: Path, temporary: Path
    ) -> None:
        self._config = config
        self._chat = chat
        self._tokenizer = tokenizer
        self._longest = longest
        self._folder = folder
        self._temporary = temporary
        tokens = cache.token_cache(config, tokenizer)
        self._encoder = Encoder(chat, tokenizer, config.train_on, longest, config.long_rows, tokens)
        self._stops = end_of_turn(chat, tokenizer).stops
        skips = config.on_bad_row is OnBadRow.SKIP
        self._bad = BadRows(cache.bad_rows(folder), config.max_bad_rows) if skips else BadRows()
        self._clean = Cleaning(config.clean, temporary / _REMOVED)
        self._validation = select_sources.validation(config)
        self._unread: dict[str, str] = {}
        self._questions = 0

    def run(self) -> None:
        """Validation first: it is small, and may be refused too."""
        names = [source.name for source in self._validation]
        for source in self._validation:
            self._write_validation(source.name, self._verified(source, clean=False))
        names += self._write_training()
        self._publish(["train", *names])

    def run_alone(self, name: str) -> None:
        """The rows of the configuration's one source, as validation rows are written."""
        self._write_validation(name, self._verified(Source(name, self._config), clean=False))
        self._publish([name])

    def _publish(self, names: Sequence[str]) -> None:
        self._bad.write()
        self._clean.write(cache.removed_rows(self._folder))
        (self._temporary / _REMOVED).unlink(missing_ok=True)
        counts = self._bad.count, self._clean.counts(), self._unread
        cache.publish(self._temporary, self._folder, names, *counts)

    def rows(self, source: Source, clean: bool = True) -> Iterator[EncodedRow]:
        """Conversations of a source, encoded."""
        step = self._clean.clean if clean else self._clean.normalise
        return encoded(rows(source, self._unread), step, self._bad, self._encoder)

    def held_out(self) -> HeldOut[Any] | HeldOutShare[Any]:
        """Draws validation rows from a source, where there are no other ones."""
        return HeldOut(0) if self._validation else held_out(self._config)

    def source_name(self, source: Source) -> str:
        """The name of a source, where there are several."""
        return source.name if self._config.mix else ""

    def _verified(self, source: Source, clean: bool = True) -> Iterator[EncodedRow]:
        """Rows that stream by; behind the last one a few of them have been compared with inference."""
        sample = Sample[Conversation](_VERIFIED)
        for row in self.rows(source, clean):
            for encoded_conversation in row:
                sample.offer(encoded_conversation.conversation)
                self._questions = max(self._questions, encoded_conversation.conversation.questions)
            yield row
        verify_uncut(sample.items(), self._chat, self._tokenizer, self._config.train_on)

    def _write_training(self) -> list[str]:
        """Writes the training set, and what is held out of its sources; returns the names of that."""
        store, notes, names = StoreWriter(self._temporary / "train", self._stops), FileNotes(), []
        self._questions = 0  # validation rows may have more
        for source in select_sources.training(self._config):
            draw = self.held_out()
            store.begin()
            count = 0
            early = gate.Early(notes, source, self._config, self._longest)
            for row in draw.training(self._verified(source)):
                count += 1
                for conversation in row:
                    number = notes.add(conversation, self.source_name(source))
                    early.add(conversation, number)
                    store.add(conversation, number)
            if not count + len(draw.rows):
                raise DataError(f"{source.config.path}: no rows{self._clean.summary()}.")
            if not self._validation:
                names.append(source.name if self._config.mix else "validation")
                self._write_validation(names[-1], draw.rows)
        self._write_set("train", self._mixed(store.finish()), notes, ())
        return names

    def _mixed(self, stored: StoredLines) -> StoredLines:
        if not self._config.mix:
            return stored
        sizes = [span.conversations for span in stored.spans]
        times: NDArray[np.uint32] = np.concatenate(mixed(sizes, self._config.mix, self._config.mix_seed))
        if not times.any():
            raise DataError("data.mix: so few epochs of so few rows leave none to train on. Raise data.mix.*.epochs.")
        return replace(stored, times=times)

    def _write_validation(self, name: str, held_out: Iterable[EncodedRow]) -> None:
        store, examples = StoreWriter(self._temporary / name, self._stops), []
        store.begin()
        for encoded_conversation in (part for row in held_out for part in row):
            store.add(encoded_conversation, 0)
            conversation = encoded_conversation.conversation
            examples += [self._example(conversation)] if _has_example(conversation) else []
        self._write_set(name, store.finish(), None, examples)

    def _write_set(self, name: str, stored: StoredLines, notes: FileNotes | None, examples: Sequence[Example]) -> None:
        counts = tally(stored, len(notes.files) if notes else 1)
        if notes:
            gate.expect_trainable(notes, counts, self._config, self._longest)
        folder = self._temporary / name
        meter.current().finish("packing them" if self._config.packing else "writing them")
        count = dataset.write_sequences(folder, stored, self._longest, self._config.packing)
        stored.path.unlink()
        dataset.seal(folder, dataset.card(name, counts, count, self._longest, self._questions), examples)

    def _example(self, conversation: Conversation) -> Example:
        prompt = self._chat.prompt(conversation.question, conversation.tools)
        return Example(conversation.question, prompt, conversation.answer)


def _has_example(conversation: Conversation) -> bool:
    """Whether its last answer is in the loss: KTO's bad examples are not."""
    return not conversation.is_text and conversation.turns[conversation.answers[-1]].in_loss
