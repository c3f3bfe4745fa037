"""Reader of spaces: what a sweep file and the command line say together, with every mistake named at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field

from hydra.core.override_parser.types import Override

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig, suggest
from tunefleet.config.suggest import did_you_mean
from tunefleet.config.sweep import SweepConfig
from tunefleet.sweep import sweep_rules
from tunefleet.sweep.dimension import Choice, Dimension, Interval
from tunefleet.sweep.dimension_text import dimension, parse_override, value_text
from tunefleet.sweep.point_filter import Filter
from tunefleet.sweep.space import Axis, Condition, Space, equal

Groups = Mapping[str, Sequence[str]]
"""{config group: its choices}"""
_NOT_OURS = ("sweep", "sweeps", "hydra")
_ONE_FOR_ALL = ("output_dir", "launch.name", "launch.access", "launch.snapshot", "launch.wait", "launch.dry_run")


def read(sweep: SweepConfig, typed: Sequence[str] = (), groups: Groups | None = None) -> Space:
    """The space of a sweep file and of what was typed, by which a key of the file is replaced.

    A typed key with one value is fixed and leaves the space; one with several replaces what the file says, or is a
    further axis, the last one. Choices of `groups` are checked where it is given. Raises `ConfigError` with every
    complaint about the sweep, its samplers and pruners included.
    """
    reader = _Reader(groups)
    overrides = reader.typed(typed)
    axes = [*reader.axes(sweep, overrides)]
    filters = [*reader.filters(sweep.filter, {key for axis in axes for key in axis.keys} | overrides.keys())]
    common = tuple(override.input_line or "" for override in overrides.values() if not override.is_sweep_override())
    space = Space(tuple(axes), tuple(filters), common)
    if not axes and not reader.complaints:
        reader.complaints.append("sweep.space: empty: there is nothing to search. Name a key and its values.")
    reader.complaints += sweep_rules.complaints(sweep, space)
    if reader.complaints:
        raise ConfigError(*reader.complaints)
    return space


@dataclass
class _Reader:
    """Collects complaints while it reads. `sections` says which part of the file holds a key, `conditions` under which
    it is there."""

    groups: Groups | None
    complaints: list[str] = field(default_factory=list)
    sections: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, list[Condition]] = field(default_factory=dict)

    def typed(self, texts: Sequence[str]) -> dict[str, Override]:
        """{key: override}; the last one of a key counts. What sets the sweep itself, or Hydra, is passed over."""
        overrides = {}
        for text in texts:
            with self._collected():
                override = parse_override(text)
                if override.key_or_group.partition(".")[0].partition("/")[0] not in _NOT_OURS:
                    overrides[override.key_or_group] = override
        return overrides

    def axes(self, sweep: SweepConfig, overrides: Mapping[str, Override]) -> Iterator[Axis]:
        """The axes in their documented order."""
        fixed = {key: value_text(override) for key, override in overrides.items() if not override.is_sweep_override()}
        axes = [*self._singles(sweep.space, overrides), *self._pairs(sweep.paired, overrides)]
        axes += self._conditionals(sweep.conditional, overrides, axes, fixed)
        used = self.sections.keys() | self.conditions.keys()
        extra = {
            key: override for key, override in overrides.items() if override.is_sweep_override() and key not in used
        }
        yield from axes
        for key, override in extra.items():
            if values := self._dimension("", key, override):
                yield Axis(key, (key,), values)

    def filters(self, texts: Iterable[str], chosen_keys: Set[str]) -> Iterator[Filter]:
        """Those that can be read, over settings that there are, and groups that are drawn or typed."""
        for text in texts:
            with self._collected():
                expression = Filter.parse(text)
                for name in sorted(expression.names - chosen_keys):
                    if about := self._unknown(name) or self._group(name):
                        self.complaints.append(f"sweep.filter: {text!r} names {name}: {about}")
                yield expression

    def _group(self, name: str) -> str:
        """A composed run holds the settings of a group, and not which choice they are."""
        settings = [key for key in suggest.every_key(RunConfig) if key.startswith(f"{name}.")]
        is_choice = settings or name in (self.groups or {})
        hint = f"Name a setting of it, such as {settings[0]}, or" if settings else "Put it into sweep.space, or"
        return f"a group whose choice is not drawn. {hint} type {name}=CHOICE." if is_choice else ""

    def _singles(self, section: Mapping[str, str], overrides: Mapping[str, Override]) -> Iterator[Axis]:
        for key, override in self._entries("sweep.space", section, overrides):
            self.sections[key] = "sweep.space"
            if values := self._dimension("sweep.space.", key, override):
                yield Axis(key, (key,), values)

    def _pairs(self, paired: Mapping[str, Mapping[str, str]], overrides: Mapping[str, Override]) -> Iterator[Axis]:
        """A key that was typed leaves its pair: it is fixed, or an axis of its own."""
        for name, section in paired.items():
            setting = f"sweep.paired.{name}"
            entries = {key: text for key, text in section.items() if key not in overrides}
            columns = {
                key: self._column(setting, key, override) for key, override in self._entries(setting, entries, {})
            }
            lengths = {key: len(texts) for key, texts in columns.items()}
            if len(set(lengths.values())) > 1:
                counts = ", ".join(f"{key} has {length}" for key, length in lengths.items())
                self.complaints.append(f"{setting}: values that move together must be as many: {counts}.")
            elif columns and all(lengths.values()):
                rows = tuple(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
                yield Axis(" + ".join(columns), tuple(columns), Choice(tuple(map(str, range(len(rows))))), rows)

    def _column(self, setting: str, key: str, override: Override) -> Sequence[str]:
        if key in self.sections:
            self.complaints.append(f"{setting}.{key}: is in {self.sections[key]} too. Leave it in one of them.")
        self.sections.setdefault(key, setting)
        values = self._dimension(f"{setting}.", key, override, repeats=True)
        if isinstance(values, Interval):
            self.complaints.append(
                f"{setting}.{key}: an interval has no first and second value. Type a list of values."
            )
            return ()
        return values.texts if values else ()

    def _conditionals(
        self,
        conditional: Mapping[str, Mapping[str, str]],
        overrides: Mapping[str, Override],
        axes: Sequence[Axis],
        fixed: Mapping[str, str],
    ) -> Iterator[Axis]:
        """Keys may depend on keys that depend on others, in the order of the file."""
        earlier = list(axes)
        for text, section in conditional.items():
            setting = f"sweep.conditional.{text}"
            condition = self._condition(setting, text, earlier, fixed)
            for key, override in self._entries(setting, section, overrides):
                if condition is None:
                    self.conditions.setdefault(key, [])
                    continue
                self._expect_apart(setting, key, condition)
                if values := self._dimension(f"{setting}.", key, override):
                    is_free = condition.key in fixed
                    name = key if is_free else f"{key} where {condition}"
                    axis = Axis(name, (key,), values, condition=None if is_free else condition)
                    earlier.append(axis)
                    yield axis

    def _condition(self, setting: str, text: str, axes: Sequence[Axis], fixed: Mapping[str, str]) -> Condition | None:
        """None where nothing meets it: what was typed rules it out, or it is a mistake."""
        with self._collected():
            override = parse_override(text)
            values = dimension(override)
            if isinstance(values, Interval):
                raise ConfigError(f"{setting}: an interval is no value. Type {override.key_or_group}=VALUE.")
            condition = Condition(override.key_or_group, values.texts)
            if condition.key in fixed:
                return condition if condition.met(fixed) else None
            self._expect_possible(setting, condition, axes)
            return condition
        return None

    def _expect_possible(self, setting: str, condition: Condition, axes: Sequence[Axis]) -> None:
        key = condition.key
        holders = [axis for axis in axes if key in axis.keys]
        if not holders:
            keys = [key for axis in axes for key in axis.keys]
            hint = did_you_mean(key, keys) if keys else ""
            raise ConfigError(f"{setting}: {key} is not in the space, so nothing depends on it.{hint}")
        if any(isinstance(axis.dimension, Interval) for axis in holders):
            raise ConfigError(f"{setting}: {key} is an interval, which has no value to depend on. Type a list for it.")
        texts = [axis.values(text)[key] for axis in holders for text in getattr(axis.dimension, "texts", ())]
        for value in condition.texts:
            if not any(equal(value, text) for text in texts):
                raise ConfigError(f"{setting}: {key} is never {value}.{did_you_mean(value, texts)}")

    def _expect_apart(self, setting: str, key: str, condition: Condition) -> None:
        """The same key may have other values under each value of another, and never two sets of values at once."""
        conditions = self.conditions.setdefault(key, [])
        overlaps = [f"sweep.conditional.{present}" for present in conditions if not present.excludes(condition)]
        if clash := overlaps or ([self.sections[key]] if key in self.sections else []):
            self.complaints.append(f"{setting}.{key}: is in {clash[0]} too. Leave it in one of them.")
        conditions.append(condition)

    def _entries(
        self, setting: str, section: Mapping[str, str], overrides: Mapping[str, Override]
    ) -> Iterator[tuple[str, Override]]:
        """Key and override of each entry, or what was typed instead of it; without those that were fixed."""
        for key, text in section.items():
            with self._collected(f"{setting}."):
                override = overrides.get(key) or parse_override(f"{key}={text}")
                if key not in overrides or override.is_sweep_override():
                    yield key, override

    def _dimension(self, setting: str, key: str, override: Override, repeats: bool = False) -> Dimension | None:
        with self._collected(setting):
            if unknown := self._unknown(key):
                raise ConfigError(f"{key}: {unknown}")
            if key in _ONE_FOR_ALL:
                raise ConfigError(f"{key}: is one for all trials. Type {key}=VALUE.")
            options = (self.groups or {}).get(key, ())
            values = dimension(override, options, repeats)
            self._expect_options(key, values, options)
            return values
        return None

    def _expect_options(self, key: str, values: Dimension, options: Sequence[str]) -> None:
        if not options or isinstance(values, Interval):
            return
        bad = [text for text in values.texts if text not in options and text != "null"]
        if bad:
            raise ConfigError(*(f"{key}: no choice named {text!r}.{did_you_mean(text, options)}" for text in bad))

    def _unknown(self, key: str) -> str:
        """`unknown key` and what is near; empty for a group, or a setting."""
        return "" if key in (self.groups or {}) or "@" in key else suggest.for_setting(key, RunConfig)

    @contextmanager
    def _collected(self, setting: str = "") -> Iterator[None]:
        try:
            yield
        except ConfigError as error:
            self.complaints += [f"{setting}{complaint}" for complaint in error.complaints]
