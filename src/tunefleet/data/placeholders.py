"""Was a prompt template left unfilled: finds the same {placeholder} in many rows."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from tunefleet.data.conversation import Conversation

# {{ name }}, {name}, <NAME>; not \begin{array}, ${name}, x_{max}, or {x}, which mathematics and code are full of.
_PLACEHOLDER = re.compile(r"\{\{ ?[A-Za-z_]\w+ ?\}\}|(?<![\w\\$^{}])\{[A-Za-z_]\w+\}|<[A-Z][A-Z0-9_]{2,}>")


def unfilled(conversations: Sequence[Conversation], most: float) -> dict[str, list[str]]:
    """{placeholder: where it stands} for those that more than the share `most` of the conversations hold.

    One row may speak about {name}; a template that nobody filled says it again and again.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for conversation in conversations:
        for placeholder in {word for turn in conversation.turns for word in _in(turn.content)}:
            found[placeholder].append(conversation.where)
    return {word: places for word, places in sorted(found.items()) if len(places) > most * len(conversations)}


def _in(text: str) -> list[str]:
    return _PLACEHOLDER.findall(text) if "{" in text or "<" in text else []
