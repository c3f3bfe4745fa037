"""Does one process at a time have a lock, does nobody have a dead one's for long, and is its owner known?"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base import owner, owner_lock
from tunefleet.base.owner import Owner
from tunefleet.base.owner_lock import LockedError

HOLDS = """
import os, sys, time
from pathlib import Path
from tunefleet.base import owner, owner_lock
owner.BEAT = float(sys.argv[2])
with owner_lock.hold(Path(sys.argv[1]), me=owner.Owner.current("driver", "first")):
    print("held", flush=True)
    time.sleep(120)
"""
RACES = """
import os, random, sys, time
from pathlib import Path
from tunefleet.base import owner_lock, processes
lock, inside, end = Path(sys.argv[1]), Path(sys.argv[2]), time.monotonic() + float(sys.argv[3])
owner_lock.POLL = 0.001
while time.monotonic() < end:
    with owner_lock.hold(lock, wait=60):
        if inside.exists() and processes.is_alive(int(inside.read_text() or 0)):
            sys.exit(3)
        inside.write_text(str(os.getpid()))
        time.sleep(random.random() / 500)
        if random.random() < 0.1:
            os._exit(7)  # with the lock
        inside.unlink()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def holder(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lock, with two heartbeats a second."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(lock), "0.5"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process, process.stdout:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def elsewhere(**changes: Any) -> Owner:
    """An owner on another machine."""
    return replace(Owner("node7", os.getpid(), time.time(), machine="another", start="first", token="t"), **changes)


def test_a_second_one_is_refused_with_the_owner(lock: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(LockedError, match=rf"lock: in use by driver, pid {holder.pid} on .*, since \d+s\. Wait for it"):
        take(lock)
    assert [process.pid for process in owner_lock.living(lock)] == [holder.pid]


def take(lock: Path, wait: float = 0.0) -> str:
    """Has the lock for a moment; returns what the record says of the start."""
    with owner_lock.hold(lock, wait, Owner.current(start="second")):
        current = owner_lock.claimed(lock)
        assert current
        return current.start


def test_a_stopped_owner_lives_and_a_killed_one_does_not(lock: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGSTOP)
    os.utime(lock, (0, 0))  # however old its heartbeat is
    with pytest.raises(LockedError):
        take(lock)
    holder.kill()  # and its parent has not asked yet how it ended: it is a zombie
    deadline = time.monotonic() + 20
    while owner_lock.living(lock) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert take(lock) == "second"
    assert list(lock.parent.iterdir()) == []


def test_a_number_that_was_given_to_another_process_is_no_owner(lock: Path) -> None:
    mine = Owner.current(start="first")
    lock.write_bytes(mine.content())
    with pytest.raises(LockedError):  # control: it is this process
        take(lock)
    lock.write_bytes(replace(mine, born=mine.born - 1).content())
    assert take(lock) == "second"


def test_who_waits_gets_it_and_learns_for_whom(lock: Path, holder: subprocess.Popen[str]) -> None:
    rivals: list[Owner] = []

    def notify(process: Owner) -> None:
        rivals.append(process)
        holder.kill()
        holder.wait()

    with owner_lock.hold(lock, wait=60, notify=notify):
        assert [process.pid for process in rivals] == [holder.pid]


def test_a_fresh_heartbeat_of_another_machine_counts(lock: Path) -> None:
    lock.write_bytes(elsewhere().content())
    with pytest.raises(LockedError, match="on node7"):
        take(lock)


@pytest.mark.parametrize("offset", [-100, 3600], ids=["old", "of the future"])
def test_a_heartbeat_that_is_not_of_now_is_watched(lock: Path, monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    monkeypatch.setattr(owner, "WATCH", 1.2)
    lock.write_bytes(elsewhere().content())
    moment = time.time() + offset
    os.utime(lock, (moment, moment))
    began = time.monotonic()
    assert take(lock) == "second"
    assert time.monotonic() - began > 1


def test_an_old_heartbeat_that_goes_on_counts(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose disk shows other times than ours."""
    monkeypatch.setattr(owner, "WATCH", 60.0)
    lock.write_bytes(elsewhere().content())
    beats = "import os, sys, time\nfor beat in range(1000): os.utime(sys.argv[1], (beat, beat)); time.sleep(0.3)"
    with subprocess.Popen([sys.executable, "-IS", "-c", beats, str(lock)]) as process:
        while lock.stat().st_mtime > 1000:
            time.sleep(0.01)
        with pytest.raises(LockedError, match="on node7"):
            take(lock)
        process.kill()


def test_the_clock_of_this_machine_does_not_count(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    lock.write_bytes(elsewhere().content())
    with pytest.raises(LockedError):
        take(lock)


def test_an_owner_gives_signs_of_life(lock: Path, holder: subprocess.Popen[str]) -> None:
    os.utime(lock, (0, 0))
    deadline = time.monotonic() + 20
    while lock.stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert time.time() - lock.stat().st_mtime < 20
    assert holder.poll() is None


def test_an_owner_whose_lock_was_taken_leaves_at_once(lock: Path, holder: subprocess.Popen[str]) -> None:
    """As after a machine was suspended, and another has taken over."""
    lock.write_bytes(elsewhere(token="other").content())
    assert holder.wait(timeout=30) == 2
    assert owner_lock.claimed(lock) == elsewhere(token="other", since=owner_lock.claimed(lock).since)  # type: ignore[union-attr]


def test_a_lock_that_was_removed_ends_nobody(lock: Path, holder: subprocess.Popen[str]) -> None:
    """Control: a user has removed the folder."""
    lock.unlink()
    with pytest.raises(subprocess.TimeoutExpired):
        holder.wait(timeout=1.5)


def test_those_who_joined_keep_it(lock: Path) -> None:
    first, member = Owner.current(start="first"), Owner.current("rank 1", "first")
    with owner_lock.hold(lock, me=first), owner_lock.join(lock, member):
        lock.write_bytes(replace(first, pid=2**22 + 1).content())  # the owner was killed
        assert [process.role for process in owner_lock.living(lock)] == ["rank 1"]
        with pytest.raises(LockedError, match=rf"rank 1, pid {os.getpid()}"):
            take(lock)
        assert owner_lock.claimed(lock) is None  # given back, not kept
    assert take(lock) == "second"


def test_none_joins_another_start(lock: Path) -> None:
    with owner_lock.hold(lock, me=Owner.current(start="first")):
        for start in ("second", ""):
            with pytest.raises(LockedError), owner_lock.join(lock, Owner.current("rank 1", start)):
                pass
        assert len(owner_lock.living(lock)) == 1
    with pytest.raises(LockedError), owner_lock.join(lock, Owner.current("rank 1", "first")):
        pass
    assert list(lock.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\x00", b'{"host": "a", "pid": "x"}', b"[" * 100_000])
def test_a_record_that_cannot_be_read_is_nobodys_when_it_is_old(lock: Path, content: bytes) -> None:
    lock.write_bytes(content)
    os.utime(lock, (time.time() - 60, time.time() - 60))
    assert owner_lock.living(lock) == []
    assert take(lock) == "second"


def test_a_disk_without_links(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Any, target: Any) -> None:
        raise OSError(errno.EPERM, "no links here", str(target))

    monkeypatch.setattr(os, "link", refuse)
    assert take(lock) == "second"
    lock.write_bytes(Owner.current(start="first").content())
    with pytest.raises(LockedError):
        take(lock)


@pytest.mark.parametrize("seconds", [4.0, pytest.param(120.0, marks=pytest.mark.exhaustive)])
def test_of_many_racers_one_is_inside_although_some_die_there(lock: Path, seconds: float) -> None:
    """Every tenth ends with the lock, and others take it over."""
    command = [sys.executable, "-c", RACES, str(lock), str(lock.with_name("inside"))]
    end = time.monotonic() + seconds
    racers, codes = [subprocess.Popen([*command, str(seconds)]) for _ in range(4)], []
    while racers:
        for racer in [racer for racer in racers if racer.poll() is not None]:
            racers.remove(racer)
            codes.append(racer.returncode)
            if time.monotonic() < end:
                racers.append(subprocess.Popen([*command, str(end - time.monotonic())]))
        time.sleep(0.005)
    assert set(codes) <= {0, 7}
    assert 7 in codes, "the fault did not fire"


def test_what_is_newer_than_this_version_is_read(lock: Path) -> None:
    record = json.loads(Owner.current().content())
    assert owner.parsed(json.dumps({**record, "colour": "blue"}).encode()) == Owner(**record)
