"""Suggestions for an unknown key: the nearest of ours, its name in another group, or another tool's spelling."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from tunefleet.base.units import Cadence, Duration
from tunefleet.config.spellings import our_spelling


def did_you_mean(name: str, known_names: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest known name, else the list of them."""
    names = list(known_names)
    close = difflib.get_close_matches(name, names, n=1)
    return f" Did you mean '{close[0]}'?" if close else f" Known: {', '.join(names)}."


def for_key(key: str, group: str, siblings: Sequence[str], root: type[Any]) -> str:
    """What to type instead of the unknown `key` of `group`, whose keys are `siblings`."""
    full_key = nearest(key, root, group, siblings)
    return f" Did you mean '{full_key}'?" if full_key else did_you_mean(key, siblings)


def for_setting(full_key: str, root: type[Any]) -> str:
    """`unknown key.` with what to type instead, where `root` has no such setting; empty where it has."""
    kind: Any = root
    group = ""
    for name in full_key.split("."):
        if name.isdecimal() and (item := _item(kind)):  # data.mix.0.weight
            kind, group = item, f"{group}.{name}"
            continue
        if not (isinstance(kind, type) and is_dataclass(kind)) or kind in (Duration, Cadence):
            return "" if _is_open(kind) else f"unknown key: {group} is one value."
        if name not in (names := [declared.name for declared in fields(kind)]):
            close = difflib.get_close_matches(full_key, every_key(typing.cast(Hashable, root)), n=1, cutoff=0.8)
            return f"unknown key.{did_you_mean(full_key, close) if close else for_key(name, group, names, root)}"
        kind, group = typing.get_type_hints(kind)[name], f"{group}.{name}" if group else name
    return ""


def _item(kind: Any) -> Any:
    """What a list of settings holds; None for what is no list."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None


def _is_open(kind: Any) -> bool:
    """Whether users name its keys themselves."""
    return kind is Any or dict in [typing.get_origin(member) for member in (kind, *typing.get_args(kind))]


def nearest(key: str, root: type[Any], group: str = "", siblings: Sequence[str] = ()) -> str | None:
    """The full key of `root` that `key` stands for, with a value where it is a choice; None where none is near."""
    keys = every_key(typing.cast(Hashable, root))
    same_name = [full for full in keys if full.rpartition(".")[2] == key]
    translated = our_spelling(key)
    close = difflib.get_close_matches(key, siblings, n=1)
    leaves = {full.rpartition(".")[2]: full for full in reversed(keys)}
    far = difflib.get_close_matches(key, leaves, n=1, cutoff=0.8)
    candidates = [
        *same_name,
        *([translated] if translated and translated.split()[0].split("=")[0].split(".")[0] in keys else []),
        *(f"{group}.{name}" if group else name for name in close),
        *(leaves[name] for name in far),
    ]
    return candidates[0] if candidates else None


@cache
def every_key(root: Any) -> tuple[str, ...]:
    """Every key below `root` as it is typed, groups included, the shallowest first: `optimizer`, `optimizer.lr`."""
    return tuple(sorted(_keys(root, ""), key=lambda key: key.count(".")))


def _keys(cls: type[Any], prefix: str) -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    nested = []
    for declared in fields(cls):
        kind = hints[declared.name]
        yield f"{prefix}{declared.name}"
        if isinstance(kind, type) and is_dataclass(kind) and kind not in (Duration, Cadence):
            nested.append((kind, f"{prefix}{declared.name}."))
    for kind, inner in nested:
        yield from _keys(kind, inner)
