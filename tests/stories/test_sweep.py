"""What a person sees of a search on one machine: real runs, a killed driver, a point that fails, finished runs."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.stories.commands import SMALL, start, train, tunefleet

FILE = """
# @package _global_
defaults:
  - override /schedule: constant
  - _self_
schedule: {warmup: "0"}
train: {max_steps: 9}
checkpoint: {export: false}
evaluation: {every: 0, generate_rows: 0}
launch: {parallel_runs: 2}
sweep:
  objective: {unseen_words/loss: min}
  space: {optimizer.lr: "1e-6,1e-3,1e-2"}
"""
SEARCH = ["-m", *SMALL[:2], "tracking=files", "sweeps=own"]


def _project(folder: Path) -> None:
    """A project whose own folder `conf/sweeps` holds a search."""
    path = folder / "conf" / "sweeps" / "own.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(FILE)


def _events(folder: Path) -> list[dict[str, Any]]:
    (journal,) = (folder / "outputs" / "sweeps").glob("*/journal.jsonl")
    return [json.loads(line) for line in journal.read_text().splitlines()]


def _until(folder: Path, kind: str) -> None:
    deadline = time.monotonic() + 200
    while not any(event["event"] == kind for event in (_events(folder) if _begun(folder) else [])):
        assert time.monotonic() < deadline, (folder / "output.txt").read_text()
        time.sleep(0.1)


def _begun(folder: Path) -> bool:
    return bool(list((folder / "outputs" / "sweeps").glob("*/journal.jsonl")))


def _losses(run: str, step: int) -> list[float]:
    records = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
    key = "evaluation/unseen_words/loss"
    return [record[key] for record in records if key in record and record["step"] == step]


ASHA = ["sweep.pruner.name=asha", "sweep.pruner.rungs=2"]


def test_a_driver_that_is_killed_is_followed_by_the_same_command(tmp_path: Path) -> None:
    """The winner is the one with the best loss at the rung, no run that got there is trained again."""
    _project(tmp_path)
    driver = start(tmp_path, *SEARCH, *ASHA)
    _until(tmp_path, "rung")
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = _events(tmp_path)
    paused = {event["trial"]: event["means"] for event in before if event["event"] == "rung"}
    printed = train(tmp_path, *SEARCH, *ASHA)
    assert "goes on" in printed.splitlines()[0]
    events = _events(tmp_path)
    assert events[: len(before)] == before
    runs = {event["trial"]: event["runs"][0]["run_dir"] for event in events if event["event"] == "drawn"}
    assert sorted(runs) == [1, 2, 3]
    at_rung = {trial: _losses(run, 3) for trial, run in runs.items()}
    assert all(len(losses) == 1 for losses in at_rung.values())  # each got there once
    assert all(at_rung[trial] == means for trial, means in paused.items())
    best = min(at_rung, key=lambda trial: at_rung[trial])
    assert [event["trial"] for event in events if event["event"] == "finished"] == [best]
    assert sorted(event["trial"] for event in events if event["event"] == "pruned") == sorted(set(runs) - {best})
    assert events[-1]["event"] == "closed"
    assert "over: " in train(tmp_path, *SEARCH, *ASHA)
    assert _events(tmp_path) == events


def test_a_search_goes_on_beyond_a_failed_point_takes_over_finished_runs_and_is_extended(tmp_path: Path) -> None:
    _project(tmp_path)
    words = [*SEARCH, "optimizer.lr=1e15,1e-3", "train.max_steps=3"]
    printed = train(tmp_path, *words, "sweep.max_failure_share=1")
    assert "trial 1 [optimizer.lr=1e15]: failed: rank 0 of 1 failed: the loss became nan" in printed
    assert "trial 2 [optimizer.lr=1e-3]: finished" in printed
    status = tunefleet(tmp_path, "sweep", "status", "own")
    assert "1 finished, 1 failed" in status
    (name,) = [path.name for path in (tmp_path / "outputs" / "sweeps").iterdir()]
    assert "2 finished, 1 failed" not in tunefleet(tmp_path, "sweep", "extend", name, "optimizer.lr=1e15,1e-3,1e-2")
    printed = train(tmp_path, *words)
    assert "trial 3 [optimizer.lr=1e-2]: finished" in printed
    assert "trial 2" not in printed
    printed = train(tmp_path, *SEARCH, "optimizer.lr=1e-3,1e-2", "train.max_steps=3", "sweep.name=second")
    assert printed.count("finished, unseen_words/loss") == 2
    assert "started" not in printed  # control: both were finished before
