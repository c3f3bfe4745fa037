"""Text of a dimension: what `key: values` of a space means in Hydra's override grammar."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import ceil
from typing import Any

from antlr4 import CommonTokenStream, InputStream
from hydra.core.override_parser.overrides_parser import create_functions
from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    OverrideType,
    RangeSweep,
    Sweep,
    Transformer,
)
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser

from tunefleet.base.errors import ConfigError
from tunefleet.sweep.dimension import Choice, Dimension, Interval, Steps

_MANY = 100_000


def parse_override(text: str) -> Override:
    """One override whose numbers remember how they were typed. Raises `ConfigError`."""
    listener = HydraErrorListener()
    lexer = OverrideLexer(InputStream(text))
    parser = OverrideParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(listener)
    try:
        override = _Visitor(create_functions()).visit(parser.override())  # type: ignore[no-untyped-call]
    except (HydraException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{text.partition('=')[0]}: {text!r} is not in Hydra's override grammar: {reason}") from None
    assert isinstance(override, Override)
    override.input_line = text
    return override


def dimension(override: Override, options: Sequence[str] = (), repeats: bool = False) -> Dimension:
    """The dimension that an override sets out; `options` are those of the group, for `glob()`.

    A value may be there twice where it `repeats` beside paired ones. Raises `ConfigError` with what to type instead.
    """
    values: Any = override.value()
    key = override.get_key_element()
    if override.type is OverrideType.DEL or override.value_type is None:
        raise ConfigError(f"{key}: a deletion has no values. Search over the choices of the group instead.")
    match values:
        case IntervalSweep():
            return _interval(key, values)
        case RangeSweep():
            return _steps(key, values)
        case Glob():
            return _choice(key, values.filter(list(options)), repeats)
        case ChoiceSweep():
            _expect_no(values.tags, key, "the values of a choice have no order")
            if values.shuffle:
                raise ConfigError(
                    f"{key}: shuffle() has another order each time. Leave it out, or take sampler=random."
                )
            return _choice(key, [_text(key, item) for item in values.list], repeats)
    return Choice((value_text(override),))


def value_text(override: Override) -> str:
    """The one value of an override that sets no several, as it was typed."""
    return str(override.value()).lower() if isinstance(override.value(), bool) else override.get_value_element_as_str()


class _Int(int):
    """A whole number that prints as it was typed."""

    text: str

    def __str__(self) -> str:
        return self.text


class _Float(float):
    """A number that prints as it was typed."""

    text: str

    def __str__(self) -> str:
        return self.text


class _Visitor(HydraOverrideVisitor):
    """Keeps the text of numbers, which Hydra's own turns from `1e-5` into `1e-05`."""

    def visitPrimitive(self, ctx: Any) -> Any:
        """A number with its text; everything else is Hydra's."""
        value = super().visitPrimitive(ctx)
        number_type = {int: _Int, float: _Float}.get(type(value))
        if number_type is None:
            return value
        number = number_type(value)
        number.text = ctx.getText().strip()
        return number


def _text(key: str, item: Any) -> str:
    if isinstance(item, Sweep | Glob):
        raise ConfigError(f"{key}: a range, an interval or a glob cannot be one of several values. Type it alone.")
    return str(item).lower() if isinstance(item, bool) else Transformer.str(item)


def _choice(key: str, texts: Sequence[str], repeats: bool) -> Choice:
    if not texts:
        raise ConfigError(f"{key}: gives no value. Name at least one.")
    if not repeats and (doubled := sorted({text for text in texts if texts.count(text) > 1})):
        raise ConfigError(f"{key}: {', '.join(doubled)} is there twice. Name each value once.")
    return Choice(tuple(texts))


def _interval(key: str, sweep: IntervalSweep) -> Interval:
    low, high = sweep.start, sweep.end
    assert low is not None
    assert high is not None
    _expect_no(sweep.tags - {"log"}, key, "an interval may be tagged log")
    log, integer = "log" in sweep.tags, isinstance(low, int) and isinstance(high, int)
    if not low < high:
        next_move = f"Type interval({high:g},{low:g})." if low > high else f"Type the value: {low:g}."
        raise ConfigError(f"{key}: interval({low:g},{high:g}) has no number between its bounds. {next_move}")
    if not float("-inf") < low < high < float("inf"):
        raise ConfigError(f"{key}: interval({low:g},{high:g}) has no end. Type numbers as its bounds.")
    if log and low <= 0:
        raise ConfigError(
            f"{key}: interval({low:g},{high:g}) tagged log begins at or below 0, where there is no logarithm. "
            "Begin above 0, or leave tag(log, ...) out."
        )
    return Interval(low, high, log, integer)


def _steps(key: str, sweep: RangeSweep) -> Steps:
    """As Hydra's, in exact decimals: `range(0,2.1,0.7)` ends before 2.1 (Hydra's binary fractions take it in)."""
    _expect_no(sweep.tags, key, "a range has a fixed step. Type tag(log,interval(low,high)) for a logarithm")
    if sweep.shuffle:
        raise ConfigError(f"{key}: shuffle() has another order each time. Leave it out, or take sampler=random.")
    start, stop, step = (Decimal(str(number)) for number in (sweep.start, sweep.stop, sweep.step))
    count = ceil((stop - start) / step) if step else 0
    if count < 1:
        raise ConfigError(
            f"{key}: range({start},{stop},{step}) gives no value. It goes from its start by its step and ends before "
            "its stop."
        )
    if count > _MANY:
        raise ConfigError(f"{key}: range({start},{stop},{step}) has {count:,} values. Type int(interval(low,high)).")
    integer = all(isinstance(number, int) for number in (sweep.start, sweep.stop, sweep.step))
    kind = int if integer else float
    return Steps(tuple(kind(start + position * step) for position in range(count)))


def _expect_no(tags: set[str], key: str, instead: str) -> None:
    if tags:
        raise ConfigError(f"{key}: tag({', '.join(sorted(tags))}, ...) means nothing here: {instead}.")
