"""attempts.jsonl: does a line of each start and end survive kills, torn lines and other submissions?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.config.launch import LaunchConfig, Launcher
from tunefleet.launch import attempts
from tunefleet.launch.requeue import refusal


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
    recorded = attempts.read(RunPaths(tmp_path), "s")
    assert [(attempt.first, attempt.last, attempt.made_progress) for attempt in recorded] == [
        (0, 7, True),
        (7, 7, False),
        (7, None, False),
    ]


def test_each_submission_counts_for_itself(tmp_path: Path) -> None:
    paths = run(tmp_path)
    for submission in ("a", "a", "b", "a", "b"):
        attempts.begin(paths, submission, "12")
    assert [len(attempts.read(paths, submission)) for submission in ("a", "b", "c")] == [3, 2, 0]
    assert refusal(Cause.KILLED, attempts.read(paths, "b"), LaunchConfig(name=Launcher.SLURM, max_restarts=3))


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
    assert [attempt.started for attempt in attempts.read(paths, "s")] == [1.0, 2.0]


def test_a_line_of_a_newer_version_counts(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    paths.attempts.write_text(line(started=1.0, mood="sad") + "\n")
    assert [attempt.started for attempt in attempts.read(paths, "s")] == [1.0]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_what_follows_a_line_that_was_cut_off_is_not_lost_with_it(tmp_path: Path, cut: int) -> None:
    """A machine that lost power: the next start appends to half a line."""
    paths = run(tmp_path)
    paths.attempts.write_text(line(started=1.0) + "\n" + line(started=2.0)[:cut])
    attempts.begin(paths, "s", "12")
    attempts.begin(paths, "s", "12")
    assert len(attempts.read(paths, "s")) == 3
