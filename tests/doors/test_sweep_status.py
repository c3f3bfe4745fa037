"""Does `tunefleet sweep list` say how a plain grid stands, while it goes on and once it is over?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweep.journals import trained
from tests.sweep.test_grid_study import grid
from tunefleet.base.status import State
from tunefleet.doors import sweep_status


def test_a_grid_has_the_states_of_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = grid(tmp_path, ("optimizer.lr=1",), ("optimizer.lr=2",))
    trained(tmp_path / "run-0", 9, 0.5)
    sweep_status.listed(tmp_path)
    assert capsys.readouterr().out.splitlines()[1].split(maxsplit=3) == [
        paths.root.name,
        "grid",
        "2",
        "1 finished, 1 never started",
    ]
    trained(tmp_path / "run-1", 9, 0.5, State.FAILED)
    sweep_status.listed(tmp_path)
    assert capsys.readouterr().out.splitlines()[1].endswith("over: 1 finished, 1 failed")
