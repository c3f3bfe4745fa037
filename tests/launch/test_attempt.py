"""Do the first and the last line of a job settle the run, and send it back only where that may help?"""

from __future__ import annotations

import shlex
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.launch.fakes import FakeSlurm, installed, queued
from tests.plans import tiny_plan
from tunefleet.base import failures, status
from tunefleet.base.errors import DONE
from tunefleet.base.failures import Failure
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.launch import attempt, attempts

KEY = "tunefleet:one"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT", "SLURMD_NODENAME"):
        monkeypatch.delenv(name, raising=False)
    fake = installed(tmp_path / "bin", monkeypatch)
    fake.says("scontrol", "JobId=12 JobName=a b JobState=RUNNING Reason=None")
    return fake


@pytest.fixture
def run(fake: FakeSlurm, tmp_path: Path) -> RunPaths:
    plan = tiny_plan(tmp_path, launch={"name": "slurm", "max_restarts": 2})
    plan.save()
    status.write(plan.paths.status, Status(State.QUEUED))
    return plan.paths


def saved_status(run: RunPaths) -> Status:
    run_status = status.read(run.status)
    assert run_status
    return run_status


def trains(run: RunPaths, saved_step: int = 5, state: State = State.RUNNING, cause: Cause = Cause.NONE) -> None:
    """What the ranks did between the two lines."""
    status.write(run.status, saved_status(run).moved(state=state, cause=cause, step=saved_step, saved_step=saved_step))


def requeued(fake: FakeSlurm) -> int:
    return fake.calls("scontrol").count(["requeue", "12"])


def test_the_beginning_tells_the_ranks_where_to_meet(run: RunPaths) -> None:
    failures.write(run, Failure(0, "of yesterday", Cause.ERROR, 1))
    run.stop.touch()
    exports = dict(line.removeprefix("export ").split("=", 1) for line in attempt.begin(run, KEY).splitlines())
    assert shlex.split(exports["TUNEFLEET_RUN"]) == [str(run.root)]
    assert exports["MASTER_ADDR"]
    assert 1024 <= int(exports["MASTER_PORT"]) <= 65535
    assert (saved_status(run).state, saved_status(run).job) == (State.STARTING, "12")
    assert failures.read_all(run) == []
    assert not run.stop.exists()
    assert len(attempts.read(run, KEY)) == 1


def test_a_good_end_is_the_end(run: RunPaths, fake: FakeSlurm) -> None:
    attempt.begin(run, KEY)
    trains(run, 40, State.FINISHED)
    previous = saved_status(run)
    assert attempt.end(run, KEY, 0) == DONE
    assert saved_status(run) == previous
    assert requeued(fake) == 0


@pytest.mark.parametrize(
    ("code", "state", "cause"), [(137, State.RUNNING, Cause.NONE), (130, State.CHECKPOINTING, Cause.TIME_LIMIT)]
)
def test_a_run_that_may_go_on_goes_back_into_the_queue(
    run: RunPaths, fake: FakeSlurm, code: int, state: State, cause: Cause
) -> None:
    attempt.begin(run, KEY)
    trains(run, 5, state, cause)
    assert attempt.end(run, KEY, code) == DONE
    assert (saved_status(run).state, saved_status(run).restarts) == (State.REQUEUED, 1)
    assert requeued(fake) == 1


NEVER: dict[str, Any] = {
    "a mistake": (Cause.USER_ERROR, State.FAILED),
    "NaN": (Cause.NON_FINITE, State.FAILED),
    "out of memory": (Cause.OUT_OF_MEMORY, State.FAILED),
    "a bug": (Cause.ERROR, State.FAILED),
}


@pytest.mark.parametrize("name", NEVER)
def test_a_run_that_would_fail_again_does_not_go_back(run: RunPaths, fake: FakeSlurm, name: str) -> None:
    cause, state = NEVER[name]
    attempt.begin(run, KEY)
    trains(run)
    failures.write(run, Failure(0, "why", cause, 3))
    assert attempt.end(run, KEY, 3) == 3
    assert (saved_status(run).state, saved_status(run).cause, saved_status(run).reason) == (
        state,
        cause,
        "rank 0 failed: why",
    )
    assert requeued(fake) == 0


@pytest.mark.parametrize(("cause", "state"), [(Cause.RUNG, State.PAUSED), (Cause.PRUNED, State.PRUNED)])
def test_what_its_sweep_asks_of_a_run_is_a_good_end(run: RunPaths, fake: FakeSlurm, cause: Cause, state: State) -> None:
    attempt.begin(run, KEY)
    status.write(
        run.status, saved_status(run).moved(state=State.CHECKPOINTING, cause=cause, saved_step=5, reason="why")
    )
    assert attempt.end(run, KEY, 0) == DONE
    assert (saved_status(run).state, saved_status(run).cause, saved_status(run).reason) == (state, cause, "why")
    assert requeued(fake) == 0
    assert attempt.begin(run, KEY) == "exit 0"  # SLURM requeues a job whose machine fails just after the last word
    status.write(
        run.status, saved_status(run).moved(state=State.QUEUED, cause=Cause.NONE)
    )  # as a new submission writes it
    assert "TUNEFLEET_RUN" in attempt.begin(run, KEY)


def test_a_cancelled_run_does_not_go_back(run: RunPaths, fake: FakeSlurm) -> None:
    attempt.begin(run, KEY)
    trains(run, 5, State.CHECKPOINTING, Cause.TERMINATED)
    run.cancelled.touch()
    attempt.end(run, KEY, 130)
    assert (saved_status(run).state, requeued(fake)) == (State.CANCELLED, 0)


def test_two_attempts_in_vain_are_the_end(run: RunPaths, fake: FakeSlurm) -> None:
    for _ in range(2):
        attempt.begin(run, KEY)
        trains(run, 0)
        code = attempt.end(run, KEY, 137)
    assert (code, saved_status(run).state, requeued(fake)) == (137, State.FAILED, 1)


def test_restarts_are_used_up(run: RunPaths, fake: FakeSlurm) -> None:
    for step in range(1, 4):
        attempt.begin(run, KEY)
        trains(run, step)
        attempt.end(run, KEY, 137)
    assert (saved_status(run).state, requeued(fake)) == (State.FAILED, 2)


def test_a_queue_that_does_not_take_it_back_is_the_end(run: RunPaths, fake: FakeSlurm) -> None:
    attempt.begin(run, KEY)
    trains(run)
    fake.says("scontrol", code=1, error="Requested operation is presently disabled")
    assert attempt.end(run, KEY, 137) == 1
    assert saved_status(run).state is State.FAILED
    assert "could not go back into the queue: scontrol: Requested operation" in saved_status(run).reason


# What SLURM sends back by itself


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        (State.FINISHED, Cause.NONE),
        (State.CANCELLED, Cause.CANCELLED),
        (State.FAILED, Cause.OUT_OF_MEMORY),
        (State.FAILED, Cause.NON_FINITE),
        (State.FAILED, Cause.USER_ERROR),
    ],
)
def test_what_has_ended_for_good_does_not_start_again(run: RunPaths, state: State, cause: Cause) -> None:
    """A machine that fails just after the last word: SLURM requeues the job."""
    attempt.begin(run, KEY)
    trains(run, 40, state, cause)
    previous = saved_status(run)
    assert attempt.begin(run, KEY) == ("" if state is State.FAILED else "exit 0")
    assert saved_status(run) == previous


@pytest.mark.parametrize(
    ("state", "cause"),
    [(State.RUNNING, Cause.NONE), (State.FAILED, Cause.NODE_FAILURE), (State.PREEMPTED, Cause.PREEMPTED)],
)
def test_control_what_a_machine_took_along_starts_again(run: RunPaths, state: State, cause: Cause) -> None:
    """Also where somebody looked in between and took it for lost."""
    attempt.begin(run, KEY)
    trains(run, 5, state, cause)
    assert attempt.begin(run, KEY)
    assert saved_status(run).state is State.STARTING


def test_machines_that_fail_in_vain_are_not_tried_for_ever(run: RunPaths) -> None:
    assert [bool(attempt.begin(run, KEY)) for _ in range(4)] == [True, True, False, False]
    assert (saved_status(run).state, saved_status(run).cause) == (State.FAILED, Cause.NO_PROGRESS)


@pytest.mark.parametrize("starts", [0, 2])
def test_a_run_that_was_cancelled_while_it_waited_does_not_start(run: RunPaths, starts: int) -> None:
    for _ in range(starts):
        attempt.begin(run, KEY)
    run.cancelled.touch()
    assert attempt.begin(run, KEY) == "exit 0"  # SLURM is content, and mails no failure
    assert (saved_status(run).state, saved_status(run).cause) == (State.CANCELLED, Cause.CANCELLED)


def test_each_job_of_an_array_finds_its_run_and_tells_the_number(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [RunPaths(tmp_path / "outputs" / f"r{number}") for number in range(3)]
    submitted = queued(tmp_path / "outputs", runs, job=None)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "40")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert attempt.run_of_job(Path(submitted.folder)) == (runs[2], submitted.key)
    assert submitted.job == "40"
    assert attempt.job_number() == "40_2"


def test_another_code_than_the_jobs_own_is_refused(run: RunPaths, tmp_path: Path) -> None:
    """Python goes on with an installed one where the copy is gone, or this machine does not see it."""
    assert attempt.begin(run, KEY, str(tmp_path / "code" / "src")) == ""
    assert (saved_status(run).state, saved_status(run).cause) == (State.FAILED, Cause.USER_ERROR)
    assert "the code that this job was to run is not there" in saved_status(run).reason
    own = str(Path(attempt.__file__).parents[2])
    status.write(run.status, Status(State.QUEUED))
    assert "TUNEFLEET_RUN" in attempt.begin(run, KEY, own)


def test_a_port_that_somebody_has_is_told_before_ranks_start(fake: FakeSlurm, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        plan = tiny_plan(tmp_path, launch={"name": "slurm", "port": listener.getsockname()[1]})
        plan.save()
        status.write(plan.paths.status, Status(State.QUEUED))
        assert attempt.begin(plan.paths, KEY) == ""
    assert (saved_status(plan.paths).state, saved_status(plan.paths).cause) == (State.FAILED, Cause.USER_ERROR)
    assert "launch.port" in saved_status(plan.paths).reason
    status.write(plan.paths.status, Status(State.QUEUED))
    assert "TUNEFLEET_RUN" in attempt.begin(plan.paths, KEY)
