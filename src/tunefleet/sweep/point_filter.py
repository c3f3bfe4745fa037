"""Filter of a sweep: a small expression over settings that every point must satisfy."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.load import dump

_LONGEST = 1000
_ALLOWED = "Allowed: settings, numbers, texts, lists, + - * / // % **, comparisons, in, and, or, not."
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda base, exponent: float(base) ** float(exponent),  # of whole numbers it may be endless
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
_CONSTANTS = {"true": True, "false": False, "null": None}

Lookup = Callable[[str], Any]
"""The value of a setting by its key."""


@dataclass(frozen=True)
class Filter:
    """An expression as it was typed, its syntax tree, and the settings that it names."""

    text: str
    tree: ast.expr
    names: frozenset[str]

    @staticmethod
    def parse(text: str) -> Filter:
        """Raises `ConfigError` where the expression holds anything but comparisons and arithmetic."""
        try:
            if len(text) > _LONGEST:
                raise ValueError(f"it is longer than {_LONGEST} characters")
            tree = ast.parse(text.strip(), mode="eval").body
            return Filter(text, tree, frozenset(_names(tree)))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise ConfigError(f"sweep.filter: {text!r}: {reason}. {_ALLOWED}") from None

    def refusal(self, lookup: Lookup) -> str:
        """Why a point with these settings is left out; empty where it satisfies the expression."""
        try:
            return "" if _value(self.tree, lookup) else f"filter: not {self.text}"
        except (TypeError, ValueError, ArithmeticError, LookupError) as error:
            return f"filter: {self.text} cannot be computed: {error}"


def typed_value(text: str) -> Any:
    """What a drawn text means in an expression: a number, a switch, null, or a text."""
    lowered = text.strip().lower()
    if lowered in _CONSTANTS:
        return _CONSTANTS[lowered]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip("'\"")


def settings_of(config: RunConfig) -> Lookup:
    """The settings of a composed run by their keys, for points that do not set them: numbers, switches and texts."""

    def lookup(name: str) -> Any:
        value: Any = config
        for part in name.split("."):
            value = value[part] if isinstance(value, Mapping) else getattr(value, part)
        value = dump(value)
        return typed_value(value) if isinstance(value, str) else value

    return lookup


def _names(node: ast.expr) -> set[str]:
    """The settings below `node`. Raises `ValueError` at what is not allowed."""
    name = _dotted(node)
    if name is not None:
        return set() if name in _CONSTANTS else {name}
    return set().union(*map(_names, _parts(node)))


def _parts(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.Constant(int() | float() | str() | None):
            return []
        case ast.BoolOp(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
            return parts
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=part):
            return [part]
        case ast.BinOp(left=first, op=sign, right=second) if type(sign) in _ARITHMETIC:
            return [first, second]
        case ast.Compare(left=first, ops=signs, comparators=operands) if all(
            type(sign) in _COMPARISONS for sign in signs
        ):
            return [first, *operands]
    raise ValueError(f"{ast.unparse(node)!r} is not allowed")


def _dotted(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=name):
            outer = _dotted(inner)
            return None if outer is None else f"{outer}.{name}"
    return None


def _value(node: ast.expr, lookup: Lookup) -> Any:
    name = _dotted(node)
    if name is not None:
        return _CONSTANTS[name] if name in _CONSTANTS else lookup(name)
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return [_value(part, lookup) for part in parts]
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, lookup) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, lookup) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not _value(part, lookup)
        case ast.UnaryOp(op=sign, operand=part):
            return _number(_value(part, lookup)) * (-1 if isinstance(sign, ast.USub) else 1)
        case ast.BinOp(left=first, op=operation, right=second):
            return _ARITHMETIC[type(operation)](_number(_value(first, lookup)), _number(_value(second, lookup)))
        case ast.Compare(left=first, ops=signs, comparators=operands):
            return _compare(_value(first, lookup), signs, operands, lookup)
    raise ValueError(f"{ast.unparse(node)!r} is not allowed")


def _compare(first: Any, signs: list[ast.cmpop], operands: list[ast.expr], lookup: Lookup) -> bool:
    for sign, node in zip(signs, operands, strict=True):
        second = _value(node, lookup)
        if not _COMPARISONS[type(sign)](first, second):
            return False
        first = second
    return True


def _number(value: Any) -> float:
    """Arithmetic is for numbers: a text times a million would fill the memory."""
    if isinstance(value, int | float):
        return value
    raise TypeError(f"{value!r} is not a number")
