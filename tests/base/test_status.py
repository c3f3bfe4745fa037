"""Does status.json tell where a run stands, and is a damaged one nothing instead of a crash?"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tunefleet.base import status
from tunefleet.base.status import State, Status


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
    after = before.moved(state=State.FAILED, reason="why")
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
        "interrupted",
        "preempted",
        "cancelled",
        "failed",
    ]
