"""Ledger of a sweep: its journal and the study that is folded from it, written to by whoever holds the lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunefleet.config.sweep import SweepConfig
from tunefleet.sweep import event_text, space_reader
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.space import Space
from tunefleet.sweep.study import apply, fold


class Ledger:
    """`study` is the state, `report` gets a line for each event. Only `record` changes them."""

    def __init__(self, journal: Journal, definition: Definition, report: Callable[[str], None]) -> None:
        self._journal, self._definition, self._report = journal, definition, report
        self._spaces: dict[tuple[str, ...], Space] = {}
        self.study = fold(journal.events)

    @property
    def length(self) -> int:
        """The number of events."""
        return len(self._journal.events)

    @property
    def sweep(self) -> SweepConfig:
        """The search with the limits that it has now."""
        return self._definition.effective(self.study)

    @property
    def space(self) -> Space:
        """The points that it may try now."""
        overrides = tuple(self._definition.overrides_of_space(self.study))
        if overrides not in self._spaces:
            self._spaces = {overrides: space_reader.read(self._definition.sweep, overrides)}
        return self._spaces[overrides]

    def record(self, kind: str, **data: Any) -> None:
        """Writes an event down, and only then lets it count. Raises `OSError` where it cannot be written."""
        event = self._journal.append(kind, **{key: value for key, value in data.items() if value is not None})
        line = event_text.line(self.study, event, list(self._definition.sweep.objective))
        apply(self.study, event)
        if line:
            self._report(line)
