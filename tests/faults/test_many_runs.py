"""Do fifty good runs of two ranks in a row all finish, none of them aborted as its ranks part?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.commands import SMALL, run_folder, status, train

RUNS = 50
OVERRIDES = [
    *SMALL,
    "train.max_steps=2",
    "train.sequence_length=64",
    "parallel=zero1",
    "launch.processes=2",
    "checkpoint.export=false",
    "evaluation.generate_rows=0",
]


@pytest.mark.exhaustive
def test_fifty_runs_of_two_ranks_finish(tmp_path: Path) -> None:
    states = []
    for number in range(RUNS):
        folder = tmp_path / str(number)
        folder.mkdir()
        train(folder, *OVERRIDES)  # its exit code is 0
        states.append(status(run_folder(folder))["state"])
    assert states == ["finished"] * RUNS
