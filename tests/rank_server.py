"""The process that forks the ranks of tests: it imports torch, transformers and DeepSpeed once, and trains nothing.

A line of JSON on its input asks for ranks (`tests.ranks`), a line on its output has their exit codes.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

_SECONDS = 500  # for the slowest function of all tests on a busy machine
_POLL = 0.02


def main() -> None:
    """Answers until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print
    _import_all()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_codes([_fork(request, rank) for rank in range(len(request["environments"]))])), file=answers)
        answers.flush()


def _import_all() -> None:
    """Before the first fork, which must find one thread: others would not be there in the rank, but their locks."""
    from tunefleet.libraries.heavy_imports import heavy_imports

    with heavy_imports():
        import tunefleet.runs.train  # noqa: F401
    tasks = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
    assert tasks == 1, f"{tasks} threads after the imports"


def _fork(request: dict[str, Any], rank: int) -> int:
    """The number of a new process, which is this rank."""
    if process := os.fork():
        return process
    code = 1
    try:
        _become(Path(request["folder"]), rank, request["environments"][rank])
        _run(request, rank)
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _become(folder: Path, rank: int, environment: dict[str, str]) -> None:
    """Gives the fork what a process of its own would have: environment, streams, and an end with its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    os.environ.clear()
    os.environ.update(environment)
    log = os.open(folder / f"log-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for stream, file in ((0, nothing), (1, log), (2, log)):
        os.dup2(file, stream)
    faulthandler.enable()
    faulthandler.dump_traceback_later(_SECONDS - 10)


def _run(request: dict[str, Any], rank: int) -> None:
    module, function = request["function"].split(":")
    folder = Path(request["folder"])
    result = getattr(importlib.import_module(module), function)(folder, request["argument"])
    (folder / f"result-{rank}.json").write_text(json.dumps(result))


def _codes(processes: list[int]) -> list[int]:
    """The exit codes of all; negative for a signal, as that of a rank that takes too long."""
    codes: dict[int, int] = {}
    deadline = time.monotonic() + _SECONDS
    while len(codes) < len(processes):
        for process in processes:
            if process not in codes:
                ended, status = os.waitpid(process, os.WNOHANG)
                codes |= {process: os.waitstatus_to_exitcode(status)} if ended else {}
        if time.monotonic() > deadline:
            for process in set(processes) - set(codes):
                os.kill(process, signal.SIGKILL)
        time.sleep(_POLL)
    return [codes[process] for process in processes]


if __name__ == "__main__":
    main()
