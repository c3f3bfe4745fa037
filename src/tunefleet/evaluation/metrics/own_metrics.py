"""Own metrics: functions of the user's project that measure answers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunefleet.base import own_code
from tunefleet.base.own_code import OwnCodeError


def expect(names: Sequence[str]) -> None:
    """Expects that all of them can be imported. Raises `OwnCodeError`, before anything is trained."""
    for name in names:
        own_code.load(name)


def measured(names: Sequence[str], answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """{name of the function: its value} of answers and references, without the white space around them; more is better.

    Raises `OwnCodeError`, also for what a function raises, and for what is no number.
    """
    return {own_code.object_name(name): _value(name, answers, references) for name in names}


def _value(name: str, answers: Sequence[str], references: Sequence[str]) -> float:
    function = own_code.load(name)
    try:
        value = float(function([text.strip() for text in answers], [text.strip() for text in references]))
    except Exception as error:
        raise OwnCodeError(f"{name} raised {type(error).__name__}: {error}.") from error
    if not math.isfinite(value):
        raise OwnCodeError(f"{name} returned {value}, which is no number to compare.")
    return value
