"""Cleaning steps: which conversations are left out on purpose, in order, each step counted."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

from tunefleet.base import files
from tunefleet.base.errors import ConfigError
from tunefleet.base.exhaustion import Exhausted, limited
from tunefleet.config.cleaning import CleanConfig, Duplicates
from tunefleet.data.clean.hashes import Hashes
from tunefleet.data.clean.near_duplicates import NearDuplicates
from tunefleet.data.formats.conversation import Conversation, Turn

Keeps = Callable[[Conversation], bool]
_KEPT_CONTROLS = "\n\t"
SECONDS = 10.0  # that a pattern may take for one conversation
_IN_MEMORY = 10_000  # lines of the report


class Cleaning:
    """The steps of one data set, over all its sources: a duplicate is found wherever the first one stands."""

    def __init__(self, config: CleanConfig, waiting: Path | None = None) -> None:
        """The report of a large data set waits in the file `waiting`."""
        self._normalise = config.normalise
        self._steps = _steps(config)
        self._counts: Counter[str] = Counter()
        self._lines: list[str] = []
        self._waiting = waiting

    def clean(self, conversations: Iterable[Conversation]) -> list[Conversation]:
        """The conversations that every step keeps, in their order."""
        return [conversation for conversation in self.normalise(conversations) if self._passes(conversation)]

    def normalise(self, conversations: Iterable[Conversation]) -> list[Conversation]:
        """All of them, in the form that was asked for: what validates is written as what trains, and none left out."""
        return [_normalised(c) if self._normalise else c for c in conversations]

    def counts(self) -> Mapping[str, int]:
        """How many conversations each step removed."""
        return dict(self._counts)

    def summary(self) -> str:
        """`, after data.clean left out 12: too short`, for an error; empty where nothing was left out."""
        counts = ", ".join(f"{number}: {step}" for step, number in self.counts().items())
        return f", after data.clean left out {counts}" if counts else ""

    def write(self, report: Path) -> None:
        """Writes a line for each conversation that was left out."""
        if self._counts:
            files.write_lines(report, chain(self._spilled(), self._lines))

    def _spilled(self) -> Iterator[str]:
        if self._waiting and self._waiting.is_file():
            with open(self._waiting, encoding="utf-8", opener=files.plain) as stream:
                yield from stream

    def _passes(self, conversation: Conversation) -> bool:
        step = next((name for name, keeps in self._steps.items() if not keeps(conversation)), None)
        if step:
            self._counts[step] += 1
            self._report(f"{conversation.location}: {step}\n")
        return step is None

    def _report(self, line: str) -> None:
        self._lines.append(line)
        if self._waiting and len(self._lines) == _IN_MEMORY:
            self._waiting.parent.mkdir(parents=True, exist_ok=True)
            with open(self._waiting, "a", encoding="utf-8", opener=files.no_link) as stream:
                stream.writelines(self._lines)
            self._lines.clear()


def text(conversation: Conversation) -> str:
    """The content of all turns of a conversation, one below the other."""
    return "\n".join(turn.content for turn in conversation.turns)


def _steps(config: CleanConfig) -> dict[str, Keeps]:
    """Only the steps that were asked for: a filter that is off costs nothing."""
    steps: dict[str, Keeps] = {}
    if config.min_characters:
        steps["too short"] = lambda conversation: len(text(conversation)) >= config.min_characters
    if config.max_characters:
        most = config.max_characters
        steps["too long"] = lambda conversation: len(text(conversation)) <= most
    if config.keep:
        pattern = re.compile(config.keep)
        steps["does not match data.clean.keep"] = lambda conversation: _matches("keep", pattern, conversation)
    if config.drop:
        unwanted = re.compile(config.drop)
        steps["matches data.clean.drop"] = lambda conversation: not _matches("drop", unwanted, conversation)
    if config.duplicates is Duplicates.EXACT:
        steps["duplicate"] = _Exact()
    if config.duplicates is Duplicates.NEAR:
        near_duplicates = NearDuplicates(config.similarity)
        steps["near duplicate"] = lambda conversation: near_duplicates.is_new(text(conversation))
    return steps


def _matches(key: str, pattern: re.Pattern[str], conversation: Conversation) -> bool:
    """Whether `data.clean.KEY` stands in a conversation. Raises `ConfigError` where that takes too long to tell."""
    try:
        with limited(SECONDS):
            return bool(pattern.search(text(conversation)))
    except (Exhausted, MemoryError):
        raise ConfigError(
            f"data.clean.{key}: {pattern.pattern!r} is searched for more than {SECONDS:.0f} s in "
            f"{conversation.location}. Repeat no part of it that repeats itself, such as (a+)+."
        ) from None


class _Exact:
    """Keeps a conversation whose roles and words, white space and capitals aside, were not there before.

    Of five million rows, one is taken for another by its hash with a probability of less than one in a million.
    """

    def __init__(self) -> None:
        self._hashes = Hashes()

    def __call__(self, conversation: Conversation) -> bool:
        turns = (f"{turn.role}\0{' '.join(turn.content.lower().split())}" for turn in conversation.turns)
        return self._hashes.add(int.from_bytes(hashlib.blake2b("\0".join(turns).encode(), digest_size=8).digest()))


def _normalised(conversation: Conversation) -> Conversation:
    return replace(conversation, turns=tuple(map(_normalised_turn, conversation.turns)))


def _normalised_turn(turn: Turn) -> Turn:
    content, reasoning, instruction_input = map(normalised, (turn.content, turn.reasoning, turn.input))
    return replace(turn, content=content, reasoning=reasoning, input=instruction_input)


def normalised(content: str) -> str:
    """`content` in NFC, without control characters other than line breaks and tabs; CR LF is a line break."""
    composed = unicodedata.normalize("NFC", content.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(c for c in composed if c in _KEPT_CONTROLS or unicodedata.category(c) != "Cc")
