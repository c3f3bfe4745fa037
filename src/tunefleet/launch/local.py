"""Local ranks: starts them on this machine, watches them, ends all when one fails, reports which and why."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from tunefleet.base import disk, failures, files, status
from tunefleet.base.errors import DISK, FAILED, HUNG, INTERRUPTED, DiskError, RunError
from tunefleet.base.failures import Failure
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.launch import ending
from tunefleet.launch.ending import HINTS, Ending
from tunefleet.launch.local_watch import LocalWatch
from tunefleet.launch.signals import CAUSES, caught
from tunefleet.plan.plan import Plan

RANK_MODULE = "tunefleet.doors.rank"
POLL = 0.1
GRACE = 20.0  # seconds for the others to notice, after one failed, and again after they were asked to end
_LOG_LINES = 20
_PORT_TRIES = 3
_PORT_TAKEN = re.compile(r"EADDRINUSE|address already in use", re.IGNORECASE)
PORTS = range(20_000, 32_768)  # below those that Linux gives to outgoing connections


def run(plan: Plan, module: str | None = None) -> int:
    """Runs the plan in new processes of `module` (None trains) and waits; returns the run's exit code.

    Ctrl-C saves and stops.
    """
    return attempt(plan, module).verdict()


def attempt(plan: Plan, module: str | None = None) -> Ranks:
    """Starts the ranks of the plan once, and returns them when all have ended; no final state is written."""
    ranks = _run(plan, module or RANK_MODULE)
    for _ in range(_PORT_TRIES):
        if plan.config.launch.port or not ranks.lost_their_port():
            break
        print("tunefleet: another process took the port meanwhile: starting again with another one.", file=sys.stderr)
        ranks = _run(plan, module or RANK_MODULE)
    return ranks


def _run(plan: Plan, module: str) -> Ranks:
    """Starts the ranks, and returns them when all have ended. A signal meanwhile keeps the others from starting."""
    failures.clear(plan.paths)
    plan.paths.stop.unlink(missing_ok=True)
    ranks = Ranks(plan.paths, [], LocalWatch(plan.paths, plan.layout.processes_here, plan.config.launch))
    with ExitStack() as closing, caught(ranks.forward):
        logs = [_log(plan, rank, closing) for rank in range(plan.layout.processes_here)]  # on a full disk nobody starts
        for rank, port in ranks_and_ports(plan):
            if not ranks.signals:
                ranks.processes.append(_start(plan, module, rank, port, logs[rank]))
        ranks.watch()
    return ranks


@dataclass
class Ranks:
    """The processes of one run."""

    paths: RunPaths
    processes: list[subprocess.Popen[bytes]]
    hangs: LocalWatch | None = None
    signals: list[int] = field(default_factory=list)
    first_failure: int | None = None

    def watch(self) -> None:
        """Waits for all; after a first failure the others get a while, then are ended."""
        deadline: float | None = None
        while any(process.poll() is None for process in self.processes):
            time.sleep(POLL)
            if self._hang():
                continue
            if self.first_failure is None:
                self.first_failure = self._failed()
            if self.first_failure is not None and deadline is None and not self.signals:  # else they may be saving
                deadline = time.monotonic() + GRACE
                self._signal(signal.SIGTERM)
            if len(self.signals) > 1 or (deadline and time.monotonic() > deadline):
                self._signal(signal.SIGKILL)
        if self.first_failure is None:
            self.first_failure = self._failed()

    def _hang(self) -> bool:
        """Whether ranks hang: then they leave by themselves, or are ended when they do not."""
        blamed = self.hangs.look() if self.hangs else None
        if self.hangs is None or blamed is None:
            return False
        self.first_failure = blamed
        if self.hangs.patience_is_over or len(self.signals) > 1:
            self._signal(signal.SIGKILL)
        return True

    def outcome(self) -> Ending | None:
        """How they ended; None where all of them did what they were to do."""
        if self._were_interrupted():
            return self._interruption()
        if self.first_failure is None:
            return None
        if self.paths.cancelled.exists() and self.processes[self.first_failure].returncode < 0:
            return ending.BY_USER
        return Ending(self._cause(self.first_failure), self._reason(self.first_failure))

    def verdict(self, remark: str = "") -> int:
        """The exit code; prints why where it is no success, and leaves a final state in status.json.

        `remark` is added to the reason of a failure.
        """
        if (outcome := self.outcome()) is None:
            return 0
        if self.first_failure is None or self._were_interrupted():
            self._settle(outcome)
            return INTERRUPTED
        code = HUNG if outcome.cause is Cause.HANG else self.processes[self.first_failure].returncode
        outcome = replace(outcome, reason=f"{outcome.reason}{remark}")
        self._settle(outcome)
        is_told = code >= 0 and not remark and outcome.cause is not Cause.HANG and self._has_told(self.first_failure)
        if outcome.cause is not Cause.CANCELLED and not is_told:
            print(f"tunefleet: {outcome.reason}", file=sys.stderr)
        return FAILED if code < 0 else code

    def _were_interrupted(self) -> bool:
        """Whether a signal to the launcher ended them, or came before the first was started."""
        if self.first_failure is None:
            return not self.processes
        code = self.processes[self.first_failure].returncode
        return code == INTERRUPTED or bool(self.signals and (code < 0 or self._hung()))

    def _hung(self) -> Failure | None:
        """Why it is ended, where that is a hang."""
        failure = None if self.first_failure is None else self._failure(self.first_failure)
        return failure if failure and failure.cause is Cause.HANG else None

    def lost_their_port(self) -> bool:
        """Whether rank 0 could not listen: another process took the port between its choice and its use."""
        failure = self._failure(0)
        return failure is not None and not self.signals and bool(_PORT_TAKEN.search(failure.message))

    def forward(self, number: int) -> None:
        """Ctrl-C and SIGTERM reach every rank once, as what they are; a second one kills them."""
        self.signals.append(number)
        if len(self.signals) == 1:
            if self.hangs:
                self.hangs.hurry()
            print("\ntunefleet: saving, then stopping; once more to stop at once.", file=sys.stderr)
        self._signal(number if len(self.signals) == 1 else signal.SIGKILL)
        self._signal(signal.SIGCONT)  # a stopped rank would neither save nor let the others

    def _interruption(self) -> Ending:
        """How a run ended that could not write it down itself."""
        failure = None if self.first_failure is None else self._failure(self.first_failure)
        by_rank = failure.cause if failure and failure.exit_code == INTERRUPTED else Cause.INTERRUPT
        cause = CAUSES[signal.Signals(self.signals[0])] if self.signals else by_rank
        unsaved = "not saved: " if self._hung() else ""
        reason = f"{unsaved}{failure.message}" if failure else ""
        return ending.of_stop(Ending(cause, reason), self.paths.cancelled.exists())

    def _failed(self) -> int | None:
        """The rank that failed first: one with a reason of its own before one that lost its peers."""
        failed = [rank for rank, process in enumerate(self.processes) if process.poll() not in (None, 0)]
        bereft = [rank for rank in failed if (failure := self._failure(rank)) and failure.cause is Cause.LOST_PEER]
        return next(iter([rank for rank in failed if rank not in bereft] + bereft), None)

    def _failure(self, rank: int) -> Failure | None:
        return failures.read(self.paths.failure(rank))

    def _reason(self, rank: int) -> str:
        subject = f"rank {rank} of {len(self.processes)}"
        failure = self._failure(rank)
        if failure and failure.cause is Cause.HANG:
            return failure.message
        if failure:
            return f"{subject} failed: {failure.message}{self._log(rank)}"
        code = self.processes[rank].returncode
        end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = f" ({HINTS[-code]})" if -code in HINTS else ""
        return f"{subject} {end}{hint}.{self._log(rank)}"

    def _has_told(self, rank: int) -> bool:
        """Whether rank 0 has shown the failure of `rank` on the console: its own, or the same that all of them met."""
        failure, first = self._failure(rank), self._failure(0)
        return rank == 0 or bool(failure and first and failure.message == first.message)

    def _log(self, rank: int) -> str:
        """Where its traceback is; rank 0 has shown its own on the console."""
        return f" Its log: {self.paths.log(rank)}" if rank > 0 and self.paths.log(rank).exists() else ""

    def _cause(self, rank: int) -> Cause:
        if failure := self._failure(rank):
            return failure.cause
        code = self.processes[rank].returncode
        return Cause.KILLED if code < 0 else Cause.DISK if code == DISK else Cause.ERROR

    def _settle(self, outcome: Ending) -> None:
        run_status = status.read(self.paths.status) or Status(State.STARTING)
        if not run_status.state.final:
            with contextlib.suppress(DiskError):  # of a disk that fails: the console and the exit code say it
                status.write(self.paths.status, outcome.final_status(run_status))

    def _signal(self, number: int) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)


def ranks_and_ports(plan: Plan) -> Iterator[tuple[int, int]]:
    """(rank, port of rank 0) of every process here."""
    port = plan.config.launch.port or free_port()
    return ((rank, port) for rank in range(plan.layout.processes_here))


def _log(plan: Plan, rank: int, closing: ExitStack) -> BinaryIO | None:
    """Rank 0 writes to this console, the others to their logs, after what earlier starts wrote. Raises `DiskError`."""
    if rank == 0:
        return None
    path = plan.paths.log(rank)
    with disk.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return closing.enter_context(open(path, "ab", opener=files.no_link))


def _start(plan: Plan, module: str, rank: int, port: int, log: BinaryIO | None) -> subprocess.Popen[bytes]:
    """A session of its own keeps Ctrl-C for us."""
    return subprocess.Popen(
        [sys.executable, "-m", module, plan.run_dir],
        env={**os.environ, **rank_environment(plan, rank, port)},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
        start_new_session=True,
    )


def rank_environment(plan: Plan, rank: int, port: int) -> Mapping[str, str]:
    """What torch.distributed and DeepSpeed read to find each other."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(plan.layout.world_size),
        "LOCAL_WORLD_SIZE": str(plan.layout.processes_here),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": str(plan.threads),
        "TUNEFLEET_LAUNCHER_PID": str(os.getpid()),
    }


def expect_free(port: int | None) -> None:
    """Expects that no process listens on the port. Raises `RunError`, before ranks take half a minute.

    A port is not taken that a former run has left: the kernel keeps its connections for a minute.
    """
    if port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            probe.listen()
        except OSError as error:
            raise RunError(
                f"launch.port: {port} cannot be used here: {error.strerror}. Leave launch.port out, and a free one is "
                "taken at every start, or choose another."
            ) from None


def free_port() -> int:
    """A TCP port of this machine that no process listens on now, and that no outgoing connection is given.

    Ranks listen on it seconds later, when they have imported torch. A port that the kernel names lies among those
    that it gives to connections (from 32768 on under Linux), and was sometimes taken in between.
    """
    while True:
        port = random.SystemRandom().choice(PORTS)  # runs that start at once, with the same seed
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port
