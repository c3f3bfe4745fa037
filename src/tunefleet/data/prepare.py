"""Prepares data once: from sources to memory-mapped data sets, in one pass and in bounded memory."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunefleet.base import progress
from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, OnBadRow
from tunefleet.data.checks import gate
from tunefleet.data.checks.file_notes import Seen
from tunefleet.data.checks.sample import Sample
from tunefleet.data.checks.verify import verify_uncut
from tunefleet.data.clean.held_out import HeldOut
from tunefleet.data.clean.steps import Cleaning
from tunefleet.data.encode import template
from tunefleet.data.encode.end_of_turn import end_of_turn
from tunefleet.data.encode.loss_mask import Encoder
from tunefleet.data.encode.stream import Talk, Talks, encoded
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
from tunefleet.data.store.writer import Store, Stored

_REMOVED = "removed_rows.txt"
_VERIFIED = 64  # conversations of a source whose masks are compared with inference


@dataclass(frozen=True)
class Prepared:
    """Training rows, validation rows by split, the template that rendered them, and how many rows were left out.

    They lie in `folder`; `found` says that they were there already.
    """

    train: Dataset
    validation: dict[str, Dataset]
    template: ChatTemplate
    folder: Path
    found: bool
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
    """The data of a run; a second call finds them in `config.cache`, and if `thorough` reads every byte of them.

    Safe in many processes at once: one prepares, the others wait. Raises `DataError` with file and line.
    """
    chat = chat_template(config, tokenizer)
    folder = cache.folder_of(config, chat, tokenizer, sequence_length)
    with cache.alone(folder):
        there = found = cache.read(folder, thorough)
        if found is None:
            _write(folder, config, chat, tokenizer, sequence_length)
            found = cache.read(folder)
    assert found is not None
    unseen = {name: data for name, data in found.sets.items() if name != "train"}
    return Prepared(
        found.sets["train"], unseen, chat, folder, there is not None, found.bad_rows, found.removed, found.unread
    )


def chat_template(config: DataConfig, tokenizer: Any) -> ChatTemplate:
    """The template of a run, with the tokenizer's special tokens."""
    if tokenizer.eos_token is None:
        raise DataError("model.tokenizer: has no end-of-sequence token, so no answer would ever learn to stop.")
    own = tokenizer.chat_template
    found = template.find(config.template, own), template.find_for_tools(config.template, own)
    return _with_specials(*found, tokenizer)


def own_template(tokenizer: Any) -> ChatTemplate:
    """The template that an exported tokenizer carries."""
    own = tokenizer.chat_template
    return _with_specials(template.find("auto", own), template.find_for_tools("auto", own), tokenizer)


def _with_specials(source: str, tool_source: str, tokenizer: Any) -> ChatTemplate:
    specials = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return ChatTemplate(source, specials, tool_source)


def _write(folder: Path, config: DataConfig, chat: ChatTemplate, tokenizer: Any, longest: int) -> None:
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed: numbers come again
    gc.freeze()  # a search for garbage need not look at the half million objects of torch and transformers
    try:
        watch = Meter()
        with progress.during("preparing data", watch.state, every_rank=True), meter.watching(watch):
            _Preparation(config, chat, tokenizer, longest, folder, temporary).run()
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
        known = cache.tokens(config, tokenizer)
        self._encoder = Encoder(chat, tokenizer, config.train_on, longest, config.long_rows, known)
        self._stops = end_of_turn(chat, tokenizer).stops
        skips = config.on_bad_row is OnBadRow.SKIP
        self._bad = BadRows(cache.bad_rows(folder), config.max_bad_rows) if skips else BadRows()
        self._clean = Cleaning(config.clean, temporary / _REMOVED)
        self._unseen = select_sources.validation(config)
        self._unread: dict[str, str] = {}
        self._questions = 0

    def run(self) -> None:
        """Validation first: it is small, and may be refused too."""
        names = [source.name for source in self._unseen]
        for source in self._unseen:
            self._write_validation(source.name, self._verified(source, clean=False))
        names += self._write_training()
        self._bad.write()
        self._clean.write(cache.removed_rows(self._folder))
        (self._temporary / _REMOVED).unlink(missing_ok=True)
        counts = self._bad.count, self._clean.counts(), self._unread
        cache.publish(self._temporary, self._folder, ["train", *names], *counts)

    def rows(self, source: Source, clean: bool = True) -> Iterator[Talks]:
        """Conversations of a source, encoded."""
        step = self._clean.clean if clean else self._clean.normalise
        return encoded(rows(source, self._unread), step, self._bad, self._encoder)

    def held_out(self) -> HeldOut[Any]:
        """Draws validation rows from a source, where there are no other ones."""
        return HeldOut(0 if self._unseen else self._config.validation_rows)

    def word(self, source: Source) -> str:
        """What a source is called, where there are several."""
        return source.name if self._config.mix else ""

    def _verified(self, source: Source, clean: bool = True) -> Iterator[Talks]:
        """Rows that stream by; behind the last one a few of them have been compared with inference."""
        sample = Sample[Conversation](_VERIFIED)
        for row in self.rows(source, clean):
            for talk in row:
                sample.see(talk.conversation)
                self._questions = max(self._questions, talk.conversation.questions)
            yield row
        verify_uncut(sample.chosen(), self._chat, self._tokenizer, self._config.train_on)

    def _write_training(self) -> list[str]:
        """Writes the training set, and what is held out of its sources; returns the names of that."""
        store, seen, names = Store(self._temporary / "train", self._stops), Seen(), []
        self._questions = 0  # validation rows may have more
        for source in select_sources.training(self._config):
            draw = self.held_out()
            store.begin()
            count = 0
            early = gate.Early(seen, source, self._config, self._longest)
            for row in draw.training(self._verified(source)):
                count += 1
                for talk in row:
                    number = seen.see(talk, self.word(source))
                    early.see(talk, number)
                    store.add(talk, number)
            if not count + len(draw.rows):
                raise DataError(f"{source.config.path}: no rows{self._clean.told()}.")
            if not self._unseen:
                names.append(source.name if self._config.mix else "validation")
                self._write_validation(names[-1], draw.rows)
        self._write_set("train", self._mixed(store.finish()), seen, ())
        return names

    def _mixed(self, stored: Stored) -> Stored:
        if not self._config.mix:
            return stored
        sizes = [part.talks for part in stored.parts]
        times: NDArray[np.uint32] = np.concatenate(mixed(sizes, self._config.mix, self._config.mix_seed))
        if not times.any():
            raise DataError("data.mix: so few epochs of so few rows leave none to train on. Raise data.mix.*.epochs.")
        return replace(stored, times=times)

    def _write_validation(self, name: str, held_out: Iterable[Talks]) -> None:
        store, examples = Store(self._temporary / name, self._stops), []
        store.begin()
        for talk in (talk for row in held_out for talk in row):
            store.add(talk, 0)
            examples += [self._example(talk)] if _has_example(talk.conversation) else []
        self._write_set(name, store.finish(), None, examples)

    def _write_set(self, name: str, stored: Stored, seen: Seen | None, examples: Sequence[Example]) -> None:
        counted = tally(stored, len(seen.files) if seen else 1)
        if seen:
            gate.expect_learnable(seen, counted, self._config, self._longest)
        folder = self._temporary / name
        meter.current().finish("packing them" if self._config.packing else "writing them")
        count = dataset.write_rows(folder, stored, self._longest, self._config.packing)
        stored.path.unlink()
        dataset.seal(folder, dataset.card(name, counted, count, self._longest, self._questions), examples)

    def _example(self, talk: Talk) -> Example:
        one = talk.conversation
        return Example(one.question, self._chat.prompt(one.question, one.tools), one.answer)


def _has_example(conversation: Conversation) -> bool:
    """Whether its last answer is one to learn from: KTO's bad examples are not."""
    return not conversation.is_text and conversation.turns[conversation.answers[-1]].learns
