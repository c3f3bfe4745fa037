"""Inbox of a sweep: what users ask for, a file each, until whoever advances the sweep writes it into the journal."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefleet.base import files


@dataclass(frozen=True)
class Act:
    """What one user asks for: stop, resume, retry, pin or extend. `path` is its file."""

    id: str
    kind: str
    data: Mapping[str, Any]
    path: Path


def put(inbox: Path, kind: str, **data: Any) -> Act:
    """Writes an act down. It is done by whoever advances the sweep next, once, however often that is broken off."""
    name = f"{time.time_ns():020d}-{secrets.token_hex(3)}"
    path = inbox / f"{name}.json"
    files.write_json(path, {"kind": kind, "data": data})
    return Act(name, kind, data, path)


def acts(inbox: Path) -> list[Act]:
    """Those that wait, in the order in which they came; a file that is no act is passed over."""
    read = (_act(path) for path in sorted(inbox.glob("*.json")))
    return [act for act in read if act]


def _act(path: Path) -> Act | None:
    try:
        record = files.read_json(path)
        return Act(path.stem, str(record["kind"]), dict(record["data"]), path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
