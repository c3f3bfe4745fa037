"""Loading: plain values (composed YAML, a saved plan) to typed dataclasses, with every complaint at once."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

from tunefleet.base.errors import ConfigError
from tunefleet.base.units import Cadence, Duration, Size
from tunefleet.config import suggest
from tunefleet.config.fields import NAMED, RANGE, describe_bounds, is_outside

T = TypeVar("T")
_MINUTE = 60
"""YAML reads 1:00 as 60: a smaller number can only be what was written, where a text is wanted."""
_TEXTUAL = (Duration, Cadence, Size)
"""Dataclasses that are written as a text."""


def load(cls: type[T], values: Mapping[str, Any], loaded: Mapping[str, Any] | None = None) -> T:
    """Builds `cls` from plain values. Raises `ConfigError` with one complaint for each bad key or value.

    Fields in `loaded` are taken from there, where others loaded the same values before.
    """
    complaints: list[str] = []
    built = _dataclass(cls, values, "", complaints, cls, loaded or {})
    if complaints:
        raise ConfigError(*complaints)
    return typing.cast(T, built)


def dump(value: Any) -> Any:
    """The plain values (JSON types) of a typed one; `load` reads them back.

    A dataclass with `to_json` and `from_json` says itself how it is written.
    """
    if hasattr(value, "to_json"):
        return dump(value.to_json())
    if is_dataclass(value) and not isinstance(value, _TEXTUAL):
        return {f.name: _name_of(f, getattr(value, f.name)) or dump(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: dump(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [dump(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, _TEXTUAL) else value


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every setting below `values`; an empty group is a value, too."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def literal(value: Any) -> Any:
    """Texts as they are, for a file that is composed: it would put something in the place of ${...}."""
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}
    return [literal(item) for item in value] if isinstance(value, (list, tuple)) else value


def _name_of(declared: Field[Any], value: Any) -> str | None:
    """The word that stands for a value outside the range of its field."""
    named: Mapping[str, int] = declared.metadata.get(NAMED, {})
    return next((name for name, number in named.items() if number == value), None)


@functools.cache  # it evaluates every annotation anew
def hints(cls: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    return typing.get_type_hints(cls)


def _dataclass(
    cls: type[Any],
    values: Any,
    path: str,
    complaints: list[str],
    root: type[Any],
    loaded: Mapping[str, Any] = types.MappingProxyType({}),
) -> Any:
    if not isinstance(values, Mapping):
        complaints.append(f"{path}: {values!r} is not a group of settings.")
        return None
    declared_fields = {f.name: f for f in fields(cls)}
    for key in values:
        if key not in declared_fields:
            suggestion = suggest.for_key(str(key), path, list(declared_fields), root)
            complaints.append(f"{_join(path, str(key))}: unknown key.{suggestion}")
    kinds = hints(typing.cast("Any", cls))  # mypy takes no type for hashable
    built = {
        name: loaded[name]
        if name in loaded
        else _value(kinds[name], values[name], _join(path, name), declared, complaints, root)
        for name, declared in declared_fields.items()
        if name in values
    }
    for name, declared in declared_fields.items():
        if name not in values and declared.default is MISSING and declared.default_factory is MISSING:
            complaints.append(f"{_join(path, name)}: missing.")
    return cls(**built) if not complaints else None


def _value(kind: Any, value: Any, path: str, declared: Field[Any], complaints: list[str], root: type[Any]) -> Any:
    optional = isinstance(kind, types.UnionType) and type(None) in kind.__args__
    if optional:
        if value is None:
            return None
        kind = next(member for member in kind.__args__ if member is not type(None))
    if isinstance(kind, type) and is_dataclass(kind) and kind not in _TEXTUAL and not hasattr(kind, "from_json"):
        return _dataclass(kind, value, path, complaints, root)
    if member := _listed(kind):
        return _dataclasses(member, value, path, complaints, root)
    bounds, named = declared.metadata.get(RANGE, {}), declared.metadata.get(NAMED, {})
    if isinstance(value, str) and value in named:
        return named[value]
    try:
        converted = _convert(kind, value)
        if bounds and is_outside(converted, bounds):
            raise ValueError
        return converted
    except (ValueError, TypeError):
        allowed = _allowed(kind) + (f" {describe_bounds(bounds)}" if bounds else "")
        allowed += "".join(f", or {name}" for name in [*named, *["null"] * optional])
        complaints.append(f"{path}: {value!r} is not allowed. Allowed: {allowed}.{_quotes(kind, value)}")
        return None


def _quotes(kind: Any, value: Any) -> str:
    """The next move where YAML made a number of a text: what was written is gone."""
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else [value]
    is_text = kind is str or str in typing.get_args(kind)[-1:] or typing.get_args(kind) == (str, Ellipsis)
    if not is_text or not any(type(item) in (int, float) for item in values):
        return ""
    return " YAML reads 12:00:00, 1e5 and 2024_11_28 as numbers: write such a text in quotes."


def _listed(kind: Any) -> type[Any] | None:
    """The dataclass that `kind` is a tuple of."""
    members = typing.get_args(kind) if typing.get_origin(kind) is tuple else ()
    member: Any = members[0] if members else None
    return typing.cast("type[Any]", member) if is_dataclass(member) and member not in _TEXTUAL else None


def _dataclasses(cls: type[Any], values: Any, path: str, complaints: list[str], root: type[Any]) -> tuple[Any, ...]:
    if not isinstance(values, (list, tuple)):
        complaints.append(f"{path}: {values!r} is not allowed. Allowed: a list of groups of settings.")
        return ()
    return tuple(_dataclass(cls, value, f"{path}[{i}]", complaints, root) for i, value in enumerate(values))


def _convert(kind: Any, value: Any) -> Any:
    origin = typing.get_origin(kind)
    if kind is Any or kind is None:
        return value
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if hasattr(kind, "from_json"):
        return kind.from_json(value) if isinstance(value, Mapping) else _refuse()
    if kind in _TEXTUAL:
        return kind.parse(value)
    if origin is tuple:
        return _tuple(typing.get_args(kind), value)
    if origin is dict or kind is dict:
        kinds = typing.get_args(kind) or (str, Any)
        return {str(k): _convert(kinds[1], v) for k, v in value.items()} if isinstance(value, Mapping) else _refuse()
    return _scalar(kind, value)


def _scalar(kind: type[Any], value: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is str and type(value) is int and 0 <= value < _MINUTE:
        return str(value)
    if type(value) is not kind or value != value:
        return _refuse()
    return value


def _tuple(members: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        return _refuse()
    if len(members) == 2 and members[1] is Ellipsis:
        return tuple(_convert(members[0], item) for item in value)
    if len(members) != len(value):
        return _refuse()
    return tuple(_convert(member, item) for member, item in zip(members, value, strict=True))


def _refuse() -> typing.NoReturn:
    raise ValueError


def _allowed(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " | ".join(str(member.value) for member in kind)
    if kind is Duration:
        return "a duration such as 100 (steps), 0.5 epochs or 3%"
    if kind is Size:
        return "a size such as 200 GB or 1.5 TiB"
    if kind is Cadence:
        return "a cadence such as 100 (steps), 0.5 epochs, 20%, 30 minutes, or `20% or 1 epoch`"
    if typing.get_origin(kind) is tuple:
        return "a list of " + _allowed(typing.get_args(kind)[0])
    if typing.get_origin(kind) is dict and typing.get_args(kind)[1] is str:
        return "a group of words, each with a text"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(kind, "a group of settings")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
