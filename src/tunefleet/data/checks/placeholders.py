"""Was a prompt template left unfilled: finds the same {placeholder} in many rows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tunefleet.data.formats.conversation import Conversation

# {{ name }}, {name}, <NAME>; not \begin{array}, ${name}, x_{max}, or {x}, which mathematics and code are full of.
_PLACEHOLDER = re.compile(r"\{\{ ?[A-Za-z_]\w+ ?\}\}|(?<![\w\\$^{}])\{[A-Za-z_]\w+\}|<[A-Z][A-Z0-9_]{2,}>")
_PLACES = 4  # of each placeholder that are remembered


@dataclass
class Found:
    """How many conversations hold a placeholder, and where the first of them stand."""

    count: int = 0
    places: list[str] = field(default_factory=list)


class Placeholders:
    """Those of many conversations."""

    def __init__(self) -> None:
        self.conversations = 0
        self.most = 0
        """Conversations with the same one, at most."""
        self._found: dict[str, Found] = {}

    def see(self, conversation: Conversation) -> None:
        """Looks at one of them."""
        self.conversations += 1
        for placeholder in {word for turn in conversation.turns for word in _in(turn.content)}:
            found = self._found.setdefault(placeholder, Found())
            found.count += 1
            self.most = max(self.most, found.count)
            if len(found.places) < _PLACES:
                found.places.append(conversation.where)

    def unfilled(self, most: float, of: int | None = None) -> dict[str, Found]:
        """Those that more than the share `most` of the conversations hold, or of so many.

        One row may speak about {name}; a template that nobody filled says it again and again.
        """
        limit = most * (self.conversations if of is None else of)
        return {word: found for word, found in sorted(self._found.items()) if found.count > limit}


def _in(text: str) -> list[str]:
    return _PLACEHOLDER.findall(text) if "{" in text or "<" in text else []
