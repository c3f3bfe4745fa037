"""Refused updates: what `batches.jsonl` of a run says of them."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

from tunefleet.base import files
from tunefleet.base.paths import RunPaths
from tunefleet.base.units import singular

_LEFT_OUT = ("skip", "rewind")  # a run that stops leaves nothing out


def summary(run: RunPaths, count: int) -> str:
    """ "2 updates left out: 1 NaN, 1 spike; rows in batches.jsonl" of `count` updates; "" where there were none.

    The kinds are named where the file knows as many.
    """
    if not count:
        return ""
    by_position = {str(record.get("position")): record for record in _records(run)}  # one that came again counts once
    left_out = [record for record in by_position.values() if record.get("act") in _LEFT_OUT]
    kinds = Counter(str(record.get("kind", "other")) for record in left_out)
    listed = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return (
        singular(f"{count} updates")
        + " left out"
        + (f": {listed}; rows in {run.batches.name}" if len(left_out) == count else "")
    )


def _records(run: RunPaths) -> list[dict[str, Any]]:
    with suppress(OSError):
        return files.read_records(run.batches)
    return []
