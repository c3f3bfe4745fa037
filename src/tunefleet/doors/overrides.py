"""Overrides: Hydra's grammar, in which a text setting keeps the text that was typed."""

from __future__ import annotations

import re
import shlex
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

from antlr4 import CommonTokenStream, InputStream
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
from hydra.core.override_parser.types import Key, Override, Quote, QuotedString
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.load import hints

_KEEPS_TEXT = ("choice", "shuffle", "sort", "tag", "str")  # of Hydra's functions those whose arguments are values
_SPLIT = re.compile(r"(?P<key>[~+]{0,2}[A-Za-z_$][\w.\-/@:$]*)=(?P<value>.*)", re.DOTALL)
_CLOSES = {"[": "]", "{": "}"}


def parse(text: str) -> Override:
    """One override. Raises `ConfigError` with the key, and the text as it must be typed."""
    return replace(_parsed(text))


def parse_all(texts: Iterable[str], complaints: list[str]) -> list[Override]:
    """Those that Hydra's grammar takes; the complaints about the others are added to `complaints`."""
    parsed = []
    for text in texts:
        try:
            parsed.append(parse(text))
        except ConfigError as error:
            complaints += error.complaints
    return parsed


@lru_cache(maxsize=4096)  # the points of a grid share most of their overrides
def _parsed(text: str) -> Override:
    try:
        override = _Parser(create_functions()).parse_rule(text, "override")
    except (HydraException, ValueError) as error:
        raise ConfigError(_complaint(text, error)) from None
    assert isinstance(override, Override)
    return override


class _Parser(OverridesParser):
    """Hydra's parser with our visitor."""

    def parse_rule(self, s: str, rule_name: str) -> Any:
        """As Hydra's own, which names its visitor in the code."""
        listener = HydraErrorListener()
        lexer = OverrideLexer(InputStream(s))
        lexer.removeErrorListeners()
        lexer.addErrorListener(listener)
        if rule_name == "value":
            lexer.mode(OverrideLexer.VALUE_MODE)
        parser = OverrideParser(CommonTokenStream(lexer))
        parser.removeErrorListeners()
        parser.addErrorListener(listener)
        parsed = _Visitor(self.functions).visit(getattr(parser, rule_name)())
        if isinstance(parsed, Override):
            parsed.input_line = s
            parsed.validate()
        return parsed


class _Visitor(HydraOverrideVisitor):
    """Knows the type of the setting, so that `name=2024_11_28` and `launch.qos=1e5` stay what was typed."""

    kind: Any = Any

    def visitKey(self, ctx: Any) -> Key:
        """The key decides the type of what follows."""
        key = super().visitKey(ctx)
        self.kind = _kind(RunConfig, key.key_or_group.split("."))
        return key

    def visitPrimitive(self, ctx: Any) -> Any:
        """A number or a switch is text where the setting is text."""
        value = super().visitPrimitive(ctx)
        return ctx.getText().strip() if _is_text(self.kind) and isinstance(value, (bool, int, float)) else value

    def visitListContainer(self, ctx: Any) -> Any:
        """Items have the type of the tuple's."""
        return self._within(_member(self.kind, ""), super().visitListContainer, ctx)

    def visitDictKeyValuePair(self, ctx: Any) -> Any:
        """A value has the type of the field, or of the mapping's values."""
        kind = _member(self.kind, ctx.getChild(0).getText().strip())
        return self._within(kind, super().visitDictKeyValuePair, ctx)

    def visitFunction(self, ctx: Any) -> Any:
        """`range(1,3)` needs numbers whatever the setting is."""
        keeps = ctx.getChild(0).getText() in _KEEPS_TEXT
        return self._within(self.kind if keeps else Any, super().visitFunction, ctx)

    def _within(self, kind: Any, visit: Any, ctx: Any) -> Any:
        outer, self.kind = self.kind, kind
        try:
            return visit(ctx)
        finally:
            self.kind = outer


def _kind(kind: Any, keys: list[str]) -> Any:
    for key in keys:
        kind = _member(kind, key)
    return kind


def _member(kind: Any, key: str) -> Any:
    """The type of a field, of an item or of a mapping's value; Any where it is not known."""
    kind = _not_none(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return hints(kind).get(key, Any) if key in {f.name for f in fields(kind)} else Any
    arguments = typing.get_args(kind)
    return {dict: arguments[-1:], tuple: arguments[:1]}.get(typing.get_origin(kind), (Any,))[0]


def _not_none(kind: Any) -> Any:
    members = [member for member in typing.get_args(kind) if member is not type(None)]
    return members[0] if isinstance(kind, types.UnionType) and len(members) == 1 else kind


def _is_text(kind: Any) -> bool:
    return _not_none(kind) is str


def _complaint(text: str, error: Exception) -> str:
    match = _SPLIT.fullmatch(text)
    if not match:
        return f"{text}: not an override. Settings are typed as group.key=value, groups as group=choice."
    key, value = match["key"], match["value"]
    bare = key.lstrip("+~")
    if value[:1] in _CLOSES and not value.endswith(_CLOSES[value[0]]):
        return f"{bare}: {value!r} opens a bracket that it does not close. A list is [a,b], a group of values {{a: b}}."
    quoted = next((spelled for spelled in _spellings(value) if _is_right(f"{key}={spelled}")), None)
    if quoted is None:
        return f"{bare}: {value!r} is no value of Hydra's grammar: {str(error).splitlines()[0]}"
    return f"{bare}: {value!r} needs quotes in Hydra's grammar. Type {shlex.quote(f'{key}={quoted}')}"


def _spellings(value: str) -> Iterator[str]:
    """The value with quotes around what needs them: inside a list or a group around each item, else around all."""
    if value[:1] == "[":
        yield "[" + ",".join(_item(item) for item in _items(value[1:-1])) + "]"
    elif value[:1] == "{":
        pairs = (item.partition(":") for item in _items(value[1:-1]))
        yield "{" + ",".join(f"{key.strip()}: {_item(text)}" for key, _, text in pairs) + "}"
    yield _quoted(value)


def _items(text: str) -> list[str]:
    """Split at the commas outside of quotes and brackets."""
    return [item for item in re.split(r",(?![^\[{(]*[\]})])(?=(?:[^\"']|\"[^\"]*\"|'[^']*')*$)", text) if item.strip()]


def _item(text: str) -> str:
    text = text.strip()
    if text[:1] in _CLOSES and text.endswith(_CLOSES[text[0]]):
        return next(_spellings(text))
    return text if _is_right(f"x={text}") else _quoted(text)


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.double).with_quotes()


def _is_right(text: str) -> bool:
    try:
        _Parser(create_functions()).parse_rule(text, "override")
    except (HydraException, ValueError):
        return False
    return True
