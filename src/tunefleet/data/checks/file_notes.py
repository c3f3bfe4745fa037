"""File notes: a few places of each kind, taken while rows stream by, for the errors at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from tunefleet.data.checks.placeholders import Placeholders
from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.encode.stream import EncodedConversation
from tunefleet.data.formats.conversation import Conversation

PLACES = 3
"""That an error names."""


class FileNote:
    """What was read from one file, for one source of a mixture."""

    def __init__(self, name: str, source: str) -> None:
        self.name = f"{source}: {name}" if source else name
        self.source = source
        self.path = name
        self.placeholders = Placeholders()
        self._places: defaultdict[str, dict[str, None]] = defaultdict(dict)

    def add(self, conversation: Conversation, parts: Sequence[Encoded]) -> None:
        """Remembers a conversation of the file."""
        place = f"{self.source}: {conversation.location}" if self.source else conversation.location
        for kind in _KINDS:
            places = self._places[kind]
            if len(places) <= PLACES and any(map(_KINDS[kind], parts)):
                places[place] = None
        if not conversation.is_text:
            self.placeholders.add(conversation)

    def places(self, kind: str) -> list[str]:
        """The first few places of a kind: read, with_targets, long."""
        return list(self._places[kind])


_KINDS: dict[str, Callable[[Encoded], bool]] = {
    "read": lambda part: True,
    "with_targets": lambda part: part.has_targets,
    "long": lambda part: part.truncated or part.too_long,
}


class FileNotes:
    """The notes on all files of a data set, by number."""

    def __init__(self) -> None:
        self.files: list[FileNote] = []
        self._numbers: dict[tuple[str, str], int] = {}

    def add(self, conversation: EncodedConversation, source: str = "") -> int:
        """Remembers a conversation; returns the number of its file."""
        name = conversation.conversation.location.rpartition(":")[0]
        number = self._numbers.setdefault((source, name), len(self.files))
        if number == len(self.files):
            self.files.append(FileNote(name, source))
        self.files[number].add(conversation.conversation, conversation.parts)
        return number

    def places(self, kind: str) -> list[str]:
        """Of every source the first places before any second one, so that each source of a mixture is named."""
        by_source: defaultdict[str, list[str]] = defaultdict(list)
        for file in self.files:
            by_source[file.source] += file.places(kind)
        return list(dict.fromkeys(_in_turns(list(by_source.values()))))


def _in_turns(lists: Sequence[Sequence[str]]) -> Iterator[str]:
    return (place for turn in zip_longest(*lists) for place in turn if place)


def listed(places: Sequence[str]) -> str:
    """The first few, and whether there are more."""
    return ", ".join([*places[:PLACES], *(["..."] if len(places) > PLACES else [])])
