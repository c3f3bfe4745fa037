"""Do worker processes change nothing but the time: same rows, exact resume, one clear end, nobody left behind?"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.ranks import ROOT
from tests.shared import dataset_of
from tunefleet.base.errors import WorkerFailure
from tunefleet.config.data import Grouping
from tunefleet.data.batches.grouping import sequence_lengths
from tunefleet.data.batches.loader import Collator
from tunefleet.data.batches.order import Order, OrderedBatches
from tunefleet.data.store.dataset import Dataset
from tunefleet.plan.processes.batch import Batch

ROWS = 23
SPLIT = Batch(2, 3, 1)


def mapped(folder: Path) -> Dataset:
    """Rows of 2 to 9 tokens whose arrays lie in files, as prepared ones do."""
    data = dataset_of([([r + 1] * (2 + r % 8), [False] + [True] * (1 + r % 8)) for r in range(ROWS)])
    arrays = {}
    for name in ("tokens", "loss_mask", "starts", "packs", "bounds"):
        np.save(folder / f"{name}.npy", getattr(data, name))
        arrays[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
    return replace(data, **arrays)


def batches(data: Dataset, workers: int, position: int = 0) -> OrderedBatches:
    return OrderedBatches(
        data, SPLIT, 0, seed=3, pad=0, packed=False, position=position, grouping=Grouping.STEP, workers=workers
    )


def lists(micro_batches: Any) -> list[list[list[int]]]:
    return [batch.tokens.tolist() for batch in micro_batches]


@pytest.fixture
def workers_gone() -> Iterator[None]:
    """After the test no worker is left."""
    yield
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("workers_gone")
def test_workers_change_nothing_and_resume_is_exact_in_their_midst(tmp_path: Path) -> None:
    """Stopped in the middle of a step, when workers are ahead: the position counts what was taken."""
    data = mapped(tmp_path)
    complete = lists(batches(data, 0).take(30))  # more than two epochs
    for first, later in ((2, 2), (2, 0), (0, 2)):
        previous = batches(data, first)
        batches_taken = lists(previous.take(7))
        assert previous.position == 14
        previous.close()
        after = batches(data, later, previous.position)
        assert batches_taken + lists(after.take(23)) == complete, (first, later)
        assert after.position == 60
        after.close()


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_thread_ahead_changes_nothing_and_moves_no_position(tmp_path: Path, ahead: int) -> None:
    """Of three micro-batches a step; stopped in the midst, the position counts what was taken."""
    data = mapped(tmp_path)
    complete = lists(batches(data, 0).take(30))
    previous = with_thread(data, ahead)
    taken = lists(previous.take(7))
    assert previous.position == 14
    previous.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("collate")]
    after = with_thread(data, ahead, previous.position)
    assert taken + lists(after.take(23)) == complete
    after.close()


@pytest.mark.parametrize(("ahead", "collated"), [(3, 6), (0, 3)])
def test_the_next_step_is_collated_while_this_one_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int, collated: int
) -> None:
    """Without the thread, the control, nothing is done before it is asked for."""
    micro, asked, original = with_thread(mapped(tmp_path), ahead), [], Collator.__getitem__

    def counted(collator: Collator, numbers: Sequence[int]) -> Any:
        asked.append(numbers)
        return original(collator, numbers)

    monkeypatch.setattr(Collator, "__getitem__", counted)
    micro.take(3)
    deadline = time.monotonic() + (10 if ahead else 0.1)
    while len(asked) < collated + 1 - bool(ahead) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(asked) == collated
    micro.close()


def test_what_the_thread_raises_is_raised_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(collator: Collator, numbers: Sequence[int]) -> Any:
        raise OSError(5, "Input/output error")

    broken = with_thread(mapped(tmp_path), 2)
    monkeypatch.setattr(Collator, "__getitem__", fail)
    with pytest.raises(OSError, match="Input/output error"):
        broken.take(3)
    broken.close()


def with_thread(data: Dataset, ahead: int, position: int = 0) -> OrderedBatches:
    """As `batches`, with a thread in the place of workers."""
    settings: dict[str, Any] = {"position": position, "grouping": Grouping.STEP, "ahead": ahead}
    return OrderedBatches(data, SPLIT, 0, seed=3, pad=0, packed=False, **settings)


@pytest.mark.usefixtures("workers_gone")
def test_workers_draw_nothing_from_the_random_states_of_training(tmp_path: Path) -> None:
    """Dropout goes on where it was, whoever collates."""
    data, drawn = mapped(tmp_path), []
    for workers in (0, 1):
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        loader = batches(data, workers)
        loader.take(2)
        drawn.append((torch.rand(2).tolist(), float(np.random.rand()), random.random()))
        loader.close()
    torch.manual_seed(1)
    assert drawn[0] == drawn[1]
    assert drawn[0][0] == torch.rand(2).tolist()


@pytest.mark.usefixtures("workers_gone")
def test_a_killed_worker_is_named_with_its_batch_at_once(tmp_path: Path) -> None:
    data = mapped(tmp_path)
    rows = Order(sequence_lengths(data), 3, SPLIT.total, Grouping.STEP).sequences(0, 12 * SPLIT.micro)
    loader = batches(data, 2)
    loader.take(3)
    victim = loader.worker_pids[1]
    os.kill(victim, signal.SIGKILL)
    started = time.monotonic()
    with pytest.raises(WorkerFailure) as caught:
        loader.take(20)
    assert time.monotonic() - started < 30
    assert f"(pid {victim}) was killed by SIGKILL at the micro-batch of sequences " in str(caught.value)
    named = [int(row) for row in str(caught.value).split(" sequences ")[1].split(".")[0].split(", ")]
    of_second_worker = [rows[2 * i : 2 * i + 2] for i in range(3, 12) if i % 2]  # the second of two workers
    assert named in of_second_worker[:3]  # what it had not handed over
    loader.close()


@pytest.mark.usefixtures("workers_gone")
def test_workers_leave_signals_to_training(tmp_path: Path) -> None:
    """A cluster sends them to every process of a job; the run still has a step to finish and to save."""
    data = mapped(tmp_path)
    loader = batches(data, 1)
    batches_taken = lists(loader.take(1))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        os.kill(loader.worker_pids[0], number)
    time.sleep(0.2)
    assert batches_taken + lists(loader.take(9)) == lists(batches(data, 0).take(10))
    loader.close()


@pytest.mark.usefixtures("workers_gone")
def test_the_death_of_another_child_is_nobodys_business(tmp_path: Path) -> None:
    """torch's own handler would raise at any place of training; ours is put back."""
    previous = signal.getsignal(signal.SIGCHLD)
    loader = batches(mapped(tmp_path), 1)
    assert signal.getsignal(signal.SIGCHLD) == previous
    loader.close()


ORPHANS = """
import json, sys, time
from pathlib import Path
from tests.data.batches import test_loader
if __name__ == "__main__":
    one = test_loader.batches(test_loader.mapped(Path(sys.argv[1])), 2)
    one.take(2)
    print(json.dumps(one.worker_pids), flush=True)
    time.sleep(100)
"""


def test_workers_end_with_a_training_process_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    command, environment = [sys.executable, str(script), str(tmp_path)], {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    workers = json.loads(process.stdout.readline())
    assert all(Path(f"/proc/{worker}").exists() for worker in workers)
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_a_worker_imports_nothing_that_joins_a_group() -> None:
    program = "import tunefleet.data.batches.loader, sys; print('torch' in sys.modules, 'deepspeed' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True False"
