"""Does a point's own process start the saved plan as train.py would, and not without its grid?"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base import status
from tunefleet.base.status import State, Status
from tunefleet.plan import Plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A run that is not there yet; its model could not be built."""
    plan = tiny_plan(tmp_path)
    plan.save()
    return plan


def planned(run_dir: str, launcher: int) -> subprocess.CompletedProcess[str]:
    """Runs the door, as a child of process `launcher` would."""
    command = [sys.executable, "-m", "tunefleet.doors.grid_worker", run_dir]
    environment = {**os.environ, "TUNEFLEET_LAUNCHER_PID": str(launcher)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_a_finished_run_says_so(plan: Plan) -> None:
    status.write(plan.paths.status, Status(State.FINISHED, step=40, total_steps=40, loss=1.25))
    done = planned(plan.run_dir, os.getpid())
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{plan.name} is done: 40 steps, last loss 1.2500." in done.stdout


def test_without_its_grid_it_ends(plan: Plan) -> None:
    status.write(plan.paths.status, Status(State.FINISHED, step=40, total_steps=40, loss=1.25))
    done = planned(plan.run_dir, launcher=1)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_run_that_goes_on_elsewhere_is_left_alone(plan: Plan) -> None:
    status.write(plan.paths.status, Status(State.RUNNING, step=7))
    with open(plan.paths.lock, "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = planned(plan.run_dir, os.getpid())
    assert done.returncode == 2
    assert done.stderr.startswith(f"tunefleet: {plan.name} is already running (step 7 on ")
    run_status = status.read(plan.paths.status)
    assert run_status is not None
    assert run_status.state is State.RUNNING


def test_a_directory_without_a_plan(tmp_path: Path) -> None:
    done = planned(str(tmp_path), os.getpid())
    assert done.returncode == 2
    assert "not a run: it has no plan.json" in done.stderr
