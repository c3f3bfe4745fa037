"""Mutants of our own files: a folder of outputs as runs, a grid and a search leave it, for commands that read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.doors.test_report import trained as reported
from tests.fuzz.spoiled import Mutant, Spoiled
from tests.launch.fakes import queued
from tests.plans import tiny_plan
from tests.sweep.journals import searched
from tunefleet.base import failures, files, status, sweep_requests, sweeps
from tunefleet.base.failures import Failure
from tunefleet.base.status import Cause, State, Status
from tunefleet.base.sweeps import SweepPoint
from tunefleet.checkpoint import checkpoint_manifest, pointer
from tunefleet.checkpoint.checkpoint_manifest import Manifest
from tunefleet.contracts import RunState
from tunefleet.launch import attempts
from tunefleet.plan import Plan

RUN = "tiny"
SWEEP = "lr_asha-1a2b3c4d"


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
        ("bundle", run, "--to", str(outputs.parent / "bundle.tar.gz")),
    )  # fmt: skip


def spoiled(folder: Path, of: str = "") -> Spoiled:
    """The files in `folder` of which one at a time is spoiled; `of` is in their names."""
    outputs = built(folder)
    return Spoiled(outputs, commands(outputs, RUN), of=of)


def mutants(seed: int, count: int, folder: Path, of: str = "") -> Iterator[Mutant]:
    """`count` spoiled files, each read by one command, and what came of it."""
    made = spoiled(folder, of)
    return (made.mutant(seed, number) for number in range(count))
