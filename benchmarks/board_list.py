"""How long the list of `tunefleet board` takes over a folder of many runs, and how much memory.

    python -m benchmarks.board_list [--runs 10000] [--folder /dev/shm]

Makes run directories with the plan of the demo in a folder of its own. Prints CPU seconds: of the first look, which
reads two files of each run, of later ones, which ask for the time and size of one, and of questions of a page.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tunefleet.base.status import State, Status
from tunefleet.board import run_query
from tunefleet.board.run_list import RunList
from tunefleet.board.run_query import RunQuery
from tunefleet.config import RunConfig
from tunefleet.config.load import dump

_FILTER = "run-0 optimizer.lr<1e-3 loss<0.5 model=opt-tiny"


def main() -> None:
    """Prints a line for each act."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where the runs are made; the system's folder for temporary files")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        outputs = Path(folder).resolve()
        for number in range(args.runs):
            write_run(outputs / f"run-{number:05}", number, args.runs)
        runs = RunList(outputs)
        show("first look", runs.refresh)
        show("second look", runs.refresh)
        show("a page", lambda: run_query.answer(runs.rows.values(), RunQuery()))
        show("a filter", lambda: run_query.answer(runs.rows.values(), RunQuery(text=_FILTER, sort="loss")))
        print(f"memory       {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def write_run(folder: Path, number: int, total: int) -> None:
    """A run that has finished."""
    folder.mkdir()
    config = dump(RunConfig(name=folder.name))
    config["optimizer"]["lr"] = 1e-4 * (number % 50)
    now = Status(State.FINISHED, 90, 90, loss=number / total, host="elsewhere", updated=1.7e9 + number)
    (folder / "plan.json").write_text(json.dumps({"name": folder.name, "config": config}, default=str))
    status = {**asdict(now), "state": now.state.value, "cause": now.cause.value}
    (folder / "status.json").write_text(json.dumps(status))


def show(name: str, act: Callable[[], object]) -> None:
    """Prints what an act takes."""
    started, computed = time.monotonic(), time.process_time()
    act()
    seconds, waited = time.process_time() - computed, time.monotonic() - started
    print(f"{name:<12} {seconds:.2f} s of CPU, {waited:.2f} s; load {os.getloadavg()[0]:.0f}", flush=True)


if __name__ == "__main__":
    main()
