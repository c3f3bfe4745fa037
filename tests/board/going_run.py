"""A run that goes on until it is asked to end: a row of metrics ten times a second, and a final state at last."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from tests.board.boards import logged, stand
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status

TOTAL = 100_000


def main(paths: RunPaths) -> None:
    """Writes until SIGTERM."""
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    step = 0
    while not asked.wait(0.1) and step < TOTAL:
        step += 1
        logged(paths, step, step)
        paths.log(0).parent.mkdir(exist_ok=True)
        with open(paths.log(0), "a") as log:
            log.write(f"step {step} of {TOTAL}\n")
        if step % 5 == 1:
            stand(paths, Status(State.RUNNING, step, TOTAL, loss=4 - step / 20))
    stand(paths, Status(State.CANCELLED, step, TOTAL, cause=Cause.CANCELLED))


if __name__ == "__main__":
    main(RunPaths(Path(sys.argv[1])))
