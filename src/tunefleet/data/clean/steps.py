"""Which conversations are left out on purpose? Explicit steps, in order; what each removed is counted and told."""

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
from tunefleet.config.cleaning import CleanConfig, Duplicates
from tunefleet.data.clean.hashes import Hashes
from tunefleet.data.clean.near_duplicates import NearDuplicates
from tunefleet.data.formats.conversation import Conversation, Turn

Keeps = Callable[[Conversation], bool]
_KEPT_CONTROLS = "\n\t"
_IN_MEMORY = 10_000  # lines of the report


class Cleaning:
    """The steps of one data set, over all its sources: a duplicate is found wherever the first one stands."""

    def __init__(self, config: CleanConfig, waiting: Path | None = None) -> None:
        """The report of a large data set waits in the file `waiting`."""
        self._normalise = config.normalise
        self._steps = _steps(config)
        self._counts: Counter[str] = Counter()
        self._told: list[str] = []
        self._waiting = waiting

    def clean(self, conversations: Iterable[Conversation]) -> list[Conversation]:
        """The conversations that every step keeps, in their order."""
        return [talk for talk in self.normalise(conversations) if self._kept(talk)]

    def normalise(self, conversations: Iterable[Conversation]) -> list[Conversation]:
        """All of them, in the form that was asked for: what validates is written as what trains, and none left out."""
        return [_normalised(talk) if self._normalise else talk for talk in conversations]

    def counts(self) -> Mapping[str, int]:
        """How many conversations each step removed."""
        return dict(self._counts)

    def told(self) -> str:
        """`, after data.clean left out 12: too short`, for an error; empty where nothing was left out."""
        counts = ", ".join(f"{number}: {step}" for step, number in self.counts().items())
        return f", after data.clean left out {counts}" if counts else ""

    def write(self, report: Path) -> None:
        """Writes a line for each conversation that was left out."""
        if self._counts:
            files.write_lines(report, chain(self._waited(), self._told))

    def _waited(self) -> Iterator[str]:
        if self._waiting and self._waiting.is_file():
            with open(self._waiting, encoding="utf-8") as stream:
                yield from stream

    def _kept(self, talk: Conversation) -> bool:
        step = next((name for name, keeps in self._steps.items() if not keeps(talk)), None)
        if step:
            self._counts[step] += 1
            self._tell(f"{talk.where}: {step}\n")
        return step is None

    def _tell(self, line: str) -> None:
        self._told.append(line)
        if self._waiting and len(self._told) == _IN_MEMORY:
            self._waiting.parent.mkdir(parents=True, exist_ok=True)
            with open(self._waiting, "a", encoding="utf-8") as stream:
                stream.writelines(self._told)
            self._told.clear()


def text(talk: Conversation) -> str:
    """Everything that is said in a conversation, a turn below the other."""
    return "\n".join(turn.content for turn in talk.turns)


def _steps(config: CleanConfig) -> dict[str, Keeps]:
    """Only the steps that were asked for: a filter that is off costs nothing."""
    steps: dict[str, Keeps] = {}
    if config.min_characters:
        steps["too short"] = lambda talk: len(text(talk)) >= config.min_characters
    if config.max_characters:
        most = config.max_characters
        steps["too long"] = lambda talk: len(text(talk)) <= most
    if config.keep:
        wanted = re.compile(config.keep)
        steps["does not match data.clean.keep"] = lambda talk: bool(wanted.search(text(talk)))
    if config.drop:
        unwanted = re.compile(config.drop)
        steps["matches data.clean.drop"] = lambda talk: not unwanted.search(text(talk))
    if config.duplicates is Duplicates.EXACT:
        steps["duplicate"] = _Exact()
    if config.duplicates is Duplicates.NEAR:
        near = NearDuplicates(config.similarity)
        steps["near duplicate"] = lambda talk: near.is_new(text(talk))
    return steps


class _Exact:
    """Keeps a conversation whose roles and words, white space and capitals aside, were not there before.

    Of five million rows, one is taken for another by its hash with a probability of less than one in a million.
    """

    def __init__(self) -> None:
        self._seen = Hashes()

    def __call__(self, talk: Conversation) -> bool:
        words = "\0".join(f"{turn.role}\0{' '.join(turn.content.lower().split())}" for turn in talk.turns)
        return self._seen.add(int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest()))


def _normalised(talk: Conversation) -> Conversation:
    return replace(talk, turns=tuple(map(_normalised_turn, talk.turns)))


def _normalised_turn(turn: Turn) -> Turn:
    content, reasoning, given = map(normalised, (turn.content, turn.reasoning, turn.input))
    return replace(turn, content=content, reasoning=reasoning, input=given)


def normalised(words: str) -> str:
    """`words` in NFC, without control characters other than line breaks and tabs; CR LF is a line break."""
    composed = unicodedata.normalize("NFC", words.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(c for c in composed if c in _KEPT_CONTROLS or unicodedata.category(c) != "Cc")
