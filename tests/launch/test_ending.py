"""Is every end of an attempt called by its cause, and does it leave the right state?"""

from __future__ import annotations

from typing import Any

import pytest

from tunefleet.base.failures import Failure
from tunefleet.base.status import Cause, State, Status
from tunefleet.launch import ending
from tunefleet.launch.ending import Ending

RUNNING = Status(State.RUNNING, step=7, saved_step=5)
FINISHED = Status(State.FINISHED, step=40)


def saved(cause: Cause) -> Status:
    """All ranks saved and left, on a wish."""
    return Status(State.CHECKPOINTING, step=7, saved_step=7, cause=cause, reason="of the sweep")


def failed(cause: Cause, rank: int = 0) -> Failure:
    return Failure(rank, "why", cause, 1)


OOM, LOST, USER, BUG = (
    failed(cause) for cause in (Cause.OUT_OF_MEMORY, Cause.LOST_PEER, Cause.USER_ERROR, Cause.ERROR)
)
NAN = failed(Cause.NON_FINITE)
Row = tuple[Status, list[Failure], int, str, bool, Cause, State]
TABLE: dict[str, Row] = {
    "finished": (FINISHED, [], 0, "RUNNING", False, Cause.NONE, State.FINISHED),
    "finished, whatever came after": (FINISHED, [OOM], 137, "CANCELLED", True, Cause.NONE, State.FINISHED),
    "a bug": (RUNNING, [BUG], 1, "RUNNING", False, Cause.ERROR, State.FAILED),
    "a mistake of the person's": (RUNNING, [USER], 2, "RUNNING", False, Cause.USER_ERROR, State.FAILED),
    "a loss that is NaN": (RUNNING, [NAN], 3, "RUNNING", False, Cause.NON_FINITE, State.FAILED),
    "out of memory on a GPU": (RUNNING, [OOM], 1, "RUNNING", False, Cause.OUT_OF_MEMORY, State.FAILED),
    "a rank's own failure before the rank that lost it": (
        RUNNING,
        [LOST, failed(Cause.OUT_OF_MEMORY, 1)],
        1,
        "RUNNING",
        False,
        Cause.OUT_OF_MEMORY,
        State.FAILED,
    ),
    "a failure while it is cancelled": (RUNNING, [BUG], 1, "CANCELLED", True, Cause.ERROR, State.FAILED),
    "only lost peers, and SLURM knows why": (RUNNING, [LOST], 1, "NODE_FAIL", False, Cause.NODE_FAILURE, State.FAILED),
    "only lost peers, and nobody knows why": (RUNNING, [LOST], 1, "RUNNING", False, Cause.KILLED, State.FAILED),
    "cancelled by tunefleet": (saved(Cause.TERMINATED), [], 130, "RUNNING", True, Cause.CANCELLED, State.CANCELLED),
    "cancelled by scancel": (RUNNING, [], 143, "CANCELLED", False, Cause.CANCELLED, State.CANCELLED),
    "cancelled, and peers were lost": (RUNNING, [LOST], 1, "RUNNING", True, Cause.CANCELLED, State.CANCELLED),
    "saved before the time limit": (saved(Cause.TIME_LIMIT), [], 130, "RUNNING", False, Cause.TIME_LIMIT, State.FAILED),
    "saved before preemption": (saved(Cause.TERMINATED), [], 130, "RUNNING", False, Cause.PREEMPTED, State.PREEMPTED),
    "at its rung": (saved(Cause.RUNG), [], 0, "RUNNING", False, Cause.RUNG, State.PAUSED),
    "at its rung, and a rank lost another while it left": (
        saved(Cause.RUNG),
        [LOST],
        1,
        "RUNNING",
        False,
        Cause.RUNG,
        State.PAUSED,
    ),
    "pruned": (saved(Cause.PRUNED), [], 0, "RUNNING", False, Cause.PRUNED, State.PRUNED),
    "cancelled at its rung": (saved(Cause.RUNG), [], 0, "RUNNING", True, Cause.CANCELLED, State.CANCELLED),
    "the stop file": (saved(Cause.STOP_FILE), [], 130, "RUNNING", False, Cause.STOP_FILE, State.INTERRUPTED),
    "interrupted": (saved(Cause.INTERRUPT), [], 130, "RUNNING", False, Cause.INTERRUPT, State.INTERRUPTED),
    "killed while saving as usual": (saved(Cause.NONE), [], 137, "RUNNING", False, Cause.KILLED, State.FAILED),
    "signalled before the first step": (RUNNING, [], 140, "RUNNING", False, Cause.TIME_LIMIT, State.FAILED),
    "told to end before it could save": (RUNNING, [], 143, "RUNNING", False, Cause.PREEMPTED, State.PREEMPTED),
    "preempted in SLURM's words": (RUNNING, [], 143, "PREEMPTED", False, Cause.PREEMPTED, State.PREEMPTED),
    "the time limit in SLURM's words": (RUNNING, [], 0, "TIMEOUT", False, Cause.TIME_LIMIT, State.FAILED),
    "the machine's memory": (RUNNING, [], 137, "OUT_OF_MEMORY", False, Cause.OUT_OF_MEMORY, State.FAILED),
    "a machine failed": (RUNNING, [], 1, "NODE_FAIL", False, Cause.NODE_FAILURE, State.FAILED),
    "killed": (RUNNING, [], 137, "RUNNING", False, Cause.KILLED, State.FAILED),
    "crashed": (RUNNING, [], 139, "RUNNING", False, Cause.KILLED, State.FAILED),
    "SLURM says nothing": (RUNNING, [], 1, "", False, Cause.KILLED, State.FAILED),
    "left with 0 and unfinished": (RUNNING, [], 0, "COMPLETING", False, Cause.KILLED, State.FAILED),
}


@pytest.mark.parametrize("name", TABLE)
def test_cause_and_state_of_an_ending(name: str) -> None:
    run_status, failures, code, job_state, cancelled, cause, state = TABLE[name]
    actual = ending.of_attempt(run_status, failures, code, job_state, cancelled)
    assert (actual.cause, actual.state) == (cause, state)
    assert actual.reason or cause is Cause.NONE


def test_every_cause_leaves_a_final_state() -> None:
    assert [cause for cause in Cause if not Ending(cause, "").state.final] == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((RUNNING, [failed(Cause.ERROR, 3)], 1, "", False), "rank 3 failed: why"),
        ((saved(Cause.TIME_LIMIT), [], 130, "", False), "saved before the time limit, at step 7"),
        ((saved(Cause.PRUNED), [], 0, "", False), "of the sweep"),
        ((RUNNING, [], 137, "", False), "a process was killed by SIGKILL"),
        ((RUNNING, [], 134, "", False), f"a process was killed by SIGABRT ({ending.HINTS[6]})"),
        ((RUNNING, [], 9, "", False), "a process was killed (srun ended with 9)"),
        ((RUNNING, [], 1, "CANCELLED", False), "cancelled by scancel"),
        ((RUNNING, [], 1, "CANCELLED", True), "cancelled by the user"),
    ],
)
def test_the_reason_is_for_people(arguments: Any, reason: str) -> None:
    assert ending.of_attempt(*arguments).reason == reason


@pytest.mark.parametrize(
    ("job_state", "cause"),
    [
        ("CANCELLED", Cause.CANCELLED),
        ("PREEMPTED", Cause.PREEMPTED),
        ("TIMEOUT", Cause.TIME_LIMIT),
        ("DEADLINE", Cause.TIME_LIMIT),
        ("OUT_OF_MEMORY", Cause.OUT_OF_MEMORY),
        ("NODE_FAIL", Cause.NODE_FAILURE),
        ("BOOT_FAIL", Cause.NODE_FAILURE),
        ("LAUNCH_FAILED", Cause.NODE_FAILURE),
    ],
)
def test_what_slurm_says_of_a_job(job_state: str, cause: Cause) -> None:
    assert ending.of_job(job_state) == Ending(cause, f"SLURM says {job_state}")
    assert ending.of_job(job_state, "None") == Ending(cause, f"SLURM says {job_state}")
    assert ending.of_job(job_state, "Prolog") == Ending(cause, f"SLURM says {job_state} (Prolog)")


@pytest.mark.parametrize("job_state", ["", "COMPLETED", "FAILED", "RUNNING", "SOMETHING_NEW"])
def test_what_says_nothing_of_the_cause(job_state: str) -> None:
    assert ending.of_job(job_state) is None
