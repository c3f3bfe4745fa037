"""Does a run whose job is taken away, killed or out of time go on by itself, and only where that helps?"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cluster.commands import Desk, wait_until
from tests.cluster.rank import Trouble
from tests.cluster.slurm import Cluster
from tests.stories.commands import metrics

ENDLESS = "train.max_steps=100000"
SAVES = "checkpoint.every=5"


def test_a_run_longer_than_its_time_limit_finishes_in_further_jobs(desk: Desk) -> None:
    slow = Trouble("slow", rank=0, step=0, starts=1)
    desk.pretend("train.max_steps=150", "launch.signal_before=1", "launch.nodes=2", trouble=slow)
    desk.until("running")
    desk.cluster.limit(desk.job, 35)
    waits = desk.until("requeued")
    assert waits["cause"] == "time limit"
    assert waits["reason"].startswith("saved before the time limit, at step ")
    assert "BeginTime" in desk.tunefleet("status", desk.run.name)
    desk.cluster.release(desk.job)
    desk.until_step(waits["step"] + 1)
    desk.cluster.run("scancel", "--signal=USR2", desk.job)  # what SLURM sends ahead of the limit
    desk.until("requeued")
    desk.cluster.release(desk.job)
    assert desk.until("finished")["restarts"] == 2
    assert [record["step"] for record in metrics(desk.run)] == [*range(1, 151)]


def test_a_preempted_run_saves_makes_way_and_comes_back(desk: Desk) -> None:
    desk.pretend("train.max_steps=60", "launch.nodes=2")
    desk.until_step(3)
    urgent = desk.cluster.submit("--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true")
    waits = desk.until("requeued")
    assert waits["cause"] == "preempted"
    assert waits["saved_step"] == waits["step"] >= 3
    desk.cluster.wait(urgent, "COMPLETED")
    desk.cluster.release(desk.job)
    assert desk.until("finished")["restarts"] == 1
    assert [record["step"] for record in metrics(desk.run)] == [*range(1, 61)]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_all_and_the_run_goes_on_from_its_checkpoint(desk: Desk, rank: int) -> None:
    desk.pretend("train.max_steps=80", SAVES, "launch.nodes=2")
    desk.until_step(8)
    os.kill(desk.rank(rank), signal.SIGKILL)
    waits = desk.until("requeued")
    assert (waits["cause"], waits["reason"]) == ("killed", "a process was killed by SIGKILL")
    desk.cluster.release(desk.job)
    assert desk.until("finished")["restarts"] == 1
    assert [record["step"] for record in metrics(desk.run)] == [*range(1, 81)]


def test_two_starts_that_saved_nothing_are_the_last(desk: Desk) -> None:
    desk.pretend(ENDLESS, trouble=Trouble("killed", rank=0))
    desk.until("requeued")
    desk.cluster.release(desk.job)
    ended = desk.until("failed")
    assert ended["restarts"] == 1
    assert "saved no new step" in ended["reason"]
    assert desk.cluster.wait(desk.job, "FAILED")["Restarts"] == "1"
    assert "killed" in desk.tunefleet("status", desk.run.name)


def test_restarts_are_counted_and_bounded(desk: Desk) -> None:
    desk.pretend(ENDLESS, SAVES, "launch.max_restarts=1", trouble=Trouble("killed", rank=0, step=7))
    desk.until("requeued")
    desk.cluster.release(desk.job)
    ended = desk.until("failed")
    assert ended["restarts"] == 1
    assert "launch.max_restarts=1" in ended["reason"]
    assert desk.cluster.wait(desk.job, "FAILED")["Restarts"] == "1"


def test_a_run_goes_on_after_a_node_was_set_down(desk: Desk) -> None:
    desk.pretend("train.max_steps=100", SAVES, "launch.nodes=2")
    desk.until_step(6)
    desk.cluster.down(desk.cluster.nodes[1])
    desk.cluster.wait(desk.job, "PENDING")
    desk.cluster.up(desk.cluster.nodes[1])
    desk.cluster.release(desk.job)
    assert desk.until("finished")["restarts"] == 1
    assert [record["step"] for record in metrics(desk.run)] == [*range(1, 101)]


def test_runs_go_on_after_their_first_or_their_second_node_crashed(cluster: Cluster, tmp_path: Path) -> None:
    first, second = (Desk(tmp_path / name, cluster) for name in ("first", "second"))
    slow = Trouble("slow", rank=0, step=0, starts=1)
    for desk, words in ((first, [f"launch.nodelist={cluster.nodes[1]}"]), (second, ["launch.nodes=2"])):
        desk.folder.mkdir()
        desk.pretend("train.max_steps=100", SAVES, *words, trouble=slow)
    for desk in (first, second):
        desk.until_step(6)
    cluster.crash(cluster.nodes[1])
    for desk in (first, second):
        cluster.wait(desk.job, "PENDING", seconds=90)
        assert desk.card()["state"] == "requeued"
    cluster.up(cluster.nodes[1])
    for desk in (first, second):
        cluster.release(desk.job)
        assert desk.until("finished")["restarts"] == 1
        assert [record["step"] for record in metrics(desk.run)] == [*range(1, 101)]


def test_without_a_bound_it_would_start_for_ever(copied: Desk) -> None:
    """The control of the tests that a run starts no more."""
    copied.edit("launch/requeue.py", "_FUTILE = 2", "_FUTILE = 1000")
    copied.pretend(ENDLESS, trouble=Trouble("killed", rank=0))
    copied.until("requeued")
    copied.cluster.release(copied.job)
    wait_until(lambda: copied.status()["restarts"] == 2, copied.told)
    assert copied.until("requeued")["cause"] == "killed"
