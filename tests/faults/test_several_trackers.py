"""Does a tracker that fails stop neither the run nor the others, and is that said once?"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.small_disk import filled, small_disk
from tests.plans import tiny_plan
from tests.tracking.wandb_servers import dead_port
from tunefleet.contracts import Tracker
from tunefleet.runs.run_trackers import trackers_of_rank
from tunefleet.tracking import metrics
from tunefleet.tracking.background import BackgroundTracker
from tunefleet.tracking.console import Console
from tunefleet.tracking.csv_file import CsvFile
from tunefleet.tracking.metrics import MetricsFile
from tunefleet.tracking.trackers import Trackers


def records(count: int) -> list[dict[str, Any]]:
    return [{"step": step, "memory/peak_gib": 1 / step} for step in range(1, count + 1)]


def logged(plan: Any, count: int = 3) -> list[dict[str, Any]]:
    """What metrics.jsonl holds after so many records to all trackers of the plan."""
    plan.paths.root.mkdir(parents=True, exist_ok=True)
    trackers = trackers_of_rank(plan, 0, Console(False, count), 0)
    for record in records(count):
        trackers.log(record)
    trackers.finish({"state": "finished"})
    return metrics.read(plan.paths.metrics)


def test_a_full_disk_of_one_tracker_leaves_the_others_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """TensorBoard's folder is a link to a disk that is full; its own package writes there."""
    plan = tiny_plan(tmp_path, tracking={"tensorboard": True, "csv": True})
    with small_disk(tmp_path / "full") as disk, caplog.at_level(logging.WARNING):
        filled(disk)
        plan.paths.root.mkdir(parents=True)
        os.symlink(disk, plan.paths.tensorboard)
        assert logged(plan) == records(3)
    assert plan.paths.csv.read_text().splitlines() == ["step,memory/peak_gib", "1,1.0", "2,0.5", "3,0.3333333333333333"]
    assert [line for line in caplog.messages if "TensorBoard stopped" in line] == caplog.messages
    assert len(caplog.messages) == 1
    assert "No space left on device" in caplog.messages[0]
    assert caplog.messages[0].endswith("metrics.jsonl has everything.")


def test_a_folder_in_the_way_of_a_file_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = tiny_plan(tmp_path, tracking={"csv": True})
    (plan.paths.csv / "inside").mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        assert logged(plan) == records(3)
    (message,) = caplog.messages
    assert message.startswith("CSV stopped: ")


def test_control_without_a_thread_of_its_own_the_fault_ends_the_run(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    (plan.paths.csv / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        CsvFile(plan.paths.csv, plan.paths.metrics, 0)


class Slow:
    """A tracker that answers after an hour."""

    def log(self, record: dict[str, Any]) -> None:
        time.sleep(3600)

    samples = rewind = finish = log  # type: ignore[assignment]


class Leaving(Slow):
    """One that ends its thread."""

    def log(self, record: dict[str, Any]) -> None:
        record.clear()
        raise SystemExit(3)


@pytest.mark.parametrize(("kind", "reason"), [(Slow, "no answer at the end"), (Leaving, "3")])
def test_a_tracker_that_hangs_or_leaves_is_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type[Tracker], reason: str
) -> None:
    path = tmp_path / "metrics.jsonl"
    trackers = Trackers([BackgroundTracker("Mine", kind, finish_seconds=0.5), MetricsFile(path, 0)])
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        for record in records(3):
            trackers.log(record)
        trackers.finish({"state": "finished"})
    assert time.monotonic() - began < 5
    assert caplog.messages == [f"Mine stopped: {reason}. metrics.jsonl has everything."]
    assert [json.loads(line) for line in path.read_text().splitlines()] == records(3)


def test_mlflow_with_a_refused_port_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("mlflow", reason="mlflow is an extra: pip install mlflow")
    uri = f"http://127.0.0.1:{dead_port()}"
    plan = tiny_plan(tmp_path, tracking={"mlflow": True, "mlflow_uri": uri, "csv": True})
    with caplog.at_level(logging.WARNING, "tunefleet"):
        assert logged(plan) == records(3)
    (message,) = [message for message in caplog.messages if "stopped" in message]
    assert message.startswith("MLflow stopped: ")
    assert len(plan.paths.csv.read_text().splitlines()) == 4
