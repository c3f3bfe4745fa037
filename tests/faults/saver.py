"""A process that saves checkpoints in children of its own, which wait until they are told to begin.

`python -m tests.faults.saver` reads lines of JSON and prints the pid of a stopped child for each. The child writes real
files of torch through the store; "saved at step N" goes to the file `console` afterwards, as a run says it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from pathlib import Path

import torch

from tests.faults.strace import allow_any_tracer
from tests.faults.victims import serve
from tunefleet.base import files
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import RunState
from tunefleet.engine import shards
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.engine.shard_writer import Shard


class Engine:
    """Saves two files as DeepSpeed does: the weights are `value`, an optimizer's state is its negative."""

    reshardable = False

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def shards(self, tag: str) -> dict[str, Shard]:
        values = {"mp_rank_00_model_states.pt": self.value, "zero_optim_states.pt": -self.value}
        return {f"{tag}/{name}": Shard({"module": torch.full((1000,), value)}) for name, value in values.items()}

    def restore(self, folder: Path, tag: str, step: int) -> None:
        weights, states = (shards.read(path)["module"] for path in sorted((folder / tag).glob("*.pt")))
        self.value = int(weights[0])
        assert torch.equal(weights, -states)


def store(folder: Path, keep: int = 1) -> CheckpointStore:
    """The store of one process, which keeps one checkpoint."""
    return CheckpointStore(
        folder / "checkpoints", "mine", SingleProcess(), Retention(keep), {"chat_template.jinja": "{{ x }}"}
    )


def copied_in_place(temporary: Path, final: Path) -> None:
    """The control: what is published is there before all of it is, the manifest first."""
    if not temporary.is_dir():
        os.replace(temporary, final)
        return
    final.mkdir()
    for path in sorted(temporary.rglob("*"), key=lambda path: (path.name != "manifest.json", path)):
        target = final / path.relative_to(temporary)
        target.parent.mkdir(exist_ok=True)
        target.mkdir(exist_ok=True) if path.is_dir() else shutil.copyfile(path, target)
    shutil.rmtree(temporary)


def _save(folder: Path, step: int, value: int, careless: bool) -> None:
    if careless:
        files.publish = copied_in_place
    allow_any_tracer()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a stopped child must not outlive the test
    os.kill(os.getpid(), signal.SIGSTOP)
    store(folder).save(Engine(value), RunState(step=step))
    with open(folder / "console", "a") as console:
        console.write(f"saved at step {step}\n")


def main() -> None:
    """One child at a time, until the input ends."""
    torch.set_num_threads(1)
    serve(lambda order: _save(Path(order["folder"]), order["step"], order["value"], order["careless"]))


if __name__ == "__main__":
    main()
