"""Placeholders that a prompt template left unfilled: the same {placeholder} in many rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tunefleet.data.formats.conversation import Conversation

# {{ name }}, {name}, <NAME>; not \begin{array}, ${name}, x_{max}, or {x}, which mathematics and code are full of.
_PLACEHOLDER = re.compile(r"\{\{ ?[A-Za-z_]\w+ ?\}\}|(?<![\w\\$^{}])\{[A-Za-z_]\w+\}|<[A-Z][A-Z0-9_]{2,}>")
_LOCATIONS = 4  # of each placeholder that are remembered


@dataclass
class Occurrences:
    """How many conversations hold a placeholder, and where the first of them stand."""

    count: int = 0
    locations: list[str] = field(default_factory=list)


class Placeholders:
    """Those of many conversations."""

    def __init__(self) -> None:
        self.conversations = 0
        self.most = 0
        """Conversations with the same one, at most."""
        self._occurrences: dict[str, Occurrences] = {}

    def add(self, conversation: Conversation) -> None:
        """Counts those of another one."""
        self.conversations += 1
        for placeholder in {p for turn in conversation.turns for p in _in(turn.content)}:
            occurrences = self._occurrences.setdefault(placeholder, Occurrences())
            occurrences.count += 1
            self.most = max(self.most, occurrences.count)
            if len(occurrences.locations) < _LOCATIONS:
                occurrences.locations.append(conversation.location)

    def unfilled(self, most: float, total: int | None = None) -> dict[str, Occurrences]:
        """Those that more than the share `most` of the conversations hold, or of `total`.

        One row may speak about {name}; a template that nobody filled says it again and again.
        """
        limit = most * (self.conversations if total is None else total)
        return {
            name: occurrences for name, occurrences in sorted(self._occurrences.items()) if occurrences.count > limit
        }


def _in(text: str) -> list[str]:
    return _PLACEHOLDER.findall(text) if "{" in text or "<" in text else []
