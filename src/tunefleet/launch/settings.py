"""Settings that vary among runs, each in as few letters as tell it from the others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig, suggest
from tunefleet.launch.register import Run

_NAMING = ("name", "output_dir")  # of every run its own
_OPEN = ("model.architecture", "launch.extra", "launch.environment")  # whose keys are open


def expect_known(keys: Sequence[str], runs: Sequence[Run]) -> None:
    """Raises `ConfigError` for every key that neither this version nor one of `runs` has."""
    known_keys = set(suggest.every_key(RunConfig))
    strange = [key for key in keys if key not in known_keys and not any(key.startswith(f"{group}.") for group in _OPEN)]
    strange = [key for key in strange if all(run.setting(key) is None for run in runs)]
    if strange:
        raise ConfigError(*(f"{key}: no setting of that name.{_nearest(key)}" for key in strange))


def _nearest(key: str) -> str:
    if key in ("state", "status"):
        return " States have an option of their own: --state failed."
    like = suggest.did_you_mean(key, suggest.every_key(RunConfig)) if "." in key else ""
    if "Did you mean" in like:
        return like
    full_key = suggest.nearest(key, RunConfig)
    return (
        f" Did you mean '{full_key.partition('=')[0]}'?"
        if full_key
        else " tunefleet train --cfg job shows all of them."
    )


def differences(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Of each run {short key: value} of the settings that are not the same in all of `runs`.

    What follows from a group's choice is not repeated: with `model=a` and `model=b` their layers differ, too.
    """
    configs = [run.plan.get("config") for run in runs]
    readable = [config for config in configs if isinstance(config, dict) and config]
    columns: dict[str, tuple[str, ...]] = {}
    for key, column in sorted(_varying(readable), key=lambda pair: _choices_first(pair[0])):
        values = tuple(_text(value) for value in column)
        if key not in _NAMING and not _follows(key, values, columns):
            columns[key] = values
    short = _shortened(list(columns)).values()
    rows = zip(*columns.values(), strict=True) if columns else iter([()] * len(readable))
    return [dict(zip(short, next(rows), strict=True)) if isinstance(plain, dict) and plain else {} for plain in configs]


def _varying(groups: Sequence[Mapping[str, Any]], prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    """(key, its value in each) of the settings that all have, for versions know other keys, and not all alike."""
    for key in set(groups[0]).intersection(*groups[1:]) if groups else ():
        values = [group[key] for group in groups]
        if all(value == values[0] for value in values):
            continue
        if all(isinstance(value, dict) and value for value in values):
            yield from _varying(values, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", values


def _choices_first(key: str) -> tuple[bool, bool, str]:
    return "." in key, not key.endswith(".name"), key


def _follows(key: str, values: Sequence[str], columns: Mapping[str, Sequence[str]]) -> bool:
    """Whether a column follows from the choice of its group, or repeats another column."""
    choice = columns.get(f"{key.partition('.')[0]}.name")
    if choice and key.count(".") and len(set(zip(choice, values, strict=True))) == len(set(choice)):
        return True
    return any(list(values) == list(column) for column in columns.values())


def _shortened(keys: Sequence[str]) -> dict[str, str]:
    """`optimizer.lr` is `lr` where no other key ends so; `model.name` is `model`."""
    names = {key: key.removesuffix(".name") for key in keys}
    ends = Counter(name.rpartition(".")[2] for name in names.values())
    return {key: end if ends[end := name.rpartition(".")[2]] == 1 else name for key, name in names.items()}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace(" ", "")
