"""Draft of an experiment: our settings so far, where each comes from, comments, and what was refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tunefleet.imports.option import Kind, Option, Outcome, is_in_force


@dataclass(frozen=True)
class Setting:
    """A value of ours, and the option or default of the other tool that it comes from."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Remark:
    """What became of an option that is not simply one of ours."""

    option: str
    kind: Kind
    note: str

    def __str__(self) -> str:
        return f"{self.option}: {self.note}"


@dataclass
class Draft:
    """What a file of `title` has become. Keys without a dot are choices of groups, or settings at the top."""

    title: str
    settings: dict[str, Setting] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)
    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))

    def __contains__(self, key: str) -> bool:
        return key in self.settings

    def value(self, key: str) -> Any:
        """Our value of `key`; None where there is none."""
        return self.settings[key].value if key in self.settings else None

    def put(self, key: str, value: Any, origin: str) -> None:
        """Sets `key`, whatever it was."""
        self.settings[key] = Setting(value, origin)

    def default(self, key: str, value: Any, origin: str = "") -> None:
        """What the other tool does where its file says nothing."""
        if key not in self.settings:
            self.put(key, value, origin or f"{self.title}'s default")

    def remark(self, option: str, kind: Kind, note: str) -> None:
        """Notes what became of an option; two notes of one say the same twice."""
        remark = Remark(option, kind, note)
        if remark not in self.remarks:
            self.remarks.append(remark)

    def refuse(self, option: str, note: str) -> None:
        """Nothing is written of a file with a refused option."""
        self.remark(option, Kind.MISSING, note)

    def take(self, name: str, value: Any, option: Option | None) -> None:
        """What an option with its value becomes; one that no table has is refused where it is set."""
        if option is None:
            self._unknown(name, value)
            return
        try:
            outcome = option.outcome(value)
        except ValueError as error:
            outcome = Outcome(Kind.MISSING, {}, f"{value!r:.60} {error}")
        self.counts[outcome.kind] += 1
        for key, our_key in outcome.settings.items():
            self.put(key, our_key, name)
        if outcome.note and outcome.kind is not Kind.IMPLIED:
            self.remark(_shown(name, value), outcome.kind, outcome.note)

    def _unknown(self, name: str, value: Any) -> None:
        if not is_in_force(value):
            self.remark(_shown(name, value), Kind.INERT, f"not in our table of {self.title}'s options, and not set")
            return
        self.counts[Kind.MISSING] += 1
        self.refuse(_shown(name, value), f"not in our table of {self.title}'s options")

    @property
    def refusals(self) -> list[Remark]:
        """Why nothing is written, an option each."""
        return self.of_kinds((Kind.OTHER_TRAINING, Kind.MISSING))

    def of_kinds(self, kinds: Iterable[Kind]) -> list[Remark]:
        """The remarks of some kinds, in their order."""
        return [remark for kind in kinds for remark in self.remarks if remark.kind is kind]


def _shown(name: str, value: Any) -> str:
    text = " ".join(str(value).split())
    return f"{name}={text if len(text) <= 40 else text[:37] + '...'}"
