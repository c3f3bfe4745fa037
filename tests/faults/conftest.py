"""Runs and waiting ranks that end with their test, whatever it does to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.desk import Desk
from tests.faults.live_runs import Begin, LiveRun


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts a run in the test's folder."""
    with ExitStack() as ending:

        def started(*settings: str, folder: Path = tmp_path, **options: Any) -> LiveRun:
            run = LiveRun(folder, *settings, **options)
            ending.callback(run.end)
            return run

        yield started


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A saved run of two ranks that wait."""
    desk = Desk(tmp_path)
    yield desk
    desk.clear()
