"""Reads what the real package of W&B has written for a run that is offline: its `.wandb` file, record by record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK, _HEADER, _FILE_HEADER = 32768, 7, 7  # LevelDB's log format, behind W&B's own first bytes
_WHOLE, _LAST = 1, 4


@dataclass
class OfflineRun:
    """What one start of a run would send to the server."""

    id: str = ""
    name: str = ""
    group: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    steps: list[int] = field(default_factory=list)
    exit_code: int | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    """What each of `steps` holds, but W&B's own keys."""
    config: dict[str, Any] = field(default_factory=dict)
    alerts: list[str] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    """Those that are no tables."""


def offline_runs(run_dir: Path) -> list[OfflineRun]:
    """The starts of a run, oldest first."""
    return [
        _read(path) for path in sorted(run_dir.glob("wandb/offline-run-*/*.wandb"), key=lambda p: p.stat().st_mtime)
    ]


def _read(path: Path) -> OfflineRun:
    run = OfflineRun()
    for content in _contents(path.read_bytes()):
        record = Record.FromString(content)
        if record.HasField("run"):
            run.id, run.name, run.group = record.run.run_id, record.run.display_name, record.run.run_group
            run.config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        for item in record.summary.update:
            run.summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        if record.HasField("history"):
            run.steps.append(record.history.step.num)
            items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
            run.history.append({key: json.loads(text) for key, text in items.items() if not key.startswith("_")})
        if record.HasField("alert"):
            run.alerts.append(f"{record.alert.level} {record.alert.title}: {record.alert.text}")
        if record.HasField("artifact") and "table" not in record.artifact.type:
            run.artifacts.append(record.artifact.name)
        if record.HasField("exit"):
            run.exit_code = record.exit.exit_code
    return run


def _contents(data: bytes) -> Iterator[bytes]:
    place, parts = _FILE_HEADER, b""
    while place + _HEADER <= len(data):
        if _BLOCK - place % _BLOCK < _HEADER:  # too little for a header: filled up with zeros
            place += _BLOCK - place % _BLOCK
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (_WHOLE, _LAST):
            yield parts
            parts = b""
