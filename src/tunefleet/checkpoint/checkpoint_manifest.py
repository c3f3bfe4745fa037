"""Manifest: what a checkpoint is, and the checksum of each of its files; the last file that is written into it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.base.checksums import Checksum, is_checksum
from tunefleet.contracts import RunState

FILE = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """A checkpoint's state, the run's identity, the number of ranks that saved it, and when (seconds since 1970).

    `files` has the checksum of every file but the manifest. `evaluation` is what was measured at its step before it was
    saved, as `SPLIT/loss`; `early_stopping` is what that needs of earlier evaluations. `trajectory` is the run's,
    whatever its strategy. `digest` is the SHA-256 of the manifest's own bytes.
    """

    state: RunState
    identity: str
    ranks: int
    saved: float
    files: dict[str, Checksum]
    evaluation: Mapping[str, float] = field(default_factory=dict)
    early_stopping: Mapping[str, float] = field(default_factory=dict)
    trajectory: str = ""
    digest: str = ""

    @property
    def size(self) -> int:
        """Bytes of all its files but the manifest."""
        return sum(int(checksum[0]) for checksum in self.files.values())


def write(folder: Path, manifest: Manifest) -> str:
    """Writes it into the checkpoint `folder`, and it is on the disk; returns its digest."""
    record = asdict(manifest)
    del record["digest"]
    text = json.dumps(record, indent=2) + "\n"
    files.write_text(folder / FILE, text)
    return hashlib.sha256(text.encode()).hexdigest()


def read(folder: Path) -> Manifest:
    """The manifest in the checkpoint `folder`. Raises `ValueError`, with the reason, where it can be none."""
    try:
        content = files.read_bytes(folder / FILE)
        record = files.parse_json(content)
        state = _state(record["state"])
        saved = record.get("saved")
        return Manifest(
            state,
            _checked(record, "identity", str),
            _checked(record, "ranks", int),
            float(saved) if isinstance(saved, int | float) else 0.0,
            _files(record),
            _numbers(record, "evaluation"),
            _numbers(record, "early_stopping"),
            str(record.get("trajectory", "")),
            hashlib.sha256(content).hexdigest(),
        )
    except OSError as error:
        raise ValueError(f"{folder / FILE}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{folder / FILE}: cannot be read: {reason}") from None


def is_complete(folder: Path) -> bool:
    """Whether every file of the checkpoint in `folder` is there in the size that its manifest has."""
    try:
        saved = read(folder)
        return all((folder / name).stat().st_size == checksum[0] for name, checksum in saved.files.items())
    except (OSError, ValueError):
        return False


def _state(record: Any) -> RunState:
    state = RunState(**{name: _tuples(value) for name, value in record.items()})
    for declared in fields(RunState):
        value = getattr(state, declared.name)
        if not _STATE.get(declared.name, _is_count)(value):
            raise ValueError(f"{declared.name} is {value!r}")
    return state


def _tuples(value: Any) -> Any:
    """JSON has lists only."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_counts(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_count, value))


def _are_pairs(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and all(type(number) is float for number in pair) for pair in value
    )


_STATE = {"left_out": _are_counts, "recent": _are_pairs}


def _checked(record: dict[str, Any], key: str, kind: type) -> Any:
    if type(record[key]) is not kind or not record[key]:
        raise ValueError(f"{key} is {json.dumps(record[key])}")
    return record[key]


def _numbers(record: dict[str, Any], key: str) -> dict[str, float]:
    """Numbers by name; none in a manifest of an older version."""
    numbers: dict[str, float] = record.get(key, {})
    if any(type(value) not in (int, float) or not math.isfinite(value) for value in numbers.values()):
        raise ValueError(f"{key} is {json.dumps(numbers)}")
    return numbers


def _files(record: dict[str, Any]) -> dict[str, Checksum]:
    checksums: dict[str, Checksum] = _checked(record, "files", dict)
    if changed := [name for name, value in checksums.items() if not is_checksum(value)]:
        raise ValueError(f"files has no checksum of {changed[0]}")
    return checksums
