"""Which key did the user mean: the nearest of ours, the same word in another group, or another tool's spelling."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from tunefleet.base.units import Cadence, Duration
from tunefleet.config.spellings import ours


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest known word, else the list of them."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1)
    return f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(names)}."


def for_key(key: str, where: str, siblings: Sequence[str], root: type[Any]) -> str:
    """What to type instead of the unknown `key` of the group `where`, whose keys are `siblings`."""
    meant = nearest(key, root, where, siblings)
    return f" Did you mean '{meant}'?" if meant else did_you_mean(key, siblings)


def nearest(key: str, root: type[Any], where: str = "", siblings: Sequence[str] = ()) -> str | None:
    """The full key of `root` that `key` stands for, with a value where it is a choice; None where none is near."""
    keys = every_key(typing.cast(Hashable, root))
    elsewhere = [full for full in keys if full.rpartition(".")[2] == key]
    theirs = ours(key)
    near = difflib.get_close_matches(key, siblings, n=1)
    leaves = {full.rpartition(".")[2]: full for full in reversed(keys)}
    far = difflib.get_close_matches(key, leaves, n=1, cutoff=0.8)
    candidates = [
        *elsewhere,
        *([theirs] if theirs and theirs.split()[0].split("=")[0].split(".")[0] in keys else []),
        *(f"{where}.{name}" if where else name for name in near),
        *(leaves[name] for name in far),
    ]
    return candidates[0] if candidates else None


@cache
def every_key(root: Any) -> tuple[str, ...]:
    """Every key below `root` as it is typed, groups included, the shallowest first: `optimizer`, `optimizer.lr`."""
    return tuple(sorted(_keys(root, ""), key=lambda key: key.count(".")))


def _keys(cls: type[Any], where: str) -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    nested = []
    for declared in fields(cls):
        kind = hints[declared.name]
        yield f"{where}{declared.name}"
        if isinstance(kind, type) and is_dataclass(kind) and kind not in (Duration, Cadence):
            nested.append((kind, f"{where}{declared.name}."))
    for kind, inner in nested:
        yield from _keys(kind, inner)
