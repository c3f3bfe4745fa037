"""Does `tunefleet cancel` end the runs that are meant, and is a run cancelled only once SLURM has done it?"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doors.runs import planned_run, status_of
from tests.launch.fakes import FakeSlurm, installed, queued
from tunefleet.base import processes
from tunefleet.base.errors import DONE, FAILED
from tunefleet.base.status import Cause, State
from tunefleet.doors.cancel import cancel
from tunefleet.launch.run_state import StatusReader

Capture = pytest.CaptureFixture[str]
TRAINS = """
import signal, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
def save(number, frame):
    (folder / "saved").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, save)
(folder / "ready").touch()
time.sleep(60)
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return installed(tmp_path / "bin", monkeypatch)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that saves when it is asked to end."""
    process = subprocess.Popen([sys.executable, "-IS", "-c", TRAINS, str(tmp_path)])
    deadline = time.monotonic() + 20
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait(timeout=20)


@pytest.mark.parametrize(("at_once", "code"), [(False, 130), (True, -signal.SIGKILL)], ids=["saves", "--now"])
def test_a_run_here_is_asked_to_save_or_killed(
    tmp_path: Path, fake: FakeSlurm, training: subprocess.Popen[bytes], capsys: Capture, at_once: bool, code: int
) -> None:
    run = planned_run(tmp_path, pid=training.pid)
    cancel([run], at_once)
    assert training.wait(timeout=20) == code
    assert (tmp_path / "saved").exists() is not at_once
    assert capsys.readouterr().out == ("run: is killed\n" if at_once else "run: saves, then ends\n")
    assert run.paths.cancelled.exists()
    run_status = StatusReader().status(run.paths)
    assert run_status
    assert (run_status.state, run_status.cause) == (State.CANCELLED, Cause.CANCELLED)


def test_other_processes_are_left_alone(
    tmp_path: Path, fake: FakeSlurm, training: subprocess.Popen[bytes], capsys: Capture
) -> None:
    """The number in the file of a run that ended may be somebody else's by now."""
    ended = planned_run(tmp_path, "ended", State.FINISHED, pid=training.pid)
    silent = planned_run(tmp_path, "silent", State.RUNNING, pid=training.pid, updated=time.time() - 3600)
    never = planned_run(tmp_path, "never", None)
    elsewhere = planned_run(tmp_path, "elsewhere", State.RUNNING, pid=training.pid, host="elsewhere")
    cancel([ended, silent, never, elsewhere], at_once=True)
    time.sleep(0.1)
    assert training.poll() is None
    assert not (tmp_path / "saved").exists()
    assert capsys.readouterr().out.splitlines() == [
        "ended: nothing to cancel, it is finished",
        "silent: nothing to cancel, it is failed",
        "never: never started; a running grid leaves it out",
        "elsewhere: runs on elsewhere: it saves and stops at its next step",
    ]
    assert [run.paths.cancelled.exists() for run in (ended, silent, never, elsewhere)] == [False, False, True, True]
    assert elsewhere.paths.stop.exists()


def test_a_process_that_ends_at_this_moment(
    tmp_path: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    process = subprocess.Popen([sys.executable, "-IS", "-c", ""])
    process.wait(timeout=20)
    monkeypatch.setattr(processes, "is_alive", lambda pid: True)
    cancel([planned_run(tmp_path, pid=process.pid)], at_once=False)
    assert capsys.readouterr().out == "run: has just ended\n"


@pytest.mark.parametrize(
    ("state", "line", "at_once", "arguments", "final_state"),
    [
        (State.QUEUED, "12|PENDING|Priority|", False, ["12"], State.CANCELLED),
        (State.REQUEUED, "12|PENDING|BeginTime|", False, ["12"], State.CANCELLED),
        (State.RUNNING, "12|RUNNING|None|", False, ["--signal=TERM", "12"], State.RUNNING),
        (State.RUNNING, "12|RUNNING|None|", True, ["12"], State.RUNNING),
    ],
)
def test_a_job_leaves_the_queue_or_is_asked_to_save(
    tmp_path: Path, fake: FakeSlurm, state: State, line: str, at_once: bool, arguments: list[str], final_state: State
) -> None:
    fake.says("squeue", line)
    run = planned_run(tmp_path, state=state, slurm=True)
    cancel([run], at_once)
    (output,) = fake.calls("scancel")
    assert [word for word in output if word != "--quiet"] == arguments
    assert status_of(run).state is final_state
    assert run.paths.cancelled.exists()


# SLURM refuses


def squeue(state: str, *jobs: str) -> str:
    return "\n".join(f"{job}|{state}|Priority|" for job in jobs)


REFUSED = "scancel: error: Unable to contact slurm controller (connect failure)"


@pytest.mark.parametrize(("state", "line"), [(State.QUEUED, "PENDING"), (State.RUNNING, "RUNNING")])
def test_a_run_is_not_cancelled_where_slurm_refuses(
    tmp_path: Path, fake: FakeSlurm, capsys: Capture, state: State, line: str
) -> None:
    fake.says("squeue", squeue(line, "12"))
    fake.says("scancel", code=1, error=REFUSED)
    run = planned_run(tmp_path, state=state, slurm=True)
    previous = status_of(run)
    assert cancel([run], at_once=False) == FAILED
    assert status_of(run) == previous
    assert not run.paths.cancelled.exists()
    assert not run.paths.stop.exists()
    assert "run: not cancelled: scancel: scancel: error: Unable to contact" in (output := capsys.readouterr().out)
    assert "tunefleet cancel run" in output
    fake.says("scancel")  # SLURM is back
    assert cancel([run], at_once=False) == DONE
    assert run.paths.cancelled.exists()
    assert len(fake.calls("scancel")) == 2


def test_what_slurm_has_cancelled_before_it_failed_is_cancelled(tmp_path: Path, fake: FakeSlurm) -> None:
    runs = [planned_run(tmp_path, name, State.QUEUED) for name in "abc"]
    queued(tmp_path / "outputs", [run.paths for run in runs])
    fake.says("squeue", squeue("PENDING", "12_0", "12_1", "12_2"))
    fake.does("scancel", f"printf '12_1|PENDING|Priority|\\n' >{fake.folder}/squeue.answer; exit 1")
    assert cancel(runs, at_once=False) == FAILED
    assert [status_of(run).state for run in runs] == [State.CANCELLED, State.QUEUED, State.CANCELLED]
    assert [run.paths.cancelled.exists() for run in runs] == [True, False, True]


def test_nothing_is_cancelled_where_slurm_answers_nothing_at_all(tmp_path: Path, fake: FakeSlurm) -> None:
    run = planned_run(tmp_path, state=State.QUEUED, slurm=True)
    for program in ("squeue", "scancel"):
        fake.says(program, code=1, error=REFUSED)
    assert cancel([run], at_once=False) == FAILED
    assert status_of(run).state is State.QUEUED
    assert not run.paths.cancelled.exists()


def test_cancelled_runs_leave_the_queue_as_long_as_they_are_in_it(
    tmp_path: Path, fake: FakeSlurm, capsys: Capture
) -> None:
    """A run whose files say that it is over, and whose job waits: a version before this one wrote the state first."""
    run = planned_run(tmp_path, state=State.CANCELLED, slurm=True)
    fake.says("squeue", squeue("PENDING", "12"))
    assert cancel([run], at_once=False) == DONE
    assert fake.calls("scancel") == [["--quiet", "12"]]
    assert capsys.readouterr().out == "run: job 12 is cancelled\n"
    fake.says("squeue", squeue("CANCELLED", "12"))
    assert cancel([run], at_once=False) == DONE
    assert len(fake.calls("scancel")) == 1
    assert capsys.readouterr().out == "run: nothing to cancel, it is cancelled\n"


def test_slurm_is_asked_before_the_state_is_written(tmp_path: Path, fake: FakeSlurm) -> None:
    run = planned_run(tmp_path, state=State.QUEUED, slurm=True)
    fake.says("squeue", squeue("PENDING", "12"))
    fake.does("scancel", f"cat {run.paths.status} >{tmp_path}/before")
    cancel([run], at_once=False)
    assert '"queued"' in (tmp_path / "before").read_text()
    assert status_of(run).state is State.CANCELLED


ALIKE = [pytest.param(reader, marks=pytest.mark.exhaustive) for reader in ("| true", ">&-", "2>&- | head -1")]
READERS = ["| head -1", ">/dev/full", *ALIKE]  # tests/base/test_stdio.py has all five by themselves


@pytest.mark.parametrize("reader", READERS)
def test_a_sweep_is_cancelled_whoever_reads_what_is_printed(tmp_path: Path, fake: FakeSlurm, reader: str) -> None:
    runs = [planned_run(tmp_path, f"run-with-a-long-name-{number:03d}", State.QUEUED) for number in range(205)]
    queued(tmp_path / "outputs", [run.paths for run in runs])
    jobs = [f"12_{number}" for number in range(205)]
    fake.says("squeue", squeue("PENDING", *jobs))
    names = " ".join(run.name for run in runs)
    program = f'{sys.executable} -c "import sys; from tunefleet.doors import cli; cli.main(sys.argv[1:])" cancel'
    shell = f"set -o pipefail; PATH=$PATH:/usr/bin:/bin; {program} {names} {reader}"
    done = subprocess.run(["/bin/bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr, "Error" in done.stderr) == (0, False, False)
    calls = fake.calls("scancel")
    assert [job for call in calls for job in call[1:]] == jobs
    assert max(len(call) for call in calls) == 101
    assert {status_of(run).state for run in runs} == {State.CANCELLED}
