"""Is a process told from another one of the same number, and a stopped one from one that runs?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tunefleet.base import processes


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that sleeps."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def until_stopped(pid: int, stopped: bool) -> None:
    deadline = time.monotonic() + 20
    while processes.is_stopped(pid) is not stopped:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_is_known_by_its_number_and_its_birth(child: subprocess.Popen[bytes]) -> None:
    born = processes.birth(child.pid)
    assert processes.is_alive(child.pid, born)
    assert not processes.is_alive(child.pid, born - 1)
    assert not processes.is_alive(0, 0)
    child.kill()
    deadline = time.monotonic() + 20
    while processes.is_alive(child.pid, born):  # dead, and not waited for
        assert time.monotonic() < deadline
    assert processes.born_at(child.pid) is None


def test_when_it_began_is_in_seconds_since_1970(child: subprocess.Popen[bytes]) -> None:
    born = processes.born_at(child.pid)
    assert born is not None
    assert abs(born - time.time()) < 60


def test_a_stopped_process_is_described(child: subprocess.Popen[bytes]) -> None:
    os.kill(child.pid, signal.SIGSTOP)
    until_stopped(child.pid, True)
    assert "T (stopped)" in processes.described(child.pid)
    os.kill(child.pid, signal.SIGCONT)
    until_stopped(child.pid, False)


def test_one_that_is_gone_is_no_error() -> None:
    assert processes.state(2**22 + 1) == ""
    assert processes.birth(2**22 + 1) == 0
    assert "No such file" in processes.described(2**22 + 1)


def test_reading_moves_bytes() -> None:
    before = processes.bytes_moved()
    with open("/dev/zero", "rb") as zeros:
        zeros.read(1 << 20)
    assert processes.bytes_moved() - before >= 1 << 20
