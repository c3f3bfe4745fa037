"""Is a lock that a killed build left named, and one of a living build not?"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tunefleet.base.builds import await_build
from tunefleet.base.errors import RunError


def test_a_lock_that_nobody_holds_is_named_when_it_is_old(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    os.utime(lock, (time.time() - 700, time.time() - 700))
    with pytest.raises(RunError, match=r"left by a build that was killed.*rm .*/lock"):
        await_build(tmp_path)


def test_a_lock_that_a_process_has_open_is_left_to_torch(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "w"):
        await_build(tmp_path, seconds=-1)


def test_without_a_lock_nothing_is_waited_for(tmp_path: Path) -> None:
    await_build(tmp_path)
    await_build(tmp_path / "not built yet")


def test_a_young_lock_may_be_another_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    monkeypatch.setattr(time, "sleep", lambda seconds: lock.unlink())
    await_build(tmp_path)
    assert not lock.exists()
