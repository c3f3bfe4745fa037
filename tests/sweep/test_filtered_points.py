"""Does the driver leave out what a filter over a composed setting excludes, and try it where a user pins it?"""

from __future__ import annotations

from pathlib import Path

from tests.sweep.fake_world import STEPS, FakeWorld
from tests.sweep.studies import definition
from tunefleet.base.sweeps import SweepPaths
from tunefleet.sweep import inbox
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.driver import Driver
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.study import fold


def test_a_filter_over_a_composed_setting(tmp_path: Path) -> None:
    """The world composes runs of 8 steps, so a product below 2 leaves the second learning rate out."""
    text = "optimizer.lr * train.max_steps < 2"
    sweep = definition({"optimizer.lr": "0.1,0.5"}, filter=[text])
    paths, searched = SweepPaths(tmp_path / "sweep"), Definition("sweep", "", sweep, (), (), ".", ".")
    assert STEPS == 8
    for pinned, rates in ((None, ["0.1"]), ("0.5", ["0.1", "0.5"])):
        if pinned:
            inbox.put(paths.inbox, "pin", values={"optimizer.lr": pinned}, source="pin")
        Driver(paths, searched, FakeWorld(tmp_path / "runs"), lambda line: None).advance()
        study = fold(Journal.read(paths.journal).events)
        assert [trial.values["optimizer.lr"] for trial in study.trials.values()] == rates
        assert [point.reason for point in study.left_out] == [f"filter: not {text}"]
