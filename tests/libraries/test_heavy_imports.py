"""Does the garbage collector wait for heavy imports, once in a process, and leave alone what they brought?"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tunefleet.libraries.heavy_imports import heavy_imports


@pytest.fixture
def frozen() -> Iterator[int]:
    """How many objects are left out of collections before the test; none are after it."""
    gc.unfreeze()
    yield gc.get_freeze_count()
    gc.unfreeze()


@pytest.mark.parametrize("fails", [False, True])
def test_the_collector_waits_and_is_back_afterwards(frozen: int, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    with suppress(ImportError), heavy_imports():
        assert not gc.isenabled()
        if fails:
            raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen + 1000


def test_a_second_time_it_does_not(frozen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", sys)
    with heavy_imports():
        assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
