"""Is a sweep advanced by the jobs of its runs as they end, from an environment of its own, and to nobody's harm?"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tests.launch.fakes import FakeSlurm, installed, queued
from tests.plans import tiny_plan
from tunefleet.base import status, sweep_requests
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.launch import advance, attempt, attempts, project

OF_JOB = ("SLURM_JOB_ID", "SLURM_CPU_BIND", "SLURM_ARRAY_TASK_ID", "SBATCH_PARTITION", "TUNEFLEET_CODE", "MASTER_PORT")
TELLS = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs" / "sweeps" / "lr"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def run(tmp_path: Path, sweep: Path) -> RunPaths:
    run = RunPaths(tmp_path / "outputs" / "run")
    sweep_requests.join_sweep(run, sweep)
    status.write(run.status, Status(State.PAUSED, cause=Cause.RUNG))
    return run


def log_of(sweep: Path) -> str:
    path = sweep / advance.LOG
    return path.read_text() if path.exists() else ""


def test_it_gets_the_folder_and_nothing_of_the_job(run: RunPaths, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OF_JOB:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("PYTHONPATH", "/a/b")
    advance.after_job(run, (sys.executable, "-c", TELLS))
    arguments, environment = json.loads(log_of(sweep).splitlines()[1])
    assert arguments == [str(sweep)]
    assert [name for name in OF_JOB if name in environment] == []
    assert environment["SLURM_CONF"] == "/etc/slurm.conf"
    assert environment["PYTHONPATH"] == f"{project.IMPORTED_FROM}:/a/b"


@pytest.mark.parametrize("state", State)
def test_only_a_run_that_has_ended_advances_its_sweep(run: RunPaths, sweep: Path, state: State) -> None:
    status.write(run.status, Status(state))
    advance.after_job(run, (sys.executable, "-c", "print('advanced')"))
    assert ("advanced" in log_of(sweep)) is state.final


@pytest.mark.parametrize("damage", ["none", "relative", "gone", "unreadable"])
def test_a_run_of_no_sweep_advances_nothing(run: RunPaths, tmp_path: Path, damage: str) -> None:
    match damage:
        case "none":
            run.sweep.unlink()
        case "unreadable":
            run.sweep.write_bytes(b"\0")
        case _:
            run.sweep.write_text("sweeps/lr" if damage == "relative" else str(tmp_path / "gone"))
    advance.after_job(run, (sys.executable, "-c", "raise SystemExit(open('called', 'w').close())"))
    assert list(tmp_path.rglob(advance.LOG)) == []


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ((sys.executable, "-c", "import time; time.sleep(60)"), "ended by force: it took more than 0.2 s"),
        (("/no/such/python",), "No such file or directory"),
        ((sys.executable, "-c", "raise SystemExit('no such command')"), "no such command"),
    ],
)
def test_a_failure_is_written_to_the_log_alone(run: RunPaths, sweep: Path, command: tuple[str], why: str) -> None:
    previous = status.read(run.status)
    advance.after_job(run, command, patience=0.2 if "sleep" in command[-1] else 60)
    assert why in log_of(sweep)
    assert status.read(run.status) == previous


@pytest.fixture
def job(tmp_path: Path, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[RunPaths, str, FakeSlurm]:
    """A job of a run of the sweep: the run, the folder of its submission, SLURM."""
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    fake = installed(tmp_path / "bin", monkeypatch)
    fake.says("scontrol", "JobId=12 JobState=RUNNING Reason=None")
    plan = tiny_plan(tmp_path / "outputs", launch={"name": "slurm"})
    plan.save()
    sweep_requests.join_sweep(plan.paths, sweep)
    return plan.paths, queued(tmp_path / "outputs", [plan.paths]).folder, fake


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of `python -m tunefleet.launch.attempt ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["attempt", *arguments])
    with pytest.raises(SystemExit) as ending:
        attempt.main()
    return int(ending.value.code or 0)


def test_the_end_of_a_job_advances_with_the_real_command_and_keeps_its_own_code(
    job: tuple[RunPaths, str, FakeSlurm], sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder holds no sweep: the command fails."""
    run, folder, _ = job
    attempt.begin(run, attempt.run_of_job(Path(folder))[1])
    status.write(run.status, Status(State.CHECKPOINTING, cause=Cause.RUNG, saved_step=2))
    assert ended(monkeypatch, "end", folder, "0") == 0
    run_status = status.read(run.status)
    assert run_status
    assert run_status.state is State.PAUSED
    assert re.search("exit code [1-9]", log_of(sweep))


def test_a_job_that_is_requeued_advances_nothing(
    job: tuple[RunPaths, str, FakeSlurm], sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder, _ = job
    key = attempt.run_of_job(Path(folder))[1]
    attempt.begin(run, key)
    assert len(attempts.read(run, key)) == 1
    status.write(run.status, Status(State.RUNNING, step=5, saved_step=5))
    assert ended(monkeypatch, "end", folder, "137") == 0
    assert log_of(sweep) == ""


def test_a_job_that_has_nothing_to_start_advances_too(
    job: tuple[RunPaths, str, FakeSlurm],
    sweep: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, folder, _ = job
    run.cancelled.touch()
    monkeypatch.setattr(sys, "argv", ["attempt", "begin", folder])
    with pytest.raises(SystemExit) as ended:
        attempt.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == "exit 0\n"  # the shell evaluates it: nothing else may stand there
    assert f"after {run.root.name}, cancelled" in log_of(sweep)
