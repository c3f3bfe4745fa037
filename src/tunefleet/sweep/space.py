"""Space of a sweep: the points that a search may try."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from tunefleet.sweep import dimension
from tunefleet.sweep.dimension import Dimension, Interval
from tunefleet.sweep.point_filter import Filter, Lookup, typed_value
from tunefleet.sweep.point_key import PointKey, canonical, key

Point = dict[str, str]
"""{key: value as it is typed}, in the order of the space."""


@dataclass(frozen=True)
class Condition:
    """`key` has one of the values `texts`."""

    key: str
    texts: tuple[str, ...]

    def met(self, values: Mapping[str, str]) -> bool:
        """Whether a point with these values satisfies it."""
        return self.key in values and any(equal(values[self.key], text) for text in self.texts)

    def excludes(self, condition: Condition) -> bool:
        """Whether no point meets both."""
        return self.key == condition.key and not any(condition.met({self.key: text}) for text in self.texts)

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.texts)}"


@dataclass(frozen=True)
class Axis:
    """What one draw decides: the value of a key, or of several that are paired. No two have the same `name`.

    `rows` are the values of paired keys; the dimension then counts them. An axis with a condition is left out of points
    that do not meet it.
    """

    name: str
    keys: tuple[str, ...]
    dimension: Dimension
    rows: tuple[Mapping[str, str], ...] = ()
    condition: Condition | None = None

    def values(self, text: str) -> Mapping[str, str]:
        """What a value of the dimension sets."""
        return self.rows[int(text)] if self.rows else {self.keys[0]: text}

    def is_present(self, values: Mapping[str, str]) -> bool:
        """Whether points with these values have it."""
        return self.condition is None or self.condition.met(values)

    def text(self, values: Mapping[str, str]) -> str | None:
        """The value of the dimension that a point has; None where it has none, or another than the dimension holds."""
        if not self.is_present(values) or any(key not in values for key in self.keys):
            return None
        if isinstance(self.dimension, Interval):
            return values[self.keys[0]]
        for text in self.dimension.texts:
            if all(equal(values[key], value) for key, value in self.values(text).items()):
                return text
        return None

    def __str__(self) -> str:
        texts = [" ".join(f"{key}={row[key]}" for key in self.keys) for row in self.rows]
        condition = f" (where {self.condition})" if self.condition else ""
        return f"{' + '.join(self.keys)}{condition}: {'; '.join(texts) or dimension.describe(self.dimension)}"


@dataclass(frozen=True)
class Space:
    """The axes in their order, the filters, and the overrides that all points have in common.

    The order is that of `sweep.space`, then of `sweep.paired`, then of `sweep.conditional`, then what only the command
    line names.
    """

    axes: tuple[Axis, ...]
    filters: tuple[Filter, ...] = ()
    common: tuple[str, ...] = ()

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Every key that a point may set, once."""
        return tuple(dict.fromkeys(key for axis in self.axes for key in axis.keys))

    @cached_property
    def size(self) -> int | None:
        """At most so many points, were there no filter and every condition met; None where there is no end."""
        counts = [dimension.count(axis.dimension) for axis in self.axes]
        return None if None in counts else prod(count for count in counts if count is not None)

    def point(self, choose: Callable[[Axis], str]) -> Point:
        """The point that comes of asking `choose` for a value of every axis that is there, in their order."""
        values: Point = {}
        for axis in self.axes:
            if axis.is_present(values):
                values.update(axis.values(choose(axis)))
        return values

    @cached_property
    def keyed_grid(self) -> Sequence[tuple[PointKey, Point]]:
        """Every point of the grid with its key: a draw looks for the first that nobody tried."""
        return [(key(point), point) for point in self.grid()]

    def grid(self) -> Sequence[Point]:
        """Every point that the filters let through: the last axis changes fastest, as in Hydra's own grids.

        A filter over a setting that the space does not hold is left to `refusal`, which is told of it.
        """
        return self._grid

    @cached_property
    def _grid(self) -> tuple[Point, ...]:
        return tuple(point for point in _points(self.axes, {}) if not self.refusal(point))

    def refusal(self, values: Mapping[str, str], lookup: Lookup | None = None) -> str:
        """The filter that a point does not satisfy; empty where it satisfies all.

        A drawn value comes before one that was typed for all points, and that before `lookup`, which gives the composed
        settings (`point_filter.settings_of`). Without it filters that need one are passed over.
        """
        settings = {**self._fixed, **values}
        for condition in self.filters:
            if lookup or condition.names <= settings.keys():
                reason = condition.refusal(_lookup(settings, lookup))
                if reason:
                    return reason
        return ""

    @cached_property
    def _fixed(self) -> Mapping[str, str]:
        pairs = (override.partition("=") for override in self.common)
        return {key: text for key, _, text in pairs}

    def describe(self) -> list[str]:
        """A line for each axis and each filter, as they are printed before a sweep begins."""
        return [*map(str, self.axes), *(f"only where {condition.text}" for condition in self.filters)]


def equal(first: str, second: str) -> bool:
    """Whether two texts are the same value."""
    return first == second or canonical(first) == canonical(second)


def _points(axes: Sequence[Axis], values: Point) -> Iterator[Point]:
    if not axes:
        yield values
        return
    axis, *following = axes
    if not axis.is_present(values):
        yield from _points(following, values)
        return
    for text in dimension.texts(axis.dimension):
        yield from _points(following, {**values, **axis.values(text)})


def _lookup(settings: Mapping[str, str], lookup: Lookup | None) -> Lookup:
    return lambda name: typed_value(settings[name]) if name in settings else lookup(name) if lookup else None
