"""Profiled steps: the first and the last step of `10..13`."""

from __future__ import annotations

import re

_FORM = re.compile(r"(\d+)(?:\.\.(\d+))?")


def parse(text: str) -> tuple[int, int] | None:
    """(first, last) of `10..13`, or of `10` alone; None for what is no range of steps from 1 on."""
    match = _FORM.fullmatch(text.strip())
    if not match:
        return None
    first, last = int(match[1]), int(match[2] or match[1])
    return (first, last) if 1 <= first <= last else None


def outside(text: str, total: int) -> str:
    """The complaint about a range whose last step a run of `total` steps does not have; empty where it has."""
    steps = parse(text)
    if steps is None or steps[1] <= total:
        return ""
    return f"train.profile: {text} is outside of the run, which has {total:,} steps. Give steps up to {total}."
