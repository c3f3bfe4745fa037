"""Tree format (OpenAssistant): the conversation whose answers were ranked best."""

from __future__ import annotations

from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data.formats.chat import ROLES
from tunefleet.data.formats.conversation import Turn
from tunefleet.data.read.row_fields import listed, text
from tunefleet.data.read.source_row import Row

_LAST = 1_000_000  # of a reply without a rank


def tree(row: Row) -> tuple[Turn, ...]:
    """From the root to the end of the best-ranked reply of each message, up to the last answer."""
    values = row.values
    thread = _thread(values.get("tree", values.get("prompt", values)), row.location)
    answers = [i for i, turn in enumerate(thread) if turn.role == "assistant"]
    return tuple(thread[: answers[-1] + 1] if answers else thread)


def _thread(message: Any, location: str) -> list[Turn]:
    thread: list[Turn] = []
    while message:
        thread.append(_turn(message, f"{location}: message {len(thread) + 1}"))
        replies = listed(message.get("replies"), f"{location}: message {len(thread)}: replies")
        message = min((reply for reply in replies if _stands(reply)), key=_rank, default=None)
    return thread


def _stands(reply: Any) -> bool:
    return isinstance(reply, dict) and not reply.get("deleted")


def _rank(reply: Any) -> float:
    rank = reply.get("rank")
    return rank if isinstance(rank, (int, float)) else _LAST


def _turn(message: Any, location: str) -> Turn:
    role = ROLES.get(str(message.get("role")).lower()) if isinstance(message, dict) else None
    if role not in ("user", "assistant"):
        raise DataError(f"{location} has no role prompter or assistant.")
    return Turn(role, text(message.get("text"), f"{location}: text"))
