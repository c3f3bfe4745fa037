"""Does status.json tell where a run stands, and is a damaged one nothing instead of a crash?"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunefleet.base import processes, status
from tunefleet.base.status import Cause, State, Status


def test_round_trip(tmp_path: Path) -> None:
    before = Status(State.RUNNING, 7, 40, 1.25, 812.5, 33.0, reason="", pid=12, host="here", updated=1000.5)
    status.write(tmp_path / "status.json", before)
    assert status.read(tmp_path / "status.json") == before


def test_the_file_speaks_plain_words(tmp_path: Path) -> None:
    status.write(tmp_path / "status.json", Status(State.INTERRUPTED, step=3))
    record = json.loads((tmp_path / "status.json").read_text())
    assert record["state"] == "interrupted"
    assert record["step"] == 3
    assert record["loss"] is None


@pytest.mark.parametrize(
    "content",
    [b"", b'{"state": "runn', b"[]", b"null", b"7", b"{}", b'{"state": "asleep"}', b'{"state": null}', b"\xff\xfe\x00"],
)
def test_a_damaged_file_reads_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "status.json").write_bytes(content)
    assert status.read(tmp_path / "status.json") is None


def test_no_file_reads_as_none(tmp_path: Path) -> None:
    assert status.read(tmp_path / "status.json") is None


def test_fields_of_another_version_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"state": "failed", "step": 4, "mood": "sad"}')
    read = status.read(tmp_path / "status.json")
    assert read is not None
    assert (read.state, read.step, read.reason) == (State.FAILED, 4, "")


def test_moved_is_stamped_by_the_process_that_moves_it() -> None:
    before = Status(State.RUNNING, step=5, loss=2.0, pid=-1, host="elsewhere", updated=0.0)
    after = before.moved(state=State.FAILED, cause=Cause.ERROR, reason="why")
    assert (after.state, after.reason, after.step, after.loss) == (State.FAILED, "why", 5, 2.0)
    assert after.pid == os.getpid()
    assert after.host != "elsewhere"
    assert abs(after.updated - time.time()) < 60


def test_age_is_in_seconds_and_never_negative() -> None:
    assert 9 < Status(State.RUNNING, updated=time.time() - 10).age < 60
    assert Status(State.RUNNING, updated=time.time() + 1000).age == 0.0


def test_which_states_are_final() -> None:
    assert [state.value for state in State if state.final] == [
        "finished",
        "paused",
        "pruned",
        "interrupted",
        "preempted",
        "cancelled",
        "failed",
    ]


def test_noted_stays_the_last_word_of_the_run_itself() -> None:
    before = Status(State.RUNNING, step=5, cause=Cause.NONE, pid=-1, host="elsewhere", updated=7.0)
    after = before.noted("SLURM does not answer")
    assert after == Status(State.RUNNING, step=5, reason="SLURM does not answer", pid=-1, host="elsewhere", updated=7.0)
    assert before.noted("waits", State.QUEUED).state is State.QUEUED


def test_states_are_alive_final_or_waiting_and_never_two_of_them() -> None:
    assert not [state for state in State if state.alive and state.final]
    assert [state for state in State if not state.alive and not state.final] == [State.QUEUED, State.REQUEUED]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("cause", Cause)
def test_every_state_and_cause_survives_the_file(tmp_path: Path, state: State, cause: Cause) -> None:
    before = Status(state, cause=cause, reason="na\u00efve \u2028 [reason]", job="12_3", restarts=2)
    status.write(tmp_path / "status.json", before)
    assert status.read(tmp_path / "status.json") == before


def test_a_state_of_a_newer_version_reads_as_none_and_not_as_something_else(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"state": "pondering", "step": 3}')
    assert status.read(tmp_path / "status.json") is None


def test_a_cause_of_a_newer_version_does_not_hide_the_state(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"state": "failed", "cause": "cosmic ray"}')
    read = status.read(tmp_path / "status.json")
    assert read is not None
    assert (read.state, read.cause) == (State.FAILED, Cause.NONE)


def test_a_status_without_a_process_means_nobody_and_not_the_reader(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"state": "running"}')
    read = status.read(tmp_path / "status.json")
    assert read is not None
    assert not processes.is_alive(read.pid)


def test_a_file_from_before_there_were_causes_is_read(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"state": "failed", "reason": "old"}')
    read = status.read(tmp_path / "status.json")
    assert read
    assert (read.cause, read.job, read.restarts) == (Cause.NONE, "", 0)


# Heartbeat

BEATS = """
import sys, time
from pathlib import Path
from tunefleet.base import status
status.start_heartbeat(Path(sys.argv[1]), seconds=0.02)
time.sleep(float(sys.argv[2]))
"""


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def beating(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process that lives for a minute, and the file that it touches."""
    path = tmp_path / ".heartbeat"
    process = subprocess.Popen([sys.executable, "-c", BEATS, str(path), "60"])
    until(path.exists)
    yield process, path
    process.kill()
    process.wait(timeout=20)


def test_the_heart_beats_on_and_stops_with_the_process_even_if_it_is_killed(
    beating: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, path = beating
    seen = path.stat().st_mtime_ns
    until(lambda: path.stat().st_mtime_ns > seen)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=20)
    last = path.stat().st_mtime_ns
    time.sleep(0.2)  # ten beats
    assert path.stat().st_mtime_ns == last


def test_a_stopped_process_is_silent_although_it_lives(beating: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, path = beating
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    assert processes.is_alive(process.pid)
    assert status.seconds_since_heartbeat(path) > 0.2


HELD = "import threading; setattr(threading.Thread, 'daemon', False)\n"  # as if it were an ordinary thread


@pytest.mark.parametrize("held", [False, True], ids=["daemon", "control"])
def test_the_heartbeat_does_not_keep_a_process_that_is_done(tmp_path: Path, held: bool) -> None:
    """Its thread never returns: it must be one that nobody waits for."""
    path = tmp_path / ".heartbeat"
    process = subprocess.Popen([sys.executable, "-c", (HELD if held else "") + BEATS, str(path), "0"])
    try:
        until(path.exists)
        if held:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=1)
        else:
            assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait(timeout=20)


def test_a_disk_that_fails_does_not_end_the_heart(tmp_path: Path) -> None:
    folder = tmp_path / "late"
    process = subprocess.Popen([sys.executable, "-c", BEATS, str(folder / ".heartbeat"), "60"])
    try:
        time.sleep(0.5)  # several beats into nothing
        assert process.poll() is None
        folder.mkdir()
        until((folder / ".heartbeat").exists)
    finally:
        process.kill()
        process.wait(timeout=20)


def test_silence_is_seconds_since_the_last_beat(tmp_path: Path) -> None:
    path = tmp_path / ".heartbeat"
    assert status.seconds_since_heartbeat(path) == math.inf
    path.touch()
    assert status.seconds_since_heartbeat(path) < 20
    os.utime(path, (time.time() - 100, time.time() - 100))
    assert 99 < status.seconds_since_heartbeat(path) < 150
    os.utime(path, (time.time() + 1000, time.time() + 1000))  # a clock that is ahead
    assert status.seconds_since_heartbeat(path) == 0.0


def test_which_processes_live() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(timeout=20)
    assert processes.is_alive(os.getpid())
    assert processes.is_alive(1)  # somebody else's
    assert not processes.is_alive(process.pid)
