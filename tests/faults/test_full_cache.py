"""Prepared data whose disk gets full while they are written: one line that names the file, and no part that stays?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.encode.test_stream import LENGTH, configured, tiny_tokenizer
from tests.faults.small_disk import emptied, filled, small_disk
from tunefleet.base.errors import DiskError
from tunefleet.data.prepare import prepare


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "cache") as folder:
        yield folder


@pytest.mark.parametrize("left", [1 << 13, pytest.param(1 << 15, marks=pytest.mark.exhaustive)])
def test_the_file_is_named_and_the_part_goes(tmp_path: Path, cache: Path, left: int) -> None:
    """How much is needed is known when all rows are read; then it is prepared where there is room."""
    config = configured(tmp_path, cache)
    filled(cache, left)
    with pytest.raises(DiskError, match=rf"{cache}/.*: No space left on device \(.*free\)\. Make room there\."):
        prepare(config, tiny_tokenizer(), LENGTH)
    assert not [path for path in cache.iterdir() if path.suffix in (".tmp", ".lock")]
    emptied(cache)
    assert not prepare(config, tiny_tokenizer(), LENGTH).was_cached
