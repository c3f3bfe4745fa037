"""Is the SLURM of the tests a real one, and does it leave nothing behind?"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import slurm
from tests.cluster.slurm import Cluster, SlurmError
from tests.ranks import ROOT


@pytest.fixture
def folder() -> Iterator[Path]:
    if reason := slurm.missing():
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="tf-", dir="/tmp") as name:
        yield Path(name)


def _submit(cluster: Cluster, command: str, *words: str) -> str:
    return cluster.submit("--output=%j.txt", *words, f"--wrap={command}")


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if _about(pid, "State")[:1] not in ("", "Z")]


def _sleeper(cluster: Cluster) -> list[int]:
    """All processes of the cluster, with a job's among them."""
    _submit(cluster, "sleep 600")
    assert _eventually(lambda: "sleep" in [_about(pid, "Name") for pid in cluster.pids()])
    return cluster.pids()


def _about(pid: int, key: str) -> str:
    with contextlib.suppress(OSError):  # it has just ended
        return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())[key]
    return ""


def _eventually(true: Callable[[], object]) -> bool:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(true())


def test_a_job_runs_on_two_nodes(cluster: Cluster) -> None:
    job = _submit(cluster, "srun printenv SLURMD_NODENAME", "--nodes=2")
    assert cluster.wait(job, "COMPLETED FAILED")["ExitCode"] == "0:0"
    assert sorted((cluster.folder / f"{job}.txt").read_text().split()) == cluster.nodes


def test_nothing_of_another_slurm_comes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SBATCH_PARTITION", "elsewhere")
    mine = slurm._environment(tmp_path)
    assert {key for key in mine if key.startswith(("SLURM", "SBATCH"))} == {"SLURM_CONF"}


@pytest.fixture
def graceless(cluster: Cluster) -> Iterator[Cluster]:
    cluster.run("scontrol", "update", "partitionname=main", "gracetime=0")
    yield cluster
    cluster.run("scontrol", "update", "partitionname=main", "gracetime=20")


def test_an_urgent_job_preempts_another_which_is_requeued(graceless: Cluster) -> None:
    first = _submit(graceless, "sleep 600", "--nodes=2", "--exclusive")
    graceless.wait(first, "RUNNING")
    urgent = _submit(graceless, "true", "--nodes=2", "--partition=urgent")
    graceless.wait(urgent, "COMPLETED")
    graceless.release(first)
    assert graceless.wait(first, "RUNNING")["Restarts"] == "1"


def test_a_node_that_goes_down_requeues_its_job(cluster: Cluster) -> None:
    job = _submit(cluster, "sleep 600")
    node = cluster.wait(job, "RUNNING")["NodeList"]
    cluster.down(node)
    cluster.release(job)
    again = cluster.wait(job, "RUNNING")
    assert again["Restarts"] == "1"
    assert again["NodeList"] != node


def test_a_crashed_node_ends_what_ran_there_and_comes_back(cluster: Cluster) -> None:
    job = _submit(cluster, "echo $$; exec sleep 600", f"--nodelist={cluster.nodes[1]}")
    cluster.wait(job, "RUNNING")
    output = cluster.folder / f"{job}.txt"
    assert _eventually(lambda: output.exists() and output.read_text())
    cluster.crash(cluster.nodes[1])
    assert not _alive([int(output.read_text())])
    cluster.up(cluster.nodes[1])


def test_impossible_memory_is_refused_with_a_reason(cluster: Cluster) -> None:
    with pytest.raises(SlurmError, match="Memory specification can not be satisfied"):
        _submit(cluster, "true", "--mem=1000G")


def test_accounting_knows_a_job_that_ended(accounted: Cluster) -> None:
    job = _submit(accounted, "true")
    accounted.wait(job, "COMPLETED")
    words = ("sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job}", "--format=State")
    assert _eventually(lambda: accounted.run(*words).strip() == "COMPLETED")


def test_without_accounting_sacct_fails(cluster: Cluster) -> None:
    with pytest.raises(SlurmError, match="accounting storage is disabled"):
        cluster.run("sacct")


def test_two_clusters_live_side_by_side_and_one_ends_alone(cluster: Cluster, folder: Path) -> None:
    with slurm.start(folder, nodes=1) as other:
        pids = _sleeper(other)
        assert not cluster.run("squeue", "--noheader")
    assert not _alive(pids)
    assert cluster.run("sinfo", "--noheader", "--states=idle", "--partition=main", "--format=%D").strip() == "2"


def test_a_test_process_that_is_killed_leaves_nothing(folder: Path) -> None:
    words = [sys.executable, "-c", f"from {__name__} import own; own({str(folder)!r})"]
    with subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pids = json.loads(owner.stdout.readline())
        owner.kill()
    assert _eventually(lambda: not _alive(pids))


def own(folder: str) -> None:
    with slurm.start(Path(folder), nodes=1) as cluster:
        print(json.dumps(_sleeper(cluster)), flush=True)
        time.sleep(600)


def test_a_daemon_that_ends_at_once_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "SLURM_CONF", slurm.SLURM_CONF + "NoSuchKey=1\n")
    with pytest.raises(SlurmError, match="unrecognized key: NoSuchKey"), slurm.start(folder):
        pass
