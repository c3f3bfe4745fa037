"""Are points that never started resumed by the name of their sweep, when the grid was killed or interrupted?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stories.commands import ROOT, command, environment
from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State

RANK = """
import signal, sys, time
from pathlib import Path
from tunefleet.base import status
from tunefleet.base.status import Cause, State
from tunefleet.doors.rank import end_with_launcher
from tunefleet.plan.plan import Plan

end_with_launcher()
paths = Plan.read(Path(sys.argv[1])).paths

def says(state, cause=Cause.NONE):
    status.write(paths.status, status.read(paths.status).moved(state=state, cause=cause))

def save(number, frame):
    says(State.INTERRUPTED, Cause.INTERRUPT)
    sys.exit(130)

signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
says(State.RUNNING)
status.start_heartbeat(paths.heartbeat, 0.5)
while not Path("go").exists():
    time.sleep(0.05)
says(State.FINISHED)
"""
SWAP = "import tunefleet.launch.local as local\nlocal.RANK_MODULE = 'pretend'\n"
GRID = ["-m", "optimizer.lr=1e-3,2e-3,3e-3,4e-3", "tracking=files"]


class Desk:
    """A folder in which ranks only wait for the file `go`; all else is the real program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "swap").mkdir()
        (folder / "swap" / "pretend.py").write_text(RANK)
        (folder / "swap" / "sitecustomize.py").write_text(SWAP)
        path = f"{folder / 'swap'}:{ROOT / 'src'}"
        self.environment = {**environment(folder), "PYTHONPATH": path}

    def grid(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A grid in the foreground of a terminal of its own, as soon as `words` say how many points run."""
        with open(self.folder / "output.txt", "wb") as output:
            return subprocess.Popen(
                command(*GRID, *arguments),
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def tunefleet(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", "from tunefleet.doors import cli; cli.main()", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    def states(self) -> list[State | None]:
        runs = [plan.parent for plan in sorted((self.folder / "outputs").glob("*/plan.json"))]
        actual = [status.read(RunPaths(run).status) for run in runs]
        return [run_status and run_status.state for run_status in actual]

    def sweep(self) -> str:
        (folder,) = (self.folder / "outputs" / "sweeps").iterdir()
        return folder.name

    def until(self, true: Callable[[list[State | None]], bool]) -> None:
        deadline = time.monotonic() + 90
        while not true(self.states()):
            assert time.monotonic() < deadline, (self.states(), (self.folder / "output.txt").read_text())
            time.sleep(0.05)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_sweep_is_resumed_after_its_grid_was_killed(desk: Desk) -> None:
    grid = desk.grid("launch.parallel_runs=2")
    desk.until(lambda states: states.count(State.RUNNING) == 2)
    grid.kill()
    grid.wait()
    desk.until(lambda states: states.count(State.INTERRUPTED) == 2)
    assert len(desk.states()) == 4
    (desk.folder / "go").touch()
    code, printed = desk.tunefleet("resume", desk.sweep())
    assert (code, desk.states()) == (0, [State.FINISHED] * 4), printed
    assert "4 of 4 runs to start" in printed
    assert printed.count(": started, writes to") == 4  # side by side again
    code, printed = desk.tunefleet("resume", desk.sweep())
    assert (code, printed) == (0, "0 of 4 runs to start, 4 finished\n")


def test_a_sweep_is_retried_after_ctrl_c(desk: Desk) -> None:
    grid = desk.grid()
    desk.until(lambda states: states.count(State.RUNNING) == 1)
    os.killpg(grid.pid, signal.SIGINT)
    assert grid.wait(timeout=60) == 130
    assert desk.states().count(None) == 3
    (desk.folder / "go").touch()
    code, printed = desk.tunefleet("retry", "--failed", desk.sweep())
    assert (code, desk.states().count(None)) == (0, 3), printed  # nothing of it failed
    code, printed = desk.tunefleet("retry", desk.sweep())
    assert (code, desk.states()) == (0, [State.FINISHED] * 4), printed


def test_ctrl_c_while_a_sweep_is_resumed_ends_all_of_it(desk: Desk) -> None:
    grid = desk.grid()
    desk.until(lambda states: states.count(State.RUNNING) == 1)
    grid.kill()
    grid.wait()
    desk.until(lambda states: states.count(State.INTERRUPTED) == 1)
    arguments = [sys.executable, "-c", "from tunefleet.doors import cli; cli.main()", "resume", desk.sweep()]
    repeated = subprocess.Popen(arguments, cwd=desk.folder, env=desk.environment, start_new_session=True)
    desk.until(lambda states: State.RUNNING in states)
    os.killpg(repeated.pid, signal.SIGINT)
    assert repeated.wait(timeout=60) == 130
    assert desk.states().count(None) == 3
