"""What is remembered of rows that stream by, for what is said about them at the end: a few places, of each file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from tunefleet.data.checks.placeholders import Placeholders
from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.encode.stream import Talk
from tunefleet.data.formats.conversation import Conversation

PLACES = 3
"""That an error names."""


class File:
    """What was read from one file, for one source of a mixture."""

    def __init__(self, name: str, source: str) -> None:
        self.name = f"{source}: {name}" if source else name
        self.source = source
        self.path = name
        self.placeholders = Placeholders()
        self._places: defaultdict[str, dict[str, None]] = defaultdict(dict)

    def see(self, talk: Conversation, parts: Sequence[Encoded]) -> None:
        """Remembers one of its conversations."""
        place = f"{self.source}: {talk.where}" if self.source else talk.where
        for kind in _KINDS:
            known = self._places[kind]
            if len(known) <= PLACES and any(map(_KINDS[kind], parts)):
                known[place] = None
        if not talk.is_text:
            self.placeholders.see(talk)

    def places(self, kind: str) -> list[str]:
        """The first few places of a kind: read, learnt, long."""
        return list(self._places[kind])


_KINDS: dict[str, Callable[[Encoded], bool]] = {
    "read": lambda part: True,
    "learnt": lambda part: part.teaches,
    "long": lambda part: part.truncated or part.too_long,
}


class Seen:
    """All files of a data set, by number."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self._numbers: dict[tuple[str, str], int] = {}

    def see(self, talk: Talk, source: str = "") -> int:
        """Remembers a conversation; returns the number of its file."""
        name = talk.conversation.where.rpartition(":")[0]
        number = self._numbers.setdefault((source, name), len(self.files))
        if number == len(self.files):
            self.files.append(File(name, source))
        self.files[number].see(talk.conversation, talk.parts)
        return number

    def places(self, kind: str) -> list[str]:
        """Of every source the first places before any second one, so that a mixture is told from end to end."""
        by_source: defaultdict[str, list[str]] = defaultdict(list)
        for file in self.files:
            by_source[file.source] += file.places(kind)
        return list(dict.fromkeys(_in_turns(list(by_source.values()))))


def _in_turns(lists: Sequence[Sequence[str]]) -> Iterator[str]:
    return (place for turn in zip_longest(*lists) for place in turn if place)


def listed(places: Sequence[str]) -> str:
    """The first few, and whether there are more."""
    return ", ".join([*places[:PLACES], *(["..."] if len(places) > PLACES else [])])
