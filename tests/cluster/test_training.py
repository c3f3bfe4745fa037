"""Does training in jobs of SLURM give the very numbers of training here, whatever interrupts it?"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cluster.commands import Desk
from tests.cluster.slurm import Cluster
from tests.stories.commands import SMALL, metrics, run_folder, train

STEPS = 40
WORDS = [*SMALL, f"train.max_steps={STEPS}", "model.dropout=0.1", "train.micro_batch=1", "train.sequence_length=128"]
WORDS += ["parallel=zero3", "checkpoint.every=5", "train.threads=1"]  # more threads add in another order


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on this machine, in two processes."""
    folder = tmp_path_factory.mktemp("here")
    train(folder, *WORDS, "launch.processes=2")
    return run_folder(folder)


def _weights(run: Path) -> bytes:
    return (run / "export" / "model.safetensors").read_bytes()


def test_a_run_on_two_machines_is_the_run_on_one(desk: Desk, here: Path) -> None:
    assert "2 nodes x 1 processes" in desk.train(*WORDS, "launch.nodes=2", "launch.memory=1G")
    desk.until("finished", seconds=180)
    assert metrics(desk.run) == metrics(here)
    assert _weights(desk.run) == _weights(here)
    assert desk.tunefleet("logs", "-n", "1000", desk.run.name).count(f"step {STEPS}/{STEPS}") == 1
    assert "Traceback" not in desk.tunefleet("logs", "--rank", "1", desk.run.name)
    assert "is done" in desk.train(*WORDS, "launch.nodes=2", "launch.memory=1G")


def test_a_run_out_of_time_then_preempted_then_killed_ends_with_the_same_weights(desk: Desk, here: Path) -> None:
    desk.train(*WORDS, "launch.nodes=2")
    desk.until_step(3, seconds=120)
    desk.cluster.run("scancel", "--signal=USR2", desk.job)  # what SLURM sends ahead of the limit
    assert desk.until("requeued", seconds=60)["cause"] == "time limit"
    _again(desk.cluster, desk)
    desk.cluster.submit("--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true")
    assert desk.until("requeued", seconds=60)["cause"] == "preempted"
    _again(desk.cluster, desk)
    os.kill(desk.rank(1), signal.SIGKILL)
    assert desk.until("requeued", seconds=60)["cause"] == "killed"
    desk.cluster.release(desk.job)
    assert desk.until("finished", seconds=180)["restarts"] == 3
    assert metrics(desk.run) == metrics(here)
    assert _weights(desk.run) == _weights(here)


def _again(cluster: Cluster, desk: Desk) -> None:
    """Lets a requeued job start, and do some steps."""
    step = desk.status()["step"]
    cluster.release(desk.job)
    desk.until_step(step + 3, seconds=120)
