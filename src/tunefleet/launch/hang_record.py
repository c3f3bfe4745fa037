"""Record of a hang: who made no progress, in which phase and step, as text and as `logs/hang.json`."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import asdict

from tunefleet.base import failures, files, processes, stacks
from tunefleet.base.errors import HUNG
from tunefleet.base.failures import Failure
from tunefleet.base.paths import RunPaths
from tunefleet.base.pulse import Pulse
from tunefleet.base.status import Cause
from tunefleet.base.units import clock
from tunefleet.launch.hang_watch import View

_VERSION = 1


def message(view: View, host: str, shown: int = 3) -> str:
    """Which ranks give no sign, or made no progress, since when, and what they do: one line. `host` is this machine."""
    subjects = [_described(rank, view, host) for rank in view.blamed[:shown]]
    more = f"; and {len(view.blamed) - shown} more" if len(view.blamed) > shown else ""
    everybody = len(view.blamed) == len(view.pulses) > 1 and not view.silent
    unknown = " (which of them is to blame does not show: see their stacks)" if everybody else ""
    return f"no progress for {clock(view.still)}: {'; '.join(subjects)}{more}{unknown}"


def _described(rank: int, view: View, host: str) -> str:
    pulse = view.pulses.get(rank)
    if pulse is None:
        return f"rank {rank} has never given a sign"
    at = f"in {pulse.phase} of step {pulse.step}" if pulse.step else f"in {pulse.phase}"
    process = f"rank {rank} (process {pulse.pid} on {pulse.host})"
    if rank not in view.silent:
        return f"{process} is {at}"
    if pulse.host != host:
        return f"{process} gives no sign of life, last {at}"
    if not processes.is_alive(pulse.pid, pulse.born):
        return f"{process} is gone, last {at}"
    stopped = processes.is_stopped(pulse.pid)
    return f"{process} {'is stopped' if stopped else 'gives no sign of life'}, last {at}"


def declare(paths: RunPaths, view: View, host: str) -> None:
    """Writes down that the run hangs, and the failure of each rank that is to blame, whose stacks are asked for.

    Of several processes that see it the first does.
    """
    record = {
        "version": _VERSION,
        "time": time.time(),
        "seconds": view.still,
        "limit": view.limit,
        "ranks": list(view.blamed),
        "silent": list(view.silent),
        "message": message(view, host),
        "pulses": {str(rank): asdict(pulse) if pulse else None for rank, pulse in view.pulses.items()},
    }
    temporary = files.temporary_beside(paths.hang)
    files.write_json(temporary, record)
    try:
        os.link(temporary, paths.hang)
    except FileExistsError:
        return
    finally:
        temporary.unlink()
    for rank in view.blamed:
        failures.write(paths, Failure(rank, f"{record['message']}. {_stacks_hint(paths)}", Cause.HANG, HUNG))
    _ask_silent(paths, view, host)


def _stacks_hint(paths: RunPaths) -> str:
    return f"Stacks of the ranks: {paths.stacks(0).parent}/rank*.stacks.txt"


def blamed(paths: RunPaths, rank: int | None = None) -> list[int] | None:
    """The ranks that the record blames; None where there is none.

    With `rank`, also None where the record is of an earlier start: it holds another process of that rank.
    """
    try:
        record = files.read_json(paths.hang)
        if rank is not None and record["pulses"][str(rank)]["pid"] != os.getpid():
            return None
        return [number for number in record["ranks"] if isinstance(number, int)]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ask_silent(paths: RunPaths, view: View, host: str) -> None:
    """Has ranks on this machine show where they stand that will not read that they hang.

    Of a stopped one first what Linux shows; it is then continued, for nobody can write its stack but itself.
    """
    for rank in view.silent:
        suspect = view.pulses.get(rank)
        if suspect is None or suspect.host != host or not processes.is_alive(suspect.pid, suspect.born):
            continue
        stopped = processes.is_stopped(suspect.pid)
        _describe_silent(paths, rank, suspect)
        stacks.request(suspect.pid)
        if stopped:
            os.kill(suspect.pid, signal.SIGCONT)


def _describe_silent(paths: RunPaths, rank: int, pulse: Pulse) -> None:
    """What Linux shows of a rank on this machine that does not write its stack itself."""
    state = "is stopped" if processes.is_stopped(pulse.pid) else "gives no sign of life"
    with open(paths.stacks(rank), "a", encoding="utf-8", opener=files.no_link) as file:
        file.write(f"rank {rank}, in {pulse.phase} of step {pulse.step}, {state}\n{processes.described(pulse.pid)}\n")
