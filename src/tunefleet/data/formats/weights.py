"""Weight of a message: whether it is in the loss, by weight (OpenAI), train, training (axolotl) and the like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefleet.base.errors import DataError
from tunefleet.data.formats.keys import DESIRABLE, TURN_WEIGHTS


def in_loss(message: Mapping[str, Any], location: str, is_answer: bool = True) -> bool:
    """Whether every spelling that the message has says 1, as a message without any is in the loss.

    Raises `DataError` for any other value: a token is in the loss or it is not, so that the loss of a step stays a
    sum over its tokens; and for a message other than an answer that is to be in it.
    """
    is_in_loss = True
    for key in TURN_WEIGHTS:
        weight = message.get(key)
        if weight is None:
            continue
        if not isinstance(weight, bool | int | float) or weight not in (0, 1):
            raise DataError(
                f"{location}: {key} is {weight!r}. Use 1 to put the message into the loss, 0 to leave it out."
            )
        if weight and not is_answer and key != "weight":
            raise DataError(
                f"{location}: {key} is {weight!r} and only answers can be in the loss. Take it out, or use "
                "data.train_on=all, which puts everything into it."
            )
        is_in_loss = is_in_loss and bool(weight)
    return is_in_loss


def is_desirable(row: Mapping[str, Any], location: str) -> bool:
    """Whether the row is a good example, as KTO writes it in `label`: true or false. Raises `DataError`."""
    for key in DESIRABLE:
        label = row.get(key)
        if isinstance(label, str) and label.lower() in ("true", "false"):
            label = label.lower() == "true"
        if label is None or isinstance(label, bool):
            if label is False:
                return False
        elif isinstance(label, int | float):
            raise DataError(
                f"{location}: {key} is {label!r}; here it says whether the answer is a good example, true or false. "
                f"If it means something else, leave it out with data.ignore_columns=[{key}]."
            )
    return True
