"""File notes: a few locations of each kind, taken while rows stream by, for the errors at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from tunefleet.data.checks.placeholders import Placeholders
from tunefleet.data.encode.long_rows import Encoded
from tunefleet.data.encode.stream import EncodedConversation
from tunefleet.data.formats.conversation import Conversation

LOCATIONS = 3
"""That an error names."""


class FileNote:
    """What was read from one file, for one source of a mixture."""

    def __init__(self, name: str, source: str) -> None:
        self.name = f"{source}: {name}" if source else name
        self.source = source
        self.path = name
        self.placeholders = Placeholders()
        self._locations: defaultdict[str, dict[str, None]] = defaultdict(dict)

    def add(self, conversation: Conversation, parts: Sequence[Encoded]) -> None:
        """Remembers a conversation of the file."""
        location = f"{self.source}: {conversation.location}" if self.source else conversation.location
        for kind in _KINDS:
            locations = self._locations[kind]
            if len(locations) <= LOCATIONS and any(map(_KINDS[kind], parts)):
                locations[location] = None
        if not conversation.is_text:
            self.placeholders.add(conversation)

    def locations(self, kind: str) -> list[str]:
        """The first few locations of a kind: read, with_targets, long."""
        return list(self._locations[kind])


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

    def locations(self, kind: str) -> list[str]:
        """Of every source the first locations before any second one, so that each source of a mixture is named."""
        by_source: defaultdict[str, list[str]] = defaultdict(list)
        for file in self.files:
            by_source[file.source] += file.locations(kind)
        return list(dict.fromkeys(_in_turns(list(by_source.values()))))


def _in_turns(lists: Sequence[Sequence[str]]) -> Iterator[str]:
    return (location for turn in zip_longest(*lists) for location in turn if location)


def listed(locations: Sequence[str]) -> str:
    """The first few, and whether there are more."""
    return ", ".join([*locations[:LOCATIONS], *(["..."] if len(locations) > LOCATIONS else [])])
