"""Stacks of a process: every thread's, written to a file of the run when the process is asked for it by a signal.

The signal is answered by faulthandler's C code, also where a thread keeps Python's lock for itself.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

from tunefleet.base import files, processes

VARIABLE = "TUNEFLEET_STACKS"
"""Environment variable with the file of this rank; its data workers write to it too."""


def signal_number() -> int:
    """A real-time signal, which nobody else uses; 0 where the system has none."""
    return signal.SIGRTMIN + 7 if sys.platform == "linux" else 0


def answer(path: Path) -> None:
    """From now on this process, and the data workers that it will have, write their stacks to `path` when asked."""
    files.write_bytes(path, b"")
    os.environ[VARIABLE] = str(path)
    answer_to_variable()


def answer_to_variable() -> None:
    """The same, where the variable names a file: in a process that a rank has started."""
    path = os.environ.get(VARIABLE)
    if path and signal_number():
        file = open(path, "a", opener=files.no_link)  # open as long as the process
        faulthandler.register(signal_number(), file=file, all_threads=True)


def request(pid: int) -> None:
    """Asks a process that answers; it may be gone."""
    if signal_number():
        try:
            os.kill(pid, signal_number())
        except (ProcessLookupError, PermissionError):
            return


def write_own(path: Path, title: str) -> None:
    """This process's stacks, and those of its data workers; of a stopped one, what Linux shows of it."""
    workers = [child.pid for child in multiprocessing.active_children() if child.pid]
    with open(path, "a", opener=files.no_link) as file:
        print(f"{title}: process {os.getpid()}", file=file, flush=True)
        faulthandler.dump_traceback(file, all_threads=True)
        for worker in workers:
            stopped = processes.is_stopped(worker)
            print(f"\nworker of the data: {'is stopped, ' if stopped else ''}", end="", file=file)
            print(processes.described(worker), file=file, flush=True)
    for worker in workers:
        request(worker)
    time.sleep(0.2 if workers else 0.0)  # until they have answered
