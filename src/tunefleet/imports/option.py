"""Option: a setting of another tool, its counterpart among ours, or why it has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Settings = Mapping[str, Any]
"""Our settings by dotted key; a key that is a group's name chooses one of it: `{"optimizer": "adamw"}`."""


class Kind(Enum):
    """What becomes of an option."""

    EQUAL = "same"
    APPROXIMATE = "near"
    INERT = "left out"
    IMPLIED = "nothing to write"
    MISSING = "refused"
    OTHER_TRAINING = "another kind of training"


@dataclass(frozen=True)
class Outcome:
    """What an option with its value becomes; `note` says what differs, or why nothing is written."""

    kind: Kind
    settings: Settings = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Option:
    """A setting of another tool. `ours` is its counterpart as documents name it."""

    kind: Kind
    counterpart: str
    note: str
    read: Callable[[Any], Outcome]

    def outcome(self, value: Any) -> Outcome:
        """What the option with this value becomes. Raises `ValueError` for a value that it cannot have."""
        return NOTHING_SET if value is None else self.read(value)


NOTHING_SET = Outcome(Kind.IMPLIED)
Options = Mapping[str, Option]


def equal(counterpart: str, convert: Callable[[Any], Any] = lambda value: value) -> Option:
    """One setting of ours with the same meaning."""
    return Option(Kind.EQUAL, f"`{counterpart}`", "", lambda value: Outcome(Kind.EQUAL, {counterpart: convert(value)}))


def nearly(counterpart: str, note: str, convert: Callable[[Any], Any] = lambda value: value) -> Option:
    """One setting of ours that trains nearly the same."""
    return Option(
        Kind.APPROXIMATE,
        f"`{counterpart}`",
        note,
        lambda value: Outcome(Kind.APPROXIMATE, {counterpart: convert(value)}, note),
    )


def joint(counterpart: str, note: str = "") -> Option:
    """Read together with other options by the tool's `gather`."""
    return Option(Kind.EQUAL, counterpart, note, lambda value: Outcome(Kind.EQUAL))


def implied(note: str) -> Option:
    """Nothing to write: a default of ours, or done anyhow."""
    return Option(Kind.IMPLIED, "", note, lambda value: Outcome(Kind.IMPLIED, {}, note))


def inert(note: str) -> Option:
    """Left out with a comment: it changes speed, memory or records, and not what is learned."""
    return Option(
        Kind.INERT, "", note, lambda value: Outcome(Kind.INERT, {}, note) if is_in_force(value) else NOTHING_SET
    )


def missing(note: str, idle: Any = None) -> Option:
    """Refused where it is in force, and not `idle`: it changes what is learned, and has no counterpart."""

    def read(value: Any) -> Outcome:
        return Outcome(Kind.MISSING, {}, note) if is_in_force(value) and value != idle else NOTHING_SET

    return Option(Kind.MISSING, "", note, read)


def other_training(training: str) -> Option:
    """Refused where it is in force: it belongs to another kind of training than supervised fine-tuning on text."""
    note = f"is {training}, and tunefleet does supervised fine-tuning on text"
    return Option(
        Kind.OTHER_TRAINING,
        "",
        note,
        lambda value: Outcome(Kind.OTHER_TRAINING, {}, note) if is_in_force(value) else NOTHING_SET,
    )


def switch(counterpart: str, on: Settings | Outcome, off: Settings | Outcome | None = None) -> Option:
    """An option that is true or false."""
    outcomes = {True: _outcome(on), False: _outcome(off if off is not None else {})}
    return Option(Kind.EQUAL, counterpart, "", lambda value: outcomes[as_bool(value)])


def choices(counterpart: str, table: Mapping[str, Settings | Outcome], otherwise: str | Outcome) -> Option:
    """An option that names something; `otherwise` says why any other name is refused, or what becomes of it."""
    remaining = Outcome(Kind.MISSING, {}, otherwise) if isinstance(otherwise, str) else otherwise
    read = {name: _outcome(settings) for name, settings in table.items()}
    return Option(
        Kind.EQUAL, counterpart, f"any other {remaining.note}", lambda value: read.get(str(value).lower(), remaining)
    )


def _outcome(settings: Settings | Outcome) -> Outcome:
    if isinstance(settings, Outcome):
        return settings
    return Outcome(Kind.EQUAL if settings else Kind.IMPLIED, settings)


def is_in_force(value: Any) -> bool:
    """Whether an option is set to anything: null, false, 0 and what is empty switch it off."""
    return value not in (None, False, 0, "", "false", "none", "null") and value != [] and value != {}


def as_bool(value: Any) -> bool:
    """True or false, as YAML and shells have it. Raises `ValueError`."""
    texts = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
    if str(value).lower() not in texts:
        raise ValueError("is neither true nor false")
    return texts[str(value).lower()]


def as_float(value: Any) -> float:
    """A number; YAML reads 2e-5 as a text. Raises `ValueError`."""
    if isinstance(value, bool):
        raise ValueError("is no number")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError("is no number") from None


def as_int(value: Any) -> int:
    """A whole number. Raises `ValueError`."""
    number = as_float(value)
    if number != int(number):
        raise ValueError("is no whole number")
    return int(number)


def as_text(value: Any) -> str:
    """A name. Raises `ValueError` for a list or a group."""
    if isinstance(value, (list, dict)):
        raise ValueError("is no name")
    return str(value)


def as_steps(value: Any) -> str:
    """A number of steps, or a share of all steps below 1, as our durations."""
    number = as_float(value)
    return f"{100 * number:g}%" if 0 < number < 1 else f"{as_int(number)} steps"


def as_percent(value: Any) -> str:
    """A share as our durations have it."""
    return f"{100 * as_float(value):g}%"


def as_list(value: Any) -> list[str]:
    """Several names: a list, or one text with commas or spaces."""
    return [str(item) for item in value] if isinstance(value, list) else str(value).replace(",", " ").split()
