"""What happens to a run that is interrupted, killed or taken to other launchers: nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stories.commands import SMALL, command, environment, metrics, run_folder, start, status, train
from tunefleet.base.paths import RunPaths
from tunefleet.doors.cancel import cancel
from tunefleet.launch.register import Run

STEPS = 40
OVERRIDES = [
    *SMALL,
    f"train.max_steps={STEPS}",
    "model.dropout=0.1",
    "train.micro_batch=1",
    "train.sequence_length=128",
]
LOSSES_ALONE = ["checkpoint.export=false", "evaluation.generate_rows=0"]
"""Where losses say it all: an export is read back by a process of its own."""
STRATEGIES = {"ddp": ["parallel=ddp"], "zero3-2-ranks": ["parallel=zero3", "launch.processes=2"]}
SIGNALS = {"ddp": signal.SIGTERM, "zero3-2-ranks": signal.SIGINT}


@pytest.mark.parametrize("strategy", [pytest.param("ddp", marks=pytest.mark.exhaustive), "zero3-2-ranks"])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, strategy: str) -> None:
    """Bit-equal losses and weights, with dropout: data position, random states and moments all go on."""
    complete, parts = tmp_path / "whole", tmp_path / "parts"
    arguments = [*OVERRIDES, *STRATEGIES[strategy], "evaluation.every=10"]
    for folder in (complete, parts):
        folder.mkdir()
    train(complete, *arguments)
    _interrupt(parts, arguments, SIGNALS[strategy])
    printed = train(parts, *arguments)
    assert "resuming from step" in printed
    assert "last bits" not in printed
    assert metrics(run_folder(parts)) == metrics(run_folder(complete))
    weights = [(run_folder(folder) / "export" / "model.safetensors").read_bytes() for folder in (complete, parts)]
    assert weights[0] == weights[1]


def test_two_processes_go_on_with_the_run_of_one_whatever_collates(tmp_path: Path) -> None:
    """The losses are those of the whole run, up to rounding: no row is lost or taken twice."""
    complete, parts = tmp_path / "whole", tmp_path / "parts"
    arguments = [
        *OVERRIDES,
        *LOSSES_ALONE,
        "parallel=ddp",
        "train.global_batch=4",
        "train.precision=fp32",
        "model.dropout=0",
        "data.packing=false",
    ]
    for folder in (complete, parts):
        folder.mkdir()
    train(complete, *arguments)
    _interrupt(parts, [*arguments, "data.workers=1"], by_cancel=True)
    printed = train(parts, *arguments, "launch.processes=2", "data.workers=1")
    assert "resuming from step" in printed
    assert "note: " in printed
    assert "processes were 1 and are 2" in printed
    assert "sums differ in their last bits" in printed
    losses = [
        [r["train/loss"] for r in metrics(run_folder(folder)) if "train/loss" in r] for folder in (complete, parts)
    ]
    assert len(losses[0]) == STEPS
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)  # 40 steps of Adam magnify the rounding of another sum


def test_a_killed_worker_ends_the_run_with_its_rows_and_nobody_is_left(tmp_path: Path) -> None:
    arguments = [
        *OVERRIDES,
        *LOSSES_ALONE,
        "parallel=ddp",
        "launch.processes=2",
        "data.workers=2",
        "checkpoint.every=5",
    ]
    process = start(tmp_path, *arguments)
    _wait_for_steps(tmp_path, 8, process)
    family = _descendants(process.pid)
    os.kill(_worker(_rank_1(process.pid)), signal.SIGKILL)
    assert process.wait(timeout=120) == 1
    output = (tmp_path / "output.txt").read_text()
    assert "tunefleet: rank 1 of 2 failed: a worker process of the data (pid " in output.splitlines()[-2]
    assert "was killed by SIGKILL at the micro-batch of sequences " in output.splitlines()[-2]
    assert "Traceback" not in (run_folder(tmp_path) / "logs" / "rank1.log").read_text()
    _expect_gone(family)
    assert "resuming from step" in train(tmp_path, *arguments, "data.workers=0")


def _worker(rank: int) -> int:
    """A worker of a rank: a child of its fork server."""
    return next(worker for child in _children(rank) for worker in _children(child))


def _descendants(process: int) -> list[int]:
    return [process_id for child in _children(process) for process_id in (child, *_descendants(child))]


def _expect_gone(processes: list[int]) -> None:
    deadline = time.monotonic() + 30
    while (alive := [p for p in processes if Path(f"/proc/{p}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert alive == []


def _interrupt(
    folder: Path, arguments: list[str], number: signal.Signals = signal.SIGTERM, by_cancel: bool = False
) -> None:
    """Ends a run after its fifth step, by Ctrl-C (SIGINT to its process group), SIGTERM to its launcher, or `cancel`.

    It saves, says so, writes down which of the two it was, and leaves with 130.
    """
    process = start(folder, *arguments)
    _wait_for_steps(folder, 5, process)
    family = _descendants(process.pid)
    if by_cancel:
        cancel([Run(RunPaths(run_folder(folder)))], at_once=False)
    else:
        (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
    assert process.wait(timeout=120) == 130, (folder / "output.txt").read_text()[-3000:]
    _expect_gone(family)
    run = run_folder(folder)
    ending = ("interrupted", "interrupt" if number is signal.SIGINT else "terminated")
    assert (status(run)["state"], status(run)["cause"]) == (("cancelled", "cancelled") if by_cancel else ending)
    assert 5 <= status(run)["step"] < STEPS
    assert "the same command resumes from there" in (folder / "output.txt").read_text()


def test_a_killed_rank_ends_the_run_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """It had saved by the clock, on which both ranks agreed."""
    arguments = [*OVERRIDES, *LOSSES_ALONE, *STRATEGIES["zero3-2-ranks"], "checkpoint.every=0.2s"]
    process = start(tmp_path, *arguments)
    _wait_for_steps(tmp_path, 8, process)
    os.kill(_rank_1(process.pid), signal.SIGKILL)
    assert process.wait(timeout=120) == 1
    assert "rank 1 of 2 was killed by SIGKILL" in (tmp_path / "output.txt").read_text()
    assert status(run_folder(tmp_path))["state"] == "failed"
    assert "resuming from step" in train(tmp_path, *arguments)
    assert [record["step"] for record in metrics(run_folder(tmp_path)) if "train/loss" in record] == [
        *range(1, STEPS + 1)
    ]


def test_ranks_end_with_a_launcher_that_was_killed(tmp_path: Path) -> None:
    process = start(tmp_path, *OVERRIDES, "train.max_steps=100000")
    _wait_for_steps(tmp_path, 2, process)
    rank = _children(process.pid)[0]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{rank}").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not Path(f"/proc/{rank}").exists()
    assert status(run_folder(tmp_path))["state"] == "interrupted"


def _under(folder: Path, launcher: list[str], *arguments: str, code: int = 0) -> str:
    """Runs train.py under a launcher; returns what all ranks printed."""
    typed = [*launcher, *command(*arguments)[1:]]
    done = subprocess.run(typed, cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_torchrun_starts_the_ranks_itself(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    arguments = [*SMALL, *LOSSES_ALONE, "train.max_steps=3", "train.micro_batch=2", "parallel=zero2"]
    output = _under(tmp_path, launcher, *arguments)
    assert "4 sequences = 2 micro x 1 accumulation x 2 data-parallel" in output
    assert output.count("step 3/3") == 1
    assert status(run_folder(tmp_path))["state"] == "finished"
    previous = metrics(run_folder(tmp_path))
    output = _under(tmp_path, launcher, *arguments)  # once more: both ranks end at once, and one says why
    assert output.count("is done: 3 steps") == 1
    assert "evaluation" not in output
    assert metrics(run_folder(tmp_path)) == previous


def test_ctrl_c_under_torchrun_is_an_interruption(tmp_path: Path) -> None:
    """The terminal sends SIGINT to torchrun and to every rank; torchrun then ends its ranks in its own way."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    process = start(tmp_path, *SMALL, "train.max_steps=100000", "train.micro_batch=1", launcher=launcher)
    _wait_for_steps(tmp_path, 2, process)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=120)
    run_status = status(run_folder(tmp_path))
    assert (run_status["state"], run_status["cause"]) == ("interrupted", "interrupt")
    assert run_status["saved_step"] == run_status["step"] >= 2


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not installed")
def test_mpirun_starts_the_ranks_itself(tmp_path: Path) -> None:
    launcher = ["mpirun", "-n", "2", sys.executable]
    output = _under(
        tmp_path, launcher, *SMALL, *LOSSES_ALONE, "train.max_steps=2", "train.micro_batch=2", "parallel=zero2"
    )
    assert "x 2 data-parallel" in output
    assert status(run_folder(tmp_path))["state"] == "finished"


def test_half_an_environment_of_a_launcher_is_said_before_anything_starts(tmp_path: Path) -> None:
    half = {**environment(tmp_path), "RANK": "0"}
    done = subprocess.run(command(*SMALL), cwd=tmp_path, env=half, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tunefleet: RANK=0 is set and WORLD_SIZE is not: half of what a launcher sets.")


def _wait_for_steps(folder: Path, steps: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, (folder / "output.txt").read_text()[-3000:]
        if list((folder / "outputs").glob("*/plan.json")) and len(metrics(run_folder(folder))) >= steps:
            return
        time.sleep(0.05)
    raise AssertionError((folder / "output.txt").read_text()[-3000:])


def _rank_1(launcher: int) -> int:
    return next(child for child in _children(launcher) if b"RANK=1" in _environment(child))


def _environment(process: int) -> list[bytes]:
    return Path(f"/proc/{process}/environ").read_bytes().split(b"\0")


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
