"""Does a finished run leave its samples and its curve, and print its results?"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.runs import final_report
from tunefleet.runs.validation import Sample
from tunefleet.tracking.console import Console
from tunefleet.tracking.metrics import MetricsFile

SAMPLES = [Sample("seen", "a?", "yes", "no"), Sample("seen", "好?", "是", "是")]


def test_files_and_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # which would break the lines
    plan = tiny_plan(tmp_path)
    plan.paths.root.mkdir(parents=True)
    metrics = MetricsFile(plan.paths.metrics, 0)
    for step, loss in ((1, 3.0), (2, 2.0)):
        metrics.log({"step": step, "train/loss": loss})
    metrics.finish({})
    final_report.write_report(plan, SAMPLES)
    lines = [json.loads(line) for line in plan.paths.samples.read_text(encoding="utf-8").splitlines()]
    assert [{key: line[key] for key in ("split", "question", "reference", "answer")} for line in lines] == [
        {"split": "seen", "question": "a?", "reference": "yes", "answer": "no"},
        {"split": "seen", "question": "好?", "reference": "是", "answer": "是"},
    ]
    assert plan.paths.curve.read_bytes().startswith(b"\x89PNG")
    console = Console(True, 2)
    record = {"evaluation/seen/loss": 1.5, "evaluation/seen/perplexity": 4.48}
    final_report.print_report(plan, console, record, SAMPLES, seconds=2.0, tokens=3000)
    final_report.print_next_commands(plan, console)
    printed = capsys.readouterr().out
    assert "training loss" not in printed  # two steps are no curve
    for part in ("trained 3k tokens in 2s, 1.5k tokens/s", "seen  loss 1.5000", "    != yes", "next:"):
        assert part in printed
    assert f"tunefleet chat {os.path.relpath(plan.run_dir)}" in printed
