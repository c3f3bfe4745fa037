"""How does a run end that does not finish, and what is a person told?"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.cluster.commands import Desk, wait_until
from tests.cluster.rank import Trouble
from tests.cluster.slurm import Cluster

ENDLESS = "train.max_steps=100000"
OWN = {
    "error": "rank 1 failed: RuntimeError: the disk is full",
    "user error": "rank 1 failed: rows.jsonl:7: broken JSON",
    "non-finite loss": "rank 1 failed: the loss became nan at step 5",
    "out of memory": "rank 1 failed: RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB",
}


@pytest.mark.parametrize("cause", OWN)
def test_what_a_new_start_does_not_mend_ends_the_run_and_names_the_rank(desk: Desk, cause: str) -> None:
    desk.pretend(ENDLESS, "checkpoint.every=2", "launch.nodes=2", trouble=Trouble(cause, rank=1))
    ended = desk.until("failed")
    assert (ended["cause"], ended["reason"]) == (cause, OWN[cause])
    assert ended["restarts"] == 0
    assert desk.cluster.wait(desk.job, "FAILED")["Restarts"] == "0"
    assert desk.card()["reason"] == f"{cause}: {OWN[cause]}"


def test_without_the_rule_it_would_start_again(copied: Desk) -> None:
    """The control of the test before."""
    copied.edit("launch/requeue.py", "    Cause.LOST_PEER,", "    Cause.LOST_PEER, Cause.ERROR,")
    copied.pretend(ENDLESS, "checkpoint.every=2", "launch.nodes=2", trouble=Trouble("error", rank=1))
    assert copied.until("requeued", "failed")["state"] == "requeued"


def test_a_lost_rank_ends_ranks_that_hang(desk: Desk) -> None:
    desk.pretend(ENDLESS, "launch.nodes=2", "launch.max_restarts=0", trouble=Trouble("killed", hangs=True))
    ended = desk.until("failed")
    assert "killed by SIGKILL" in ended["reason"]


def test_without_kill_on_bad_exit_nobody_notices_a_lost_rank(desk: Desk) -> None:
    """The control of the test before."""
    careless = 'launch.srun_args=["--kill-on-bad-exit=0"]'
    desk.pretend(ENDLESS, "launch.nodes=2", "launch.max_restarts=0", careless, trouble=Trouble("killed", hangs=True))
    desk.until_step(4)
    time.sleep(12)  # srun would give the other one ten seconds
    assert desk.status()["state"] == "running"
    os.kill(desk.rank(0), signal.SIGKILL)
    desk.until("failed")


def test_scancel_by_hand_is_the_end(desk: Desk) -> None:
    desk.pretend(ENDLESS, "launch.nodes=2")
    desk.until_step(3)
    desk.cluster.run("scancel", desk.job)
    ended = desk.until("cancelled")
    assert ended["saved_step"] >= 3
    assert (ended["cause"], ended["reason"]) == ("cancelled", "cancelled by scancel")
    assert desk.cluster.wait(desk.job, "CANCELLED")["Restarts"] == "0"


def test_cancelling_a_run_saves_first_however_long_it_takes(desk: Desk) -> None:
    desk.pretend(ENDLESS, "launch.nodes=2", trouble=Trouble(saving=12))  # SLURM kills after ten
    desk.until_step(3)
    said = desk.tunefleet("cancel", desk.run.name)
    assert f"job {desk.job}" in said
    ended = desk.until("cancelled")
    assert ended["saved_step"] == ended["step"] >= 3
    assert (ended["cause"], ended["reason"]) == ("cancelled", "cancelled by the user")
    assert desk.cluster.wait(desk.job, "COMPLETED CANCELLED FAILED")["Restarts"] == "0"


def test_cancelling_a_run_whose_ranks_are_not_there_yet_ends_it(desk: Desk) -> None:
    srun = desk.folder / "bin" / "srun"
    srun.parent.mkdir()
    real = shutil.which("srun", path=desk.environment["PATH"])
    srun.write_text(f'#!/bin/sh\nsleep 4\nexec {real} "$@"\n')
    srun.chmod(0o755)
    slow = Desk(desk.folder, desk.cluster, {"PATH": f"{srun.parent}:{desk.environment['PATH']}"})
    slow.pretend(ENDLESS)
    desk.until("starting")
    desk.tunefleet("cancel", desk.run.name)
    assert desk.until("cancelled", seconds=20)["step"] == 0


def test_cancelling_now_does_not_wait(desk: Desk) -> None:
    desk.pretend(ENDLESS, "launch.nodes=2", trouble=Trouble(saving=30))
    desk.until_step(3)
    desk.tunefleet("cancel", "--now", desk.run.name)
    desk.cluster.wait(desk.job, "CANCELLED")
    wait_until(lambda: desk.card()["state"] == "cancelled", desk.told)
    assert desk.status()["saved_step"] == 0


def test_a_cancelled_run_goes_on_when_it_is_asked_to(desk: Desk) -> None:
    desk.pretend("train.max_steps=60")
    desk.until_step(3)
    desk.tunefleet("cancel", desk.run.name)
    desk.until("cancelled")
    assert "submitted  job" in desk.tunefleet("resume", desk.run.name)
    assert desk.until("finished")["step"] == 60


def test_cancelling_a_run_that_waits_takes_it_out_of_the_queue(desk: Desk) -> None:
    desk.pretend("launch.extra.begin=now+1hour")
    desk.tunefleet("cancel", desk.run.name)
    assert desk.status()["state"] == "cancelled"
    wait_until(lambda: not desk.cluster.run("squeue", "--noheader"), desk.told)
    assert desk.card()["state"] == "cancelled"


def test_cancelling_a_requeued_run_ends_it(desk: Desk) -> None:
    desk.pretend(ENDLESS)
    desk.until_step(3)
    desk.cluster.run("scancel", "--signal=USR2", desk.job)
    desk.cluster.wait(desk.job, "PENDING")
    assert desk.card()["state"] == "requeued"
    desk.tunefleet("cancel", desk.run.name)
    assert desk.cluster.wait(desk.job, "CANCELLED")
    assert desk.card()["state"] == "cancelled"
    assert "nothing to cancel" in desk.tunefleet("cancel", desk.run.name)


@pytest.mark.parametrize(
    ("word", "said"),
    {"launch.partition=nowhere": "specified: nowhere", "launch.memory=900G": "Memory specification can not"}.items(),
)
def test_a_job_that_slurm_refuses_fails_with_its_words(desk: Desk, word: str, said: str) -> None:
    printed = desk.pretend(word, code=1)
    assert said in printed
    assert "Traceback" not in printed
    assert desk.status()["state"] == "failed"
    assert said in desk.status()["reason"]
    assert not desk.cluster.run("squeue", "--noheader")


def test_a_job_that_waits_says_for_what(desk: Desk) -> None:
    for node in desk.cluster.nodes:
        desk.cluster.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    desk.pretend()
    wait_until(lambda: "waits: None" not in desk.card()["reason"], desk.told)
    assert desk.card()["state"] == "queued"
    assert re.fullmatch("waits: .*(DOWN|DRAINED|Resources|ReqNodeNotAvail).*", desk.card()["reason"])
    assert "is queued already as job" in desk.pretend()


def test_a_python_that_is_not_there_is_named(desk: Desk) -> None:
    desk.train(f"launch.python={desk.folder}/no/python")
    desk.cluster.wait(desk.job, "FAILED")
    assert desk.card()["state"] == "failed"
    assert "no/python: No such file or directory" in desk.tunefleet("logs", desk.run.name)


@pytest.fixture(params=["cluster", "accounted"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    """A person at a cluster without or with accounting."""
    running: Cluster = request.getfixturevalue(request.param)
    return Desk(tmp_path, running)


def test_a_run_whose_processes_are_all_killed_gets_one_final_state(either: Desk) -> None:
    either.pretend(ENDLESS, "launch.nodes=2")
    either.until_step(3)
    batch = [pid for pid in either.cluster.pids() if f"{either.job}/slurm_script" in _command(pid)]
    for pid in [*batch, either.rank(0), either.rank(1)]:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: either.card()["state"] == "failed", either.told, seconds=60)
    ended = either.status()
    assert ended["cause"] == "killed"
    either.tunefleet("status", either.run.name)
    assert either.status() == ended


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
