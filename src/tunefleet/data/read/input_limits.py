"""Limits on what a small file may turn into when it is read, so that no input exhausts the machine."""

from __future__ import annotations

from pathlib import Path

from tunefleet.base.errors import DataError

LONGEST = 1 << 26
"""Bytes of one row or line: far more than any model reads at once."""
LARGEST = 1 << 30
"""Bytes of a file that can be read only as a whole."""
DEEPEST = 100
"""Levels of lists and objects inside of each other."""
EMPTY_LINES = 1_000_000
"""Empty lines one behind the other."""
ALWAYS = 1 << 28
"""Bytes that any file may unpack to."""
GZIP = 250
"""Times its size that a gzip file may unpack to: rows that share a long prompt come to 50, zeros to 1,000."""
COLUMN = 1_000
"""Times its size that a column of a Parquet file may unpack to before shared values are written out."""
TABLE = 10_000
"""Times its size that the rows of a table may take: a prompt that all rows share stands in the file once."""
_MIB = 1 << 20


def expect_ratio(path: Path | str, packed: int, unpacked: int, most: int, remedy: str) -> None:
    """Raises `DataError` where `packed` bytes of a file have become more than `most` times as many."""
    if unpacked > ALWAYS and unpacked > most * packed:
        raise DataError(
            f"{path}: {packed:,} bytes unpack to more than {unpacked // _MIB:,} MiB, over {most:,} times as much, as "
            f"files do that are made to fill a machine. {remedy}"
        )


def expect_row(location: str, size: int) -> None:
    """Raises `DataError` where a row takes more than `LONGEST` bytes."""
    if size > LONGEST:
        raise DataError(f"{location}: a row of more than {LONGEST // _MIB} MiB. Split it into several rows.")
