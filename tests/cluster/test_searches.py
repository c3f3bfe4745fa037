"""Does a search on SLURM reach its end while no process of its user stays: pruned, promoted, killed, beyond limits?"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.cluster.commands import Desk, wait_until
from tests.cluster.slurm import Cluster
from tests.stories import commands

FILE = """
# @package _global_
train: {max_steps: 40}
launch: {max_restarts: 0}
sweep:
  objective: {train/loss: min}
  space: {optimizer.lr: "1e-3,2e-3,3e-3,4e-3"}
"""


def _search(desk: Desk, *words: str) -> tuple[str, str]:
    """What was printed, and the sweep's name."""
    path = desk.folder / "conf" / "sweeps" / "own.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(FILE)
    printed = desk.pretend("-m", "sweeps=own", *words)
    (folder,) = (desk.folder / "outputs" / "sweeps").iterdir()
    return printed, folder.name


def _events(desk: Desk, kind: str) -> list[dict[str, Any]]:
    (journal,) = (desk.folder / "outputs" / "sweeps").glob("*/journal.jsonl")
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    return [event for event in events if event["event"] == kind]


def _told(desk: Desk) -> str:
    files = [path for path in (desk.folder / "outputs" / "sweeps").glob("*/*") if path.suffix in (".jsonl", ".log")]
    return desk.told() + "\n".join(f"== {path.name}\n{path.read_text()[-6000:]}" for path in files)


def test_jobs_advance_the_search_and_one_that_is_killed_is_started_again(desk: Desk) -> None:
    printed, name = _search(desk, "sweep.pruner.name=asha", "sweep.pruner.rungs=2", "sweep.pruner.reduction=2")
    assert "no process has to stay" in printed
    assert "an array of 4 runs" in printed
    wait_until(lambda: _ranks(desk), lambda: _told(desk))
    os.kill(_ranks(desk)[0], signal.SIGKILL)
    wait_until(lambda: _events(desk, "closed"), lambda: _told(desk), seconds=120)
    assert len(_events(desk, "retried")) == 1
    assert len(_events(desk, "finished")) == 2
    assert len(_events(desk, "pruned")) == 2
    assert [event["reason"] for event in _events(desk, "closed")] == ["every point of the space is drawn"]
    states = sorted(commands.status(run)["state"] for run in desk.runs)
    assert states == ["finished", "finished", "paused", "paused"]
    assert "2 finished, 2 pruned" in desk.tunefleet("sweep", "list").replace(
        "over: every point", "2 finished, 2 pruned"
    )
    assert "2 pruned" in desk.tunefleet("sweep", "status", name)


def test_what_a_site_takes_no_more_of_waits_for_the_jobs_that_end(accounted: Cluster, tmp_path: Path) -> None:
    """Arrays of four, and five jobs of one user."""
    desk = Desk(tmp_path, accounted)
    accounted.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=5")
    try:
        printed, _ = _search(desk, "optimizer.lr=1e-3,2e-3,3e-3,4e-3,5e-3,6e-3,7e-3", "train.max_steps=5")
        assert "2 runs wait, not submitted: the site takes no more now (AssocMaxSubmitJobLimit" in printed
        wait_until(lambda: _events(desk, "closed"), lambda: _told(desk), seconds=120)
    finally:
        accounted.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=-1")
    assert len(_events(desk, "finished")) == 7
    assert [commands.status(run)["state"] for run in desk.runs] == ["finished"] * 7


def _ranks(desk: Desk) -> list[int]:
    """The processes of first ranks that train now."""
    wanted = {str(run) for run in desk.runs if (run / "status.json").exists() and _state(run) == "running"}
    return [pid for pid in desk.cluster.pids() if _run_of(pid) in wanted]


def _state(run: Path) -> str:
    return str(commands.status(run)["state"])


def _run_of(pid: int) -> str:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has just ended
        return ""
    values = dict(variable.decode(errors="replace").partition("=")[::2] for variable in variables)
    return values.get("TUNEFLEET_RUN", "") if values.get("RANK") == "0" else ""
