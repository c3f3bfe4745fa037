"""Does a message learn: reads its `weight`, 0 or 1, as OpenAI's fine-tuning format has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefleet.base.errors import DataError


def learns(message: Mapping[str, Any], where: str) -> bool:
    """Whether the message has weight 1, as one without a weight has. It is asked of answers only.

    Raises `DataError` for any other weight: a token learns or it does not, so that the loss of a step stays
    a sum over learning tokens.
    """
    weight = message.get("weight")
    if weight is None:
        return True
    if isinstance(weight, bool | int | float) and weight in (0, 1):
        return bool(weight)
    raise DataError(f"{where}: weight is {weight!r}. Use 1 to learn the message, 0 to leave it out of the loss.")
