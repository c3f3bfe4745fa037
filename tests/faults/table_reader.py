"""A process that reads data files in little memory and time, as a victim of what they hold.

`python -m tests.faults.table_reader careful|careless FILE...` prints a line of JSON for each file: rows, bad rows, and
the message that ended the reading. `careless` is the control: no limit on what a file unpacks to, no validation.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tunefleet.base.errors import DataError
from tunefleet.config.data import SourceConfig
from tunefleet.data.read import file_readers, input_limits, table_pieces, tables

MEMORY = 3 << 30  # bytes of address space
SECONDS = 60


def read(path: Path) -> list[Any]:
    """Rows, bad rows, and the message that ended the reading."""
    rows = bad = 0
    try:
        for row in file_readers.read(path, SourceConfig()):
            rows, bad = rows + 1, bad + isinstance(row, DataError)
    except DataError as error:
        return [rows, bad, str(error)]
    return [rows, bad, ""]


def main(mode: str, *paths: str) -> None:
    """Reads one file after the other."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for path in map(Path, paths):
        signal.alarm(SECONDS)
        if mode == "careless":
            with (
                patch.multiple(input_limits, ALWAYS=1 << 60, LONGEST=1 << 60, EMPTY_LINES=1 << 60),
                patch.object(tables, "pieces", lambda batch: [(batch, 0)]),
                patch.object(table_pieces, "pieces", lambda batch: [(batch, 0)]),
            ):
                print(json.dumps(read(path)), flush=True)
        else:
            print(json.dumps(read(path)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
