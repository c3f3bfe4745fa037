"""Mutants of our own files: a folder of outputs as runs, a grid and a search leave it, with one file of it spoiled.

Every command that reads is called in this process: it must end with a documented exit code, print no traceback and no
escape sequence, and wait for nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.doors.test_report import trained as reported
from tests.fuzz import bytes as mutated
from tests.launch.fakes import queued
from tests.plans import tiny_plan
from tests.sweep.journals import searched
from tunefleet.base import failures, files, status, sweep_requests, sweeps
from tunefleet.base.failures import Failure
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.base.stdio import neutral
from tunefleet.base.sweeps import SweepPoint
from tunefleet.checkpoint import checkpoint_manifest, pointer
from tunefleet.checkpoint.checkpoint_manifest import Manifest
from tunefleet.contracts import RunState
from tunefleet.doors import cli
from tunefleet.launch import attempts
from tunefleet.plan import Plan

SECONDS = 20  # of one command: none of them trains
CODES = (0, 1, 2, 130)
RUN = "tiny"
SWEEP = "lr_asha-1a2b3c4d"


@dataclass(frozen=True)
class Mutant:
    """What was spoiled, and how a command ended with it. `wrong` is empty where all is as it must be."""

    number: int
    file: str
    how: str
    command: str
    code: object
    wrong: str


def built(folder: Path) -> Path:
    """A folder `outputs` below `folder`, with the files of every kind that commands read."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = folder / "outputs"
    plan = replace(tiny_plan(folder, launch={"processes": 1}), name=RUN, run_dir=str(outputs / RUN))
    plan.save()
    _run_files(plan)
    queued(outputs, [plan.paths])
    reported(outputs, "music", 0.05)
    searched(outputs, SWEEP, trials=3, steps=9)
    sweeps.write(
        outputs, sweeps.sweep([SweepPoint(("seed=1",), plan.run_dir), SweepPoint(("seed=2",), str(outputs / "music"))])
    )
    files.write_json(outputs / "sweeps" / SWEEP / "inbox" / "a1.json", {"kind": "pin", "values": {"optimizer.lr": "1"}})
    return outputs


def _run_files(plan: Plan) -> None:
    paths = plan.paths
    status.write(paths.status, Status(State.FAILED, 3, 9, 2, cause=Cause.KILLED, refused=1, reason="rank 1 was killed"))
    files.write_lines(paths.metrics, [f'{{"step": {n}, "train/loss": {4 - n}, "time": {n}}}\n' for n in range(1, 4)])
    files.write_json(
        paths.provenance, {"commit": "a" * 40, "dirty": True, "command": ["train.py"], "versions": {"torch": "2"}}
    )
    files.write_text(paths.diff, "diff --git a/x b/x\n")
    files.write_json(paths.data, {"questions": 1})
    files.write_text(paths.samples, '{"question": "a", "answer": "b", "reference": "c", "split": "d"}\n')
    failures.write(paths, Failure(1, "it failed", Cause.ERROR, 1, "Traceback"))
    files.write_text(paths.batches, '{"step": 2, "position": 4, "act": "skip", "kind": "NaN"}\n')
    attempts.begin(paths, "key", "12")
    sweep_requests.set_rung(paths, 5)
    for rank in range(2):
        files.write_text(paths.log(rank), "step 1\nstep 2\n")
    folder = paths.checkpoints / "step-00000002"
    files.write_text(folder / "shards" / "a.pt", "weights")
    manifest = Manifest(RunState(2, 4, 6, 6), plan.identity, 1, 1.0, {"shards/a.pt": (7, "0" * 64)})
    pointer.write(paths.checkpoints, folder.name, checkpoint_manifest.write(folder, manifest), [])


def commands(outputs: Path, run: str) -> tuple[tuple[str, ...], ...]:
    """Those that read what runs and sweeps left, and start nothing."""
    page = str(outputs.parent / "page.html")
    return (
        ("ls",), ("status",), ("status", run), ("logs", run), ("logs", run, "--rank", "1"),
        ("report", run, "music", "--to", page),
        ("ls", "optimizer.lr=1"), ("sweep", "list"), ("sweep", "status", SWEEP), ("sweep", "top", SWEEP, "--json"),
        ("sweep", "best", SWEEP), ("sweep", "report", SWEEP), ("rm", run), ("status", "sweep-"),
    )  # fmt: skip


def mutants(seed: int, count: int, folder: Path, of: str = "") -> Iterator[Mutant]:
    """`count` spoiled files, each read by one command, and what came of it. `of` is in their names."""
    outputs = built(folder / "whole")
    names = sorted(str(path.relative_to(outputs)) for path in outputs.rglob("*") if path.is_file() and of in path.name)
    for number, draw in enumerate(mutated.stream(seed, count)):
        name = names[number % len(names)]
        command = draw.choice(commands(outputs, RUN))
        content = (outputs / name).read_bytes()
        how = _spoil(outputs / name, draw)
        kept = {path: path.read_bytes() for path in _written(outputs)}
        code, wrong = _call(outputs, command)
        yield Mutant(number, name, how, " ".join(command), code, wrong)
        _put_back(outputs / name, content)
        for path, written in kept.items():
            if str(path) != str(outputs / name):
                _put_back(path, written)


def _written(outputs: Path) -> list[Path]:
    """Files that some command may change, for they belong to the next mutant too."""
    return [path for path in outputs.glob("*/status.json") if path.is_file()]


def _put_back(path: Path, content: bytes) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _spoil(path: Path, draw: Any) -> str:
    """Changes what is in the file, or what is in its place."""
    content = path.read_bytes()
    how: str = draw.choice(("bytes",) * 12 + ("missing", "folder", "pipe", "device", "link to itself", "no permission"))
    if how == "bytes":
        path.write_bytes(mutated.mutant(content, draw))
        return how
    if how == "no permission":
        path.chmod(0)
        return how
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "device":
        path.symlink_to("/dev/zero")
    elif how == "link to itself":
        path.symlink_to(path.name)
    return how


def _call(outputs: Path, command: tuple[str, ...]) -> tuple[object, str]:
    """(exit code, what is wrong) of `tunefleet --outputs OUTPUTS COMMAND`."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    wrong = ""
    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(neutral(out)), contextlib.redirect_stderr(neutral(err)), _no_input():
            cli.main(["--outputs", str(outputs), *command])
    except SystemExit as error:
        code = error.code or 0
    except TimeoutError:
        wrong = f"still waiting after {time.monotonic() - began:.0f} s"
    except BaseException as error:
        wrong = f"{type(error).__name__}: {str(error)[:200]}{_last_place(error)}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    printed = out.getvalue() + err.getvalue()
    if "Traceback (most recent" in printed:
        wrong = wrong or "a traceback"
    if "\x1b" in printed or "\u202e" in printed:
        wrong = wrong or "an escape sequence"
    return code, wrong or ("" if code in CODES else f"exit code {code}")


def _last_place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError


@contextlib.contextmanager
def _no_input() -> Iterator[None]:
    import sys

    before, sys.stdin = sys.stdin, io.StringIO("")
    try:
        yield
    finally:
        sys.stdin = before


__all__ = ["CODES", "Mutant", "RunPaths", "built", "commands", "mutants"]
