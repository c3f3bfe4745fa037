"""Does one process at a time advance a sweep, and does a second one learn who does?"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunefleet.base import owner
from tunefleet.sweep import lock
from tunefleet.sweep.lock import SweepBusy

HOLDS = """
import sys, time
from pathlib import Path
from tunefleet.sweep import lock
with lock.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline() == "held\n"
    return process


def test_a_second_driver_is_refused_with_the_first_one_s_name(tmp_path: Path) -> None:
    path = tmp_path / "sweep" / "lock"
    first = holder(path)
    current = lock.owner(path)
    assert current
    assert (current.pid, current.host) == (first.pid, socket.gethostname())
    with pytest.raises(SweepBusy, match=rf"sweep is being advanced by pid {first.pid} on "), lock.hold(path):
        pass
    first.kill()
    first.wait()
    with lock.hold(path):  # kill -9 leaves no lock behind
        assert lock.owner(path)
    assert lock.owner(path) is None


def test_who_waits_gets_it_when_it_is_free(tmp_path: Path) -> None:
    first = holder(tmp_path / "lock")
    killer = subprocess.Popen([sys.executable, "-c", f"import os,time; time.sleep(1.5); os.kill({first.pid}, 9)"])
    began = time.monotonic()
    with lock.hold(tmp_path / "lock", wait=30):
        assert time.monotonic() - began < 20
    first.wait()
    killer.wait()


def test_an_owner_on_another_machine_counts_while_its_heartbeat_is_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that keeps locks to one machine."""
    monkeypatch.setattr(owner, "WATCH", 0.6)
    path = tmp_path / "lock"
    path.write_text(json.dumps({"host": "node7", "pid": 1, "since": time.time()}))
    with pytest.raises(SweepBusy, match="by pid 1 on node7"), lock.hold(path):
        pass
    os.utime(path, (0, time.time() - 60))
    with lock.hold(path):  # control: it is gone
        pass
