"""Does the console say how much was prepared, and how much was left out and why?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.plans import tiny_plan
from tests.shared import dataset_of
from tunefleet.runs import data_summary


def prepared(**changes: Any) -> Any:
    split = dataset_of([([1, 2], [False, True])])
    data = SimpleNamespace(train=split, validation={"seen": split}, removed={}, unread={}, bad_rows=0)
    vars(data).update(removed_report="removed.jsonl", report="bad.jsonl", **changes)
    return data


def test_nothing_left_out_is_no_line(tmp_path: Path) -> None:
    lines = data_summary.rows(tiny_plan(tmp_path), prepared())
    assert list(lines) == ["data", "validation"]
    assert lines["data"].startswith("jsonl: 1 conversations in ")
    assert lines["validation"] == "seen 1"


def test_what_was_left_out_is_counted_with_its_report(tmp_path: Path) -> None:
    data = prepared()
    data.train = replace(data.train, card=replace(data.train.card, truncated=3, dropped=2))
    data.removed, data.bad_rows = {"duplicates": 1200}, 4
    lines = data_summary.rows(tiny_plan(tmp_path), data)
    assert lines["data"].endswith("(3 cut, 2 dropped of 3 read)")
    assert lines["left out"] == "1,200 duplicates, see removed.jsonl"
    assert lines["bad rows"] == "4 left out, see bad.jsonl"


def test_columns_that_were_not_read_are_named_up_to_five(tmp_path: Path) -> None:
    data = prepared()
    data.unread = {f"column{number}": f"a.jsonl:{number}" for number in range(1, 8)}
    named = data_summary.rows(tiny_plan(tmp_path), data)["not read"]
    assert named.startswith("column1, column2, column3, column4, column5, 2 more (first at a.jsonl:1)")


def test_no_validation_is_said(tmp_path: Path) -> None:
    data = prepared()
    data.validation = {}
    assert data_summary.rows(tiny_plan(tmp_path), data)["validation"] == "none"
