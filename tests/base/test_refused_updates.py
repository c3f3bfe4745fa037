"""Does one line say how many updates were left out and why, and never more than is known?"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tunefleet.base import refused_updates
from tunefleet.base.paths import RunPaths

SKIPPED = {"step": 3, "position": 8, "act": "skip", "kind": "NaN"}
REWOUND = {"step": 7, "position": 28, "act": "rewind", "kind": "spike"}
STOPPED = {"step": 9, "position": 36, "act": "stop", "kind": "NaN"}


def written(folder: Path, *lines: object) -> RunPaths:
    run = RunPaths(folder)
    run.batches.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return run


def test_updates_are_counted_by_kind(tmp_path: Path) -> None:
    run = written(tmp_path, SKIPPED, REWOUND, STOPPED)
    assert refused_updates.summary(run, 2) == "2 updates left out: 1 NaN, 1 spike; rows in batches.jsonl"


def test_no_update_is_no_line(tmp_path: Path) -> None:
    assert refused_updates.summary(written(tmp_path, STOPPED), 0) == ""


def test_one_that_came_again_after_a_kill_counts_once(tmp_path: Path) -> None:
    stopped_first = {**SKIPPED, "act": "stop"}
    run = written(tmp_path, stopped_first, SKIPPED, SKIPPED)
    assert refused_updates.summary(run, 1) == "1 update left out: 1 NaN; rows in batches.jsonl"


@pytest.mark.parametrize("line", ['{"step": 7', "[]\n", '{"position": [], "act": {}}\n', "\0\n"])
def test_kinds_that_are_not_known_are_not_named(tmp_path: Path, line: str) -> None:
    assert refused_updates.summary(written(tmp_path, SKIPPED, line), 2) == "2 updates left out"


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    run = RunPaths(tmp_path)
    os.mkfifo(run.batches)
    assert refused_updates.summary(run, 2) == "2 updates left out"
