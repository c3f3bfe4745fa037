"""Definition of a sweep: what is searched, and what composes its trials wherever it is advanced; never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.config.launch import Launcher
from tunefleet.config.load import dump, leaves, load
from tunefleet.config.sweep import SweepConfig
from tunefleet.plan.processes.machine import Machine
from tunefleet.sweep.study import Study

VERSION = 1
_SHOWN = 5  # differences that a message names
LIMITS = ("trials", "gpu_hours", "in_flight", "max_failures", "max_failure_share")
"""What may change while the sweep goes on."""


@dataclass(frozen=True)
class Definition:
    """A sweep as it began. `typed` is what the user typed, `overrides` are the arguments that every trial begins with.

    Both are composed in `folder`, where the sweep was opened, so that relative paths keep their meaning. `machine` is
    what trials are planned with. `composed` holds the settings that they begin with, by choice of a searched group;
    "" is without any.
    """

    name: str
    created: str
    sweep: SweepConfig
    typed: tuple[str, ...]
    overrides: tuple[str, ...]
    folder: str
    outputs: str
    machine: Machine = Machine()
    composed: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION

    @property
    def on_slurm(self) -> bool:
        """Whether its trials are SLURM jobs."""
        return bool(self.composed.get("", {}).get("launch", {}).get("name") == Launcher.SLURM.value)

    def save(self, path: Path) -> None:
        """Writes it, atomically."""
        files.write_json(path, dump(self))

    @staticmethod
    def read(path: Path) -> Definition:
        """The definition at `path`. Raises `RunError` where there is none, or one that this version cannot read."""
        name = path.parent.name
        try:
            record = files.read_json(path)
            if record.get("version", VERSION) > VERSION:
                raise RunError(
                    f"{name}: was begun by a newer version of tunefleet (its definition is of version "
                    f"{record['version']}, this one reads up to {VERSION}). Advance it with that version."
                )
            return load(Definition, record)
        except FileNotFoundError:
            raise RunError(f"{name}: is no search: it has no definition.json.") from None
        except ConfigError as error:
            raise RunError(f"{path}: of another version of tunefleet: {error.complaints[0]}") from None
        except (OSError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{path}: cannot be read: {error}.") from None

    def effective(self, study: Study) -> SweepConfig:
        """The search with the limits that it has now, after all that extended it."""
        return replace(self.sweep, **{key: value for key, value in study.limits.items() if key in LIMITS})

    def overrides_of_space(self, study: Study) -> list[str]:
        """What was typed about the space, at the beginning and since; the last word of a key counts."""
        return [*self.typed, *(f"{key}={text}" for key, text in study.limits.get("space", {}).items())]


def differences(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Settings that have other values now than when the sweep began; a setting that is new since then is none."""
    earlier, later = _settings(recorded), _settings(current)
    return [f"{key} was {value!r}, is {later.get(key)!r}" for key, value in earlier.items() if later.get(key) != value]


def expect_unchanged(definition: Definition, composed: Mapping[str, Any]) -> None:
    """Raises `RunError` where its trials would begin with other settings than when it was opened."""
    changed = {
        f"{choice}: " * bool(choice) + line: None
        for choice, values in composed.items()
        if choice in definition.composed
        for line in differences(definition.composed[choice], values)
    }
    if changed:
        more = f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise RunError(
            f"{definition.name}: the configuration has changed since the sweep began: "
            f"{'; '.join(list(changed)[:_SHOWN])}{more}. Its trials could not be compared. Put back what was there, "
            "or begin another sweep: sweep.name=ANOTHER; finished runs of the same settings are taken over."
        )


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in leaves(values) if value != {}}
