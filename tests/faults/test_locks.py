"""Is a run directory one start's alone, whoever starts it and however it ends, on disks whose file locks do nothing?

The ranks are real ones that wait instead of training (`idle_rank.py`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.desk import Desk
from tests.faults.waiting import until
from tunefleet.base import owner, processes
from tunefleet.launch import run_lock

NO_FLOCK = "int flock(int file, int operation) { return 0; }\n"


def test_ranks_that_outlive_their_launcher_keep_the_directory(desk: Desk) -> None:
    launcher = desk.start()
    pids = desk.idle()
    assert f"run is already running (step 0 on {os.uname().nodename}" in desk.refusal()
    assert f"launcher, pid {launcher.pid} on" in desk.refusal()
    launcher.kill()
    launcher.wait()
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: not processes.is_alive(pids[0]))
    assert f"; rank 1, pid {pids[1]} on" in desk.refusal()
    os.kill(pids[1], signal.SIGSTOP)  # it lives
    assert f"; rank 1, pid {pids[1]} on" in desk.refusal()
    os.kill(pids[1], signal.SIGKILL)
    until(lambda: not processes.is_alive(pids[1]))
    desk.goes(desk.start())
    assert sorted(path.name for path in desk.root.glob(".lock*")) == []


def test_control_without_their_records_the_next_start_would_run_beside_them(desk: Desk) -> None:
    launcher = desk.start()
    pids = desk.idle()
    launcher.kill()
    launcher.wait()
    for record in desk.root.glob(".lock.*.joined"):
        record.unlink()
    second = desk.start()
    assert set(desk.idle()).isdisjoint(pids)
    assert all(processes.is_alive(pid) for pid in pids)
    (desk.root / "go").touch()
    assert second.wait(timeout=120) == 0


def test_ranks_of_an_external_launcher_take_the_same_lock(desk: Desk) -> None:
    first = desk.under_torchrun()
    pids = desk.idle()
    assert f"; rank 0, pid {pids[0]} on" in desk.refusal()  # of a start with a launcher of ours
    second = desk.under_torchrun()
    assert f"; rank 0, pid {pids[0]} on" in desk.refusal(second[0])
    assert second[1].communicate(timeout=120)[1] == ""  # rank 0 has said it
    assert second[1].returncode == 2
    first[0].kill()
    first[0].wait()
    assert f"; rank 1, pid {pids[1]} on" in desk.refusal(desk.under_torchrun()[0])
    first[1].kill()
    first[1].wait()
    third = desk.under_torchrun()
    desk.goes(third[0])
    assert third[1].wait(timeout=120) == 0


def test_of_several_starts_at_once_one_takes_over_a_dead_one_s(desk: Desk) -> None:
    launcher = desk.start()
    pids = desk.idle()
    for pid in (launcher.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    launcher.wait()
    until(lambda: not any(processes.is_alive(pid) for pid in pids))
    assert (desk.root / ".lock").exists(), "the fault did not fire"
    racers = [desk.start() for _ in range(4)]
    until(lambda: sum(racer.poll() is not None for racer in racers) == 3)
    assert [racer.returncode for racer in racers if racer.poll() is not None] == [2, 2, 2]
    (winner,) = [racer for racer in racers if racer.poll() is None]
    desk.goes(winner)


@pytest.fixture
def no_flock(tmp_path: Path) -> Path:
    """A library under which flock does nothing, as on some network disks."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler is installed")
    (tmp_path / "flock.c").write_text(NO_FLOCK)
    library = tmp_path / "flock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "flock.c"], check=True)
    return library


def test_it_holds_where_flock_does_nothing(desk: Desk, no_flock: Path) -> None:
    desk.environment = {"LD_PRELOAD": str(no_flock)}
    launcher = desk.start()
    pids = desk.idle()
    assert str(no_flock) in Path(f"/proc/{launcher.pid}/maps").read_text(), "the fault did not fire"
    assert f"launcher, pid {launcher.pid} on" in desk.refusal()
    launcher.kill()
    launcher.wait()
    refusal = desk.refusal()  # names any rank that lives
    assert any(f"pid {pid} on" in refusal for pid in pids)


@pytest.mark.parametrize(("preloaded", "locked"), [(False, "False"), (True, "True")], ids=["flock", "no flock"])
def test_control_a_file_lock_would_not(tmp_path: Path, no_flock: Path, preloaded: bool, locked: str) -> None:
    twice = """
import fcntl, sys
first, second = (open(sys.argv[1], "a") for _ in range(2))
fcntl.flock(first, fcntl.LOCK_EX)
try:
    fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print(True)
except BlockingIOError:
    print(False)
"""
    environment = {**os.environ, **({"LD_PRELOAD": str(no_flock)} if preloaded else {})}
    command = [sys.executable, "-c", twice, str(tmp_path / "lock")]
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip() == locked


def test_a_process_that_cannot_be_seen_is_known_by_its_heartbeat(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in another container, as on another machine: its number means nothing here."""
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("unshare may not make a container here")
    held = f"""
import time
from pathlib import Path
from tunefleet.base.paths import RunPaths
from tunefleet.launch import run_lock
with run_lock.hold(RunPaths(Path({str(desk.root)!r}))):
    print("held", flush=True)
    time.sleep(300)
"""
    with subprocess.Popen([*inside, sys.executable, "-c", held], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        (seen,) = run_lock.rivals(desk.plan.paths)
        assert not seen.is_here
        assert f"launcher, pid {seen.pid} on" in desk.refusal()
        process.kill()
    monkeypatch.setattr(owner, "WATCH", 1.0)
    assert len(run_lock.rivals(desk.plan.paths)) == 1  # a moment ago it lived
    os.utime(desk.plan.paths.lock, (time.time() - 60, time.time() - 60))
    assert run_lock.rivals(desk.plan.paths) == []
