"""Does a rank that is asked to stop before training listens say why it left?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base import status
from tunefleet.base.status import Cause, State, Status
from tunefleet.doors import rank
from tunefleet.plan import Plan
from tunefleet.plan.processes.slurm_job import Job

RANK = """
import signal, sys
from pathlib import Path
from tunefleet.doors import rank
from tunefleet.plan import Plan
rank.train_plan = lambda plan: signal.raise_signal(int(sys.argv[2]))
sys.exit(rank.run(Plan.read(Path(sys.argv[1]))))
"""


@pytest.mark.parametrize(
    ("device", "preset", "torch", "expected"),
    [
        ("cuda", {}, "2.13.0+cu129", {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}),
        ("cuda", {}, "2.8.1", {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}),
        ("cuda", {"PYTORCH_CUDA_ALLOC_CONF": "x"}, "2.13.0", {"PYTORCH_CUDA_ALLOC_CONF": "x"}),
        ("cpu", {}, "2.13.0", {}),
    ],
)
def test_the_allocator_of_a_gpu_leaves_no_holes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    preset: dict[str, str],
    torch: str,
    expected: dict[str, str],
) -> None:
    plan = tiny_plan(tmp_path)
    monkeypatch.setattr(os, "environ", dict(preset))
    monkeypatch.setattr(rank, "version", lambda package: torch)
    rank.prepare_environment(replace(plan, layout=replace(plan.layout, device=device)))
    assert {name: value for name, value in os.environ.items() if "ALLOC_CONF" in name} == expected
    assert ("CUDA_VISIBLE_DEVICES" in os.environ) == (device == "cpu")


@pytest.mark.parametrize(
    ("job", "asked", "cores", "threads"),
    [(True, None, 64, "8"), (True, 6, 64, "2"), (False, None, 64, "2"), (True, None, 4, "2")],
)
def test_a_job_that_asks_for_no_cores_uses_those_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: bool, asked: int | None, cores: int, threads: str
) -> None:
    """Optimizers on the CPU would else take one core of sixty-four."""
    plan = replace(tiny_plan(tmp_path, ranks=8), threads=2, job=Job(1, 8, 0, 60, {}) if job else None)
    plan = replace(plan, config=replace(plan.config, launch=replace(plan.config.launch, cpus_per_task=asked)))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    os.environ.pop("OMP_NUM_THREADS", None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    rank.prepare_environment(plan)
    assert os.environ["OMP_NUM_THREADS"] == threads


def signal_rank(plan: Plan, number: int, rank: int = 0) -> tuple[int, str, Status]:
    """Exit code, what was printed, and the status, after a signal while rank `rank` prepares."""
    plan.save()
    status.write(plan.paths.status, Status(State.STARTING))
    done = subprocess.run(
        [sys.executable, "-c", RANK, plan.run_dir, str(int(number))],
        env={**os.environ, "RANK": str(rank)},
        capture_output=True,
        text=True,
    )
    run_status = status.read(plan.paths.status)
    assert run_status is not None
    return done.returncode, done.stdout + done.stderr, run_status


@pytest.mark.parametrize(
    ("number", "cause"), [(signal.SIGINT, Cause.INTERRUPT), (signal.SIGTERM, Cause.TERMINATED)], ids=["INT", "TERM"]
)
def test_a_signal_while_data_are_prepared(tmp_path: Path, number: int, cause: Cause) -> None:
    code, printed, run_status = signal_rank(tiny_plan(tmp_path), number)
    assert (code, printed) == (130, "")
    assert (run_status.state, run_status.cause) == (State.INTERRUPTED, cause)


def test_a_run_that_is_cancelled_while_data_are_prepared(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    plan.paths.root.mkdir(parents=True, exist_ok=True)
    plan.paths.cancelled.touch()
    code, _, run_status = signal_rank(plan, signal.SIGTERM)
    assert (code, run_status.state, run_status.cause) == (130, State.CANCELLED, Cause.CANCELLED)


def test_one_rank_writes_and_a_job_is_settled_by_its_batch_script(tmp_path: Path) -> None:
    code, _, run_status = signal_rank(tiny_plan(tmp_path), signal.SIGINT, rank=1)
    assert (code, run_status.state) == (130, State.STARTING)
    launch = {"name": "slurm", "gpus_per_node": 1, "time": "1h"}
    job = tiny_plan(tmp_path, launch=launch)
    assert job.job is not None
    code, _, run_status = signal_rank(replace(job, name="job"), signal.SIGTERM)
    assert (code, run_status.state) == (128 + signal.SIGTERM, State.STARTING)
