"""Does a job end well whose run pauses at a rung or is pruned, and is the sweep advanced as its last act?"""

from __future__ import annotations

import re
from pathlib import Path

from tests.cluster.commands import Desk
from tunefleet.base import sweep_requests
from tunefleet.base.paths import RunPaths

LOG = "advance.log"
LATER = "launch.extra.begin=now+1hour"


def sweep_of(desk: Desk) -> Path:
    """The folder of a sweep that has the only run as its trial, as a driver makes it; it holds no sweep to advance."""
    folder = desk.folder / "outputs" / "sweeps" / "lr"
    folder.mkdir(parents=True)
    sweep_requests.join_sweep(RunPaths(desk.run), folder)
    return folder


def test_a_job_pauses_and_advances_its_sweep_and_the_next_trains_on(desk: Desk) -> None:
    desk.pretend("train.max_steps=40", "checkpoint.every=null", "launch.nodes=2", LATER)
    run, sweep = RunPaths(desk.run), sweep_of(desk)
    sweep_requests.set_rung(run, 7)
    first = desk.job
    desk.cluster.release(first)
    ended = desk.until("paused")
    assert (ended["cause"], ended["step"], ended["saved_step"], ended["restarts"]) == ("rung", 7, 7, 0)
    job = desk.cluster.wait(first, "COMPLETED")
    assert (job["Restarts"], job["ExitCode"]) == ("0", "0:0")
    log = (sweep / LOG).read_text()
    assert f"job {first}: after {run.root.name}, paused" in log
    assert re.search("exit code [1-9]", log)  # whose failure is not the job's
    desk.tunefleet("resume", run.root.name)  # by hand, so it trains to its end
    desk.cluster.release(desk.job)
    assert desk.until("finished")["step"] == 40
    assert (desk.job, (sweep / LOG).read_text().count(": after ")) != (first, 1)


def test_a_run_that_is_pruned_says_why(desk: Desk) -> None:
    desk.pretend("train.max_steps=100000", "checkpoint.every=null", "launch.nodes=2")
    desk.until_step(3)
    sweep_requests.prune(RunPaths(desk.run), "worse than the median of 9 trials")
    ended = desk.until("pruned")
    assert ended["saved_step"] == ended["step"] >= 3
    assert desk.cluster.wait(desk.job, "COMPLETED")["Restarts"] == "0"
    assert desk.card()["reason"] == "pruned: worse than the median of 9 trials"
