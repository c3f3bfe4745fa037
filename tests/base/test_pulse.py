"""Does a pulse say what its rank does, also when the rank was stopped before it could write it?"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tunefleet.base import files, pulse
from tunefleet.base.pulse import Shares, Writer


def read(path: Path) -> pulse.Pulse:
    now = pulse.read(path)
    assert now is not None
    return now


def test_what_a_rank_does_is_in_its_pulse(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "rank3.pulse.json"
    writer = Writer(path, 3)
    pulse.enter("training", 7)
    assert writer.write(Shares())
    first = read(path)
    assert (first.rank, first.pid, first.phase, first.step, first.beats) == (3, os.getpid(), "training", 7, 1)
    pulse.tick()
    writer.write(Shares())
    second = read(path)
    assert (second.laps, second.ticks, second.beats) == (first.laps, first.ticks + 1, 2)


def test_the_place_goes_on_between_two_pulses(tmp_path: Path) -> None:
    """A stopped rank shows where it is, although its thread could not say so any more."""
    path = tmp_path / "rank0.pulse.json"
    writer = Writer(path, 0)
    pulse.enter("taking data", 12)
    writer.write(Shares())
    pulse.enter("training")
    assert (read(path).phase, read(path).step, read(path).beats) == ("training", 12, 1)
    pulse.place_of(path).unlink()
    assert read(path).phase == "taking data"  # the control


def test_work_of_one_rank_is_marked_and_over(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "rank0.pulse.json", 0)
    pulse.enter("exporting")
    with pulse.solo_work("writing"):
        writer.write(Shares())
        inside = read(tmp_path / "rank0.pulse.json")
    writer.write(Shares())
    after = read(tmp_path / "rank0.pulse.json")
    assert (inside.solo, inside.phase) == (True, "writing")
    assert (after.solo, after.phase) == (False, "exporting")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"rank": 0}', b'{"rank": "a", "host": 1}', b"null"]
)
def test_a_torn_pulse_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pulse").write_bytes(content)
    assert pulse.read(tmp_path / "pulse") is None


def test_a_disk_that_is_full_still_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rank0.pulse.json"
    writer = Writer(path, 0)
    writer.write(Shares())
    (tmp_path / "temporary").mkdir()  # what is written first cannot be
    monkeypatch.setattr(files, "temporary_beside", lambda path: tmp_path / "temporary")
    os.utime(path, (1, 1))
    assert writer.write(Shares())
    assert path.stat().st_mtime > 1
    path.unlink()
    assert not writer.write(Shares())


def test_shares_are_of_the_time_that_passed() -> None:
    shares = Shares()
    assert (shares.late, shares.waited) == (0.0, 0.0)
    shares.add(1.0, 0.5, True)
    shares.add(1.0, 0.0, False)
    assert (shares.late, shares.waited) == (0.25, 0.5)


def test_a_thread_in_a_collective_is_seen(tmp_path: Path) -> None:
    """By the file of its frame, as that of torch.distributed."""
    folder = tmp_path / "torch" / "distributed"
    folder.mkdir(parents=True)
    code = compile("entered.set()\nover.wait()", str(folder / "distributed_c10d.py"), "exec")
    entered, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=exec, args=(code, {"entered": entered, "over": over}))
    assert not pulse.in_collective()
    thread.start()
    entered.wait(20)
    try:
        assert pulse.in_collective()
    finally:
        over.set()
        thread.join()
