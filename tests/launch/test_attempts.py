"""May a run start again: not too often, not in vain, and not after what another start does not mend?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.config.launch import LaunchConfig
from tunefleet.launch import attempts
from tunefleet.launch.attempts import Attempt, refusal

AGAIN = [Cause.TIME_LIMIT, Cause.PREEMPTED, Cause.KILLED, Cause.NODE_FAILURE, Cause.LOST_PEER]
NEVER = [cause for cause in Cause if cause not in AGAIN]
LAUNCH = LaunchConfig(max_restarts=3)


def done(*steps: tuple[int, int | None]) -> list[Attempt]:
    """Attempts that found and left these checkpointed steps."""
    return [Attempt("s", "12", float(number), first, last) for number, (first, last) in enumerate(steps)]


# The rules


@pytest.mark.parametrize("cause", AGAIN)
def test_what_came_from_outside_is_started_again(cause: Cause) -> None:
    assert refusal(cause, done((0, 5)), LAUNCH) is None


@pytest.mark.parametrize("cause", NEVER)
def test_what_would_come_again_is_not_started_again(cause: Cause) -> None:
    """Control: the same attempts after a time limit would be allowed."""
    assert refusal(cause, done((0, 5)), LAUNCH) == f"{cause.value} is not fixed by starting again"
    assert refusal(Cause.TIME_LIMIT, done((0, 5)), LAUNCH) is None


def test_the_rule_names_success_cancel_mistakes_nan_and_memory() -> None:
    """What the document promises, in so many words: a change of the list must change this test."""
    promised = {Cause.NONE, Cause.CANCELLED, Cause.USER_ERROR, Cause.NON_FINITE, Cause.OUT_OF_MEMORY}
    wishes = {Cause.STOP_FILE, Cause.INTERRUPT}
    assert set(NEVER) == promised | wishes | {Cause.ERROR, Cause.EXPORT, Cause.NO_PROGRESS, Cause.TERMINATED}


@pytest.mark.parametrize(("starts", "allowed"), [(1, True), (2, True), (3, True), (4, False), (5, False)])
def test_three_restarts_are_four_starts(starts: int, allowed: bool) -> None:
    fruitful = done(*((step, step + 1) for step in range(starts)))
    assert (refusal(Cause.PREEMPTED, fruitful, LAUNCH) is None) is allowed
    assert allowed or refusal(Cause.PREEMPTED, fruitful, LAUNCH) == "launch.max_restarts=3 are used up"


def test_without_restarts_the_first_start_is_the_last() -> None:
    none = replace(LAUNCH, max_restarts=0)
    assert refusal(Cause.PREEMPTED, done((0, 5)), none) == "launch.max_restarts=0 are used up"


@pytest.mark.parametrize(
    ("steps", "allowed"),
    [
        ([(0, 0)], True),  # once is bad luck
        ([(0, 0), (0, 0)], False),
        ([(5, 5), (5, 5)], False),
        ([(0, 5), (5, 5)], True),
        ([(0, 5), (5, 5), (5, 5)], False),
        ([(0, 0), (0, 1)], True),
        ([(0, 0), (0, 1), (1, 1)], True),
        ([(5, 3), (3, 3)], False),  # older than before is no progress
    ],
)
def test_two_attempts_without_a_new_checkpoint_are_enough(steps: list[tuple[int, int]], allowed: bool) -> None:
    said = refusal(Cause.TIME_LIMIT, done(*steps), LAUNCH)
    assert (said is None) is allowed
    assert allowed or (said and said.startswith("the last 2 attempts saved no new step"))


# The file


def run(folder: Path, saved_step: int = 0) -> RunPaths:
    paths = RunPaths(folder)
    status.write(paths.status, Status(State.RUNNING, saved_step=saved_step))
    return paths


def test_an_end_repeats_its_beginning(tmp_path: Path) -> None:
    paths = run(tmp_path)
    begun = attempts.begin(paths, "s", "12_3")
    assert attempts.read(paths, "s") == [begun]
    ended = replace(begun, last=9, cause=Cause.TIME_LIMIT)
    attempts.write(paths, ended)
    assert attempts.read(paths, "s") == [ended]
    assert len(paths.attempts.read_text().splitlines()) == 2


def test_an_attempt_that_was_killed_ends_where_the_next_begins(tmp_path: Path) -> None:
    attempts.begin(run(tmp_path, 0), "s", "12")
    attempts.begin(run(tmp_path, 7), "s", "12")
    attempts.begin(run(tmp_path, 7), "s", "12")
    found = attempts.read(RunPaths(tmp_path), "s")
    assert [(one.first, one.last, one.made_progress) for one in found] == [
        (0, 7, True),
        (7, 7, False),
        (7, None, False),
    ]


def test_each_submission_counts_for_itself(tmp_path: Path) -> None:
    paths = run(tmp_path)
    for submission in ("a", "a", "b", "a", "b"):
        attempts.begin(paths, submission, "12")
    assert [len(attempts.read(paths, submission)) for submission in ("a", "b", "c")] == [3, 2, 0]
    assert refusal(Cause.KILLED, attempts.read(paths, "b"), LAUNCH)


def test_no_file_is_no_attempt(tmp_path: Path) -> None:
    assert attempts.read(RunPaths(tmp_path), "s") == []


def line(submission: str = "s", started: float = 1.0, **changes: object) -> str:
    return json.dumps({"submission": submission, "job": "12", "started": started, "first": 0, "cause": "", **changes})


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\n\n",
        b'{"submission": "s", "jo',
        b"\x00\x00\x00\x00",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'"s"',
        line(cause="cosmic ray").encode(),
        b'{"submission": "s"}',
    ],
    ids=lambda damage: repr(damage)[:30],
)
def test_a_damaged_line_hides_no_other(tmp_path: Path, damage: bytes) -> None:
    paths = RunPaths(tmp_path)
    content = [line(started=1.0).encode(), damage, line(started=2.0).encode()]
    paths.attempts.write_bytes(b"\n".join(content) + b"\n")
    assert [one.started for one in attempts.read(paths, "s")] == [1.0, 2.0]


def test_a_line_of_a_newer_version_counts(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    paths.attempts.write_text(line(started=1.0, mood="sad") + "\n")
    assert [one.started for one in attempts.read(paths, "s")] == [1.0]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_what_follows_a_line_that_was_cut_off_is_not_lost_with_it(tmp_path: Path, cut: int) -> None:
    """A machine that lost power: the next start appends to half a line."""
    paths = run(tmp_path)
    paths.attempts.write_text(line(started=1.0) + "\n" + line(started=2.0)[:cut])
    attempts.begin(paths, "s", "12")
    attempts.begin(paths, "s", "12")
    assert len(attempts.read(paths, "s")) == 3
