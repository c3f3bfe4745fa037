"""Is metrics.jsonl the truth: whole lines, and after a resume each step once?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunefleet.tracking import metrics
from tunefleet.tracking.metrics import MetricsFile
from tunefleet.tracking.trackers import Trackers


def _written(path: Path, records: list[dict[str, Any]], resumed_from: int = 0) -> None:
    sink = MetricsFile(path, resumed_from)
    for record in records:
        sink.log(record)
    sink.finish({})


def test_what_is_logged_is_read(tmp_path: Path) -> None:
    records = [{"step": 1, "train/loss": 2.5}, {"step": 2, "train/loss": 2.25}]
    _written(tmp_path / "metrics.jsonl", records)
    assert metrics.read(tmp_path / "metrics.jsonl") == records


def test_a_record_is_on_the_disk_before_the_next_call(tmp_path: Path) -> None:
    sink = MetricsFile(tmp_path / "metrics.jsonl", 0)
    sink.log({"step": 1})
    assert metrics.read(tmp_path / "metrics.jsonl") == [{"step": 1}]
    sink.finish({})


def test_a_resumed_run_drops_the_steps_that_it_does_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    _written(path, [{"step": 1}, {"step": 2}, {"step": 2, "evaluation/a/loss": 1.0}, {"step": 3}])
    _written(path, [{"step": 3, "again": True}], resumed_from=2)
    assert metrics.read(path) == [
        {"step": 1},
        {"step": 2},
        {"step": 2, "evaluation/a/loss": 1.0},
        {"step": 3, "again": True},
    ]


def test_the_last_evaluation_is_not_kept_twice(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    _written(path, [{"step": 3}, {"step": 3, "final": True, "evaluation/a/loss": 1.0}])
    _written(path, [{"step": 3, "final": True, "evaluation/a/loss": 1.0}], resumed_from=3)
    assert [bool(record.get("final")) for record in metrics.read(path)] == [False, True]


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "train/lo')
    assert metrics.read(path) == [{"step": 1}, {"step": 2}]
    _written(path, [{"step": 3}], resumed_from=2)
    assert metrics.read(path) == [{"step": 1}, {"step": 2}, {"step": 3}]


def test_trackers_tell_everyone_in_order() -> None:
    records: list[str] = []

    class Tracker:
        def __init__(self, name: str) -> None:
            self.name = name

        def log(self, record: dict[str, Any]) -> None:
            records.append(f"{self.name} {record['step']}")

        def finish(self, summary: dict[str, Any]) -> None:
            records.append(f"{self.name} done")

    trackers = Trackers([Tracker("a"), Tracker("b")])
    trackers.log({"step": 1})
    trackers.finish({})
    assert records == ["a 1", "b 1", "a done", "b done"]
