"""Own format: a function of the user's project that makes a row of a format which is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunefleet.base import own_code
from tunefleet.base.errors import DataError
from tunefleet.data.read.source_row import Row


class OwnFormat:
    """`module:name`: a function of a row's values that returns those of a row which is known, as {"messages": ...}.

    Raises `OwnCodeError` where it is not allowed, or not there.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._function: Callable[[dict[str, Any]], Any] = own_code.load(name)

    def converted(self, row: Row) -> Row:
        """The row as it is read on. Raises `DataError` with its place, for whatever the function raises."""
        try:
            values = self._function(dict(row.values))
        except Exception as error:
            raise DataError(f"{row.location}: {self._name} raised {type(error).__name__}: {error}.") from error
        if not isinstance(values, dict):
            raise DataError(f"{row.location}: {self._name} returned {type(values).__name__}, not the values of a row.")
        return Row(values, row.location)
