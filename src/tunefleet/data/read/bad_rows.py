"""Bad rows, which cannot be read: the run ends, or they are left out and written down."""

from __future__ import annotations

from pathlib import Path

from tunefleet.base import files
from tunefleet.base.errors import DataError

_SHOWN = 3


class BadRows:
    """The bad rows of a data set: none may be left out, or at most `cap` of them, which the file `report` lists."""

    def __init__(self, report: Path | None = None, cap: int = 0) -> None:
        self._skip = report is not None
        self._cap = cap
        self._report = report or Path()
        self._messages: list[str] = []

    @property
    def count(self) -> int:
        """Rows that were left out."""
        return len(self._messages)

    def add(self, error: DataError) -> None:
        """Leaves a row out. Raises `DataError` where it may not, or where there are too many of them."""
        if not self._skip:
            raise DataError(f"{error} Fix the row, or leave such rows out with data.on_bad_row=skip.")
        self._messages.append(str(error).replace("\n", " "))
        if len(self._messages) > self._cap:
            self.write()
            first = " ".join(self._messages[:_SHOWN])
            raise DataError(
                f"more than data.max_bad_rows={self._cap} bad rows; all of them so far are in {self._report}. "
                f"The first: {first}"
            )

    def write(self) -> None:
        """Writes the report, a line for each row that was left out."""
        if self._messages:
            files.write_text(self._report, "".join(f"{line}\n" for line in self._messages))
