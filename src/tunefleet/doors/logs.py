"""`tunefleet logs`: what a process of a run wrote, and with -f what it writes from then on."""

from __future__ import annotations

import codecs
import sys
import time
from collections import deque
from pathlib import Path

from tunefleet.base import files, stdio
from tunefleet.base.errors import RunError
from tunefleet.launch import submission
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader

INTERVAL = 2.0  # seconds between two looks


def logs(run: Run, rank: int, lines: int, follow: bool) -> None:
    """The last `lines` lines of a rank; with `follow` also what comes, until the run has ended.

    Raises `RunError` where there is nothing to show.
    """
    path = _log(run, rank)
    ranks = run.ranks
    if path is None and ranks and not 0 <= rank < ranks:
        raise RunError(f"{run.name}: has no rank {rank}. It has {ranks}: --rank 0 to {ranks - 1}.")
    if path is None and not follow:
        raise RunError(f"{run.name}: rank {rank} has no log yet. {_state_line(run)}")
    if path:
        # a progress bar is one line
        with open(path, encoding="utf-8", errors="replace", newline="\n", opener=files.plain) as stream:
            print("".join(deque(stream, lines)), end="", flush=True)
            offset = stream.tell()
    if follow:
        _follow(run, rank, path, offset if path else 0)


def _state_line(run: Run) -> str:
    run_status = StatusReader().status(run.paths)
    return (
        f"It is {run_status.state.value}{f' ({run_status.reason})' if run_status.reason else ''}."
        if run_status
        else "It never started."
    )


def _log(run: Run, rank: int) -> Path | None:
    """The rank's own log; before there is one, what the batch script of the job printed."""
    rank_log = run.paths.log(rank)
    if rank_log.exists():
        return rank_log
    place = submission.place(run.paths)
    batch = place.batch_log if place and place.job else None
    return batch if batch and batch.exists() else None


def _follow(run: Run, rank: int, path: Path | None, offset: int) -> None:
    """Prints what is added; moves on to the rank's own log once there is one."""
    ended = False
    text_of = codecs.getincrementaldecoder("utf-8")("replace")  # a look may end in the middle of a letter
    while True:
        latest = _log(run, rank)
        if latest != path:
            path, offset = latest, 0
        if path:
            offset = _print_from(path, offset, text_of)
        if ended or stdio.reader_left():
            return
        run_status = StatusReader().status(run.paths)
        ended = run_status is None or run_status.state.final  # one more look for the last lines
        if not ended:
            time.sleep(INTERVAL / 2)


def _print_from(path: Path, offset: int, text_of: codecs.IncrementalDecoder) -> int:
    with open(path, "rb", opener=files.plain) as stream:
        stream.seek(offset)
        sys.stdout.write(text_of.decode(stream.read()))
        sys.stdout.flush()
        return stream.tell()
