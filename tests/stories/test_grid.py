"""What a person sees of a grid whose points run side by side: real runs, one of which fails."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from tests.stories.commands import SMALL, metrics, start, status, train

GRID = ["-m", *SMALL, "schedule=constant", "schedule.warmup=0", "launch.parallel_runs=2", "checkpoint.export=false"]


def _runs(folder: Path) -> dict[float, Path]:
    """The runs in `folder` that have started, by their learning rate; every point has its plan by then."""
    paths = [path for path in (folder / "outputs").glob("*/plan.json") if (path.parent / "status.json").exists()]
    plans = {path.parent: json.loads(path.read_text()) for path in paths}
    return {plan["config"]["optimizer"]["lr"]: run for run, plan in plans.items()}


def test_three_points_in_two_slots_of_which_one_fails(tmp_path: Path) -> None:
    arguments = [*GRID, "optimizer.lr=1e15,1e-3,3e-3", "train.max_steps=3", "evaluation.every=0"]
    printed = train(tmp_path, *arguments, code=1)
    runs = _runs(tmp_path)
    assert {rate: status(run)["state"] for rate, run in runs.items()} == {
        1e15: "failed",
        1e-3: "finished",
        3e-3: "finished",
    }
    assert "step 3/3" not in printed  # the output of a run is in its own file
    assert "step 3/3" in (runs[1e-3] / "logs" / "console.log").read_text()
    assert "step 3/3" in (runs[1e-3] / "logs" / "rank0.log").read_text()
    assert printed.count(": started, writes to outputs/") == 3
    assert printed.count(": finished, loss ") == 2
    (failed,) = [line for line in printed.split("\npoint ")[-1].splitlines() if "failed" in line]
    assert "the loss became nan at step 2" in failed
    _repeated(tmp_path, arguments, printed, runs)


def _repeated(folder: Path, arguments: list[str], printed: str, runs: dict[float, Path]) -> None:
    """The same grid is the same sweep; what is finished is not run again, what failed is."""
    previous = metrics(runs[1e-3])
    repeated = train(folder, *arguments, code=1)
    assert repeated.splitlines()[0] == printed.splitlines()[0]
    assert repeated.splitlines()[0].startswith("sweep  sweep-")
    assert repeated.count(": done before, loss ") == 2
    assert repeated.count(": started, ") == 1
    assert metrics(runs[1e-3]) == previous


ENDLESS = [*GRID, "optimizer.lr=1e-3,2e-3,3e-3", "train.max_steps=100000", "evaluation.every=0"]


def test_an_interrupted_grid_saves_what_runs_and_starts_nothing_more(tmp_path: Path) -> None:
    grid = _started(tmp_path)
    grid.send_signal(signal.SIGTERM)
    assert grid.wait(timeout=120) == 130
    _expect_two_saved(tmp_path)
    table = (tmp_path / "output.txt").read_text().split("\npoint ")[-1]
    assert (table.count("interrupted"), table.count("not started")) == (2, 1)


def test_points_save_and_stop_with_a_grid_that_was_killed(tmp_path: Path) -> None:
    grid = _started(tmp_path)
    grid.kill()
    grid.wait(timeout=120)
    deadline = time.monotonic() + 120
    while any(status(run)["state"] != "interrupted" for run in _runs(tmp_path).values()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    _expect_two_saved(tmp_path)


def _started(folder: Path) -> subprocess.Popen[bytes]:
    """A grid whose first two points train."""
    grid = start(folder, *ENDLESS)
    deadline = time.monotonic() + 180
    while not (len(_runs(folder)) == 2 and all(metrics(run) for run in _runs(folder).values())):
        assert grid.poll() is None, (folder / "output.txt").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return grid


def _expect_two_saved(folder: Path) -> None:
    assert [status(run)["state"] for run in _runs(folder).values()] == ["interrupted", "interrupted"]
    assert all((run / "checkpoints" / "latest.json").exists() for run in _runs(folder).values())
