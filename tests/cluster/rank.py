"""What does a rank look like from outside? This one counts steps and saves as a real one does, without torch.

It takes the place of `tunefleet.launch.task` where `launch.python` is `commands.Desk.python`'s; everything
around the training itself (log, signals, heartbeat, failures, exit codes) is the real rank's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tunefleet.base import status, sweep_requests
from tunefleet.base.errors import DONE, INTERRUPTED, DataError, NonFiniteLoss
from tunefleet.base.status import Cause, State, Status
from tunefleet.contracts import RunState
from tunefleet.doors import rank
from tunefleet.launch import task
from tunefleet.plan.horizon import horizon
from tunefleet.plan.plan import Plan
from tunefleet.tracking.metrics import MetricsFile
from tunefleet.train.stop import Reason, Stop

_STEP = 0.05  # seconds


@dataclass(frozen=True)
class Trouble:
    """What goes wrong: `act` in rank `rank` at step `step`, in the starts before `starts`."""

    act: str = ""
    rank: int = 1
    step: int = 5
    starts: int = 1000
    saving: float = 0.0  # seconds
    hangs: bool = False  # whether a lost rank hangs the others

    def comes(self, step: int) -> bool:
        """Whether it is now and here."""
        here = int(os.environ["RANK"]) == self.rank and int(os.environ.get("SLURM_RESTART_COUNT", 0)) < self.starts
        return bool(self.act) and here and step >= self.step

    def happen(self) -> None:
        """Holds this rank up, or ends it in one of many ways."""
        if self.act == "slow":
            return time.sleep(1)
        if self.act == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise {
            "error": RuntimeError("the disk is full"),
            "user error": DataError("rows.jsonl:7: broken JSON"),
            "non-finite loss": NonFiniteLoss("the loss became nan at step 5"),
            "out of memory": RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        }[self.act]


class _Group:
    """All ranks of the run, each connected to the first: they step together, as a collective makes them."""

    def __init__(self, hangs: bool) -> None:
        self._rank, self._size, self._hangs = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), hangs
        place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        if self._rank:
            self._others = [_connected(place)]
        else:
            with socket.create_server(place) as listening:
                self._others = [listening.accept()[0] for _ in range(self._size - 1)]

    def agree(self, own: int) -> int:
        """The largest reason of all ranks. A rank that is gone fails the others like gloo, or hangs them like NCCL."""
        try:
            if self._rank:
                self._others[0].sendall(bytes([own]))
                return self._others[0].recv(1)[0]
            agreed = max([own, *(other.recv(1)[0] for other in self._others)])
            for other in self._others:
                other.sendall(bytes([agreed]))
            return agreed
        except (OSError, IndexError):
            while self._hangs:
                time.sleep(1)
            raise RuntimeError("Connection closed by peer") from None


def _connected(place: tuple[str, int]) -> socket.socket:
    """A connection to the first rank, which may not listen yet."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(place)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def train(plan: Plan) -> int:
    """Stands in for tunefleet.runs.train.train."""
    return _Run(plan, Trouble(**json.loads(os.environ["TROUBLE"]))).train()


class _Run:
    def __init__(self, plan: Plan, trouble: Trouble) -> None:
        self._plan = plan
        self._trouble = trouble
        self._first = int(os.environ["RANK"]) == 0
        self._total = plan.config.train.max_steps or 1
        before = status.read(plan.paths.status)
        self._step = before.saved_step if before else 0
        group: Any = _Group(trouble.hangs)
        self._stop = Stop(self._total, plan.paths, group)
        self._every = horizon(plan, rows=plan.batch.total * self._total).save_every.steps

    def train(self) -> int:
        metrics = MetricsFile(self._plan.paths.metrics, self._step) if self._first else None
        self._settle(State.RUNNING)
        while not (reason := self._stop.reason(RunState(step=self._step))):
            time.sleep(_STEP)
            self._step += 1
            if self._trouble.comes(self._step):
                self._trouble.happen()
            if metrics:
                metrics.log({"step": self._step, "train/loss": 1 / self._step})
            self._settle(State.RUNNING, step=self._step, loss=1 / self._step)
            if self._every and self._step % self._every == 0:
                self._save()
        self._save()
        if reason is not Reason.COMPLETE:
            why = sweep_requests.prune_reason(self._plan.paths) if reason is Reason.PRUNED else ""
            self._settle(State.CHECKPOINTING, cause=reason.cause, reason=why)
            return DONE if reason in (Reason.RUNG, Reason.PRUNED) else INTERRUPTED
        self._settle(State.FINISHED)
        return DONE

    def _save(self) -> None:
        self._settle(State.CHECKPOINTING)
        time.sleep(self._trouble.saving)
        self._settle(State.RUNNING, saved_step=self._step)

    def _settle(self, state: State, **changes: Any) -> None:
        if self._first:
            now = status.read(self._plan.paths.status) or Status(state)
            fixed = {"step": self._step, "total_steps": self._total, "reason": "", "cause": Cause.NONE}
            status.write(self._plan.paths.status, now.moved(state=state, **{**fixed, **changes}))


if __name__ == "__main__":
    if "RANK" in os.environ:
        sys.modules["tunefleet.runs.train"] = ModuleType("train")
        sys.modules["tunefleet.runs.train"].train = train  # type: ignore[attr-defined]
        rank.main()
    else:
        task._RANK_MODULE = "tests.cluster.rank"
        task.main()
