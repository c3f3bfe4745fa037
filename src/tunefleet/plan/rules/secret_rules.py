"""Rules of secrets: no setting holds one, since settings are saved with the run, tracked and shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunefleet.base import secrets
from tunefleet.config import RunConfig
from tunefleet.config.load import dump

_NEXT_MOVE = (
    "Settings are saved in plan.json and shown. Leave it out: programs find it in the environment (HF_TOKEN, "
    "WANDB_API_KEY) or in ~/.netrc, and a line of launch.setup may read it: export HF_TOKEN=$(cat FILE)."
)


def complaints(config: RunConfig) -> list[str]:
    """Of every setting that holds a secret; the secret itself is not repeated."""
    return [f"{key}: {shown!r} holds a secret. {_NEXT_MOVE}" for key, shown in _redacted_settings(dump(config))]


def in_overrides(overrides: Sequence[str]) -> list[str]:
    """Of everything typed that holds a secret, whatever became of it: it is saved as it was typed."""
    shown = ((text, secrets.redacted(text)) for text in overrides)
    return [f"{redacted}: holds a secret. {_NEXT_MOVE}" for text, redacted in shown if text != redacted]


def _redacted_settings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """(key, its value without the secret) of every setting that holds one."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _redacted_settings(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _redacted_settings(item, key)
    elif (shown := secrets.redacted_values(value, key)) != value:
        yield secrets.redacted(key), shown
