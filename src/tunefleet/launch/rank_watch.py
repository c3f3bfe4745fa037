"""Watch of a rank: the thread that writes its pulse, and looks at the others' where no launcher of ours does.

The rank of the lowest number that lives looks for all. Whoever finds that the run hangs writes it down once; every
thread that reads it leaves its stacks, waits until the others can have read it too, and ends its process.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tunefleet.base import failures, processes, pulse, stacks
from tunefleet.base.errors import HUNG
from tunefleet.base.failures import Failure
from tunefleet.base.paths import RunPaths
from tunefleet.base.pulse import Shares, Writer
from tunefleet.base.status import Cause
from tunefleet.launch import hang_record, stall_status
from tunefleet.launch.hang_watch import HangWatch, Limits
from tunefleet.plan.plan import Plan

_SAMPLE = 0.2  # seconds between two looks at this process itself
_BYTES = 1 << 20  # in an interval, which the reading of pulses does not reach


class RankWatch:
    """One for each rank. `settles` is whether ranks write the final state, as nobody of ours started them."""

    def __init__(
        self,
        paths: RunPaths,
        rank: int,
        ranks: int,
        limits: Limits,
        one_machine: bool,
        settles: bool,
        leave: Callable[[int], None] = os._exit,
    ) -> None:
        self._paths, self._rank, self._ranks = paths, rank, ranks
        self._interval = limits.interval(one_machine)
        self._settles = settles
        self._leave = leave
        self._writer = Writer(paths.pulse(rank), rank)
        self._shares = Shares()
        self._watch = HangWatch(paths, range(ranks), limits, self._interval)
        self._first = HangWatch(paths, range(rank), limits, self._interval)
        self._stall = stall_status.Stall(paths)
        self._moved = 0
        self._over = threading.Event()

    def start(self) -> None:
        """Begins, in a thread."""
        self._writer.write(self._shares)
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """The rank is done: it is missed no more."""
        self._over.set()
        self._writer.write(self._shares, ended=True)
        with suppress(OSError):
            if not self._paths.stacks(self._rank).stat().st_size:
                self._paths.stacks(self._rank).unlink()

    def _run(self) -> None:
        sample = min(_SAMPLE, self._interval)
        written = time.monotonic()
        while True:
            began = time.monotonic()
            if self._over.wait(sample):
                return
            slept = time.monotonic() - began
            self._shares.add(slept, max(0.0, slept - sample), pulse.in_collective())
            if time.monotonic() - written >= self._interval:
                written = time.monotonic()
                with suppress(OSError, ValueError):  # a disk that cannot be read now is asked again
                    self._beat()

    def _tick_while_reading(self) -> None:
        """Weights and shards are read by libraries, which say nothing: until the first step, bytes are progress."""
        if not pulse.started():
            moved = processes.bytes_moved()
            if moved - self._moved > _BYTES:
                pulse.tick()
            self._moved = moved

    def _beat(self) -> None:
        self._tick_while_reading()
        if self._writer.write(self._shares) and not self._over.is_set():
            self._look()
        if hang_record.blamed(self._paths, self._rank) is not None:
            self._end()

    def _look(self) -> None:
        if self._rank and not self._lower_ranks_are_silent():
            return
        view = self._watch.look()
        self._stall.show(view)
        if view.hangs:
            hang_record.declare(self._paths, view, socket.gethostname())

    def _lower_ranks_are_silent(self) -> bool:
        view = self._first.look()
        return len(view.silent) == len(view.pulses)

    def _end(self) -> None:
        """Leaves, after every other rank can have read the record; silent ones on this machine are ended with it."""
        blamed = hang_record.blamed(self._paths) or []
        stacks.write_own(self._paths.stacks(self._rank), f"rank {self._rank}")
        if self._rank not in blamed:
            names = ", ".join(map(str, blamed))
            failure = Failure(self._rank, f"left, because rank {names} made no progress", Cause.LOST_PEER, HUNG)
            failures.write(self._paths, failure)
        if self._settles and (self._rank == 0 or 0 in blamed):
            self._settle()
        time.sleep(2 * self._interval)
        self._kill_silent(blamed)
        self._leave(HUNG)

    def _settle(self) -> None:
        """The console, and the final state, as far as no launcher of ours writes it."""
        first = failures.first(failures.read_all(self._paths))
        if first and first.cause is Cause.HANG:
            print(f"tunefleet: {first.message}", file=sys.stderr, flush=True)
            self._stall.settle(first.message)

    def _kill_silent(self, blamed: list[int]) -> None:
        for rank in blamed:
            suspect = pulse.read(self._paths.pulse(rank))
            is_here = suspect and rank != self._rank and suspect.host == socket.gethostname()
            if suspect and is_here and processes.is_alive(suspect.pid, suspect.born):
                with suppress(ProcessLookupError):
                    os.kill(suspect.pid, signal.SIGKILL)


def begin(plan: Plan, rank: int, ranks: int) -> RankWatch:
    """The watch of this rank, which has begun."""
    stacks.answer(plan.paths.stacks(rank))
    settles = plan.job is None and "TUNEFLEET_LAUNCHER_PID" not in os.environ
    one_machine = int(os.environ.get("LOCAL_WORLD_SIZE", 0)) == ranks
    watch = RankWatch(plan.paths, rank, ranks, Limits.from_settings(plan.config.launch), one_machine, settles)
    watch.start()
    return watch
