"""Is an evaluation that a signal comes into left at its next batch, and made again as a whole by the same command?"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.faults.live_runs import Begin, LiveRun
from tests.faults.test_stop_signals import expect_saved
from tests.stories.commands import metrics, status

METRIC = "unseen_words/exact_match"
LONG = (
    "evaluation.every=2",
    "data.validation_rows=60",
    "evaluation.generate_batch=1",
    "checkpoint.keep_best=1",
    f"checkpoint.metric={METRIC}",
    "checkpoint.export=false",
)
"""Every evaluation generates answers, one after another."""


def evaluations(path: Path) -> list[int]:
    """The steps of whole evaluations."""
    return [record["step"] for record in metrics(path) if f"evaluation/{METRIC}" in record]


def answered(run: LiveRun) -> tuple[int, int]:
    """(batches that the console says are answered, all of them)."""
    done, total = (re.findall(r"generating answers, batches: (\d+)/(\d+)", run.output()) or [("0", "0")])[-1]
    return int(done), int(total)


@pytest.mark.exhaustive
def test_an_evaluation_is_left_at_once_and_made_again(begin: Begin) -> None:
    run = begin(*LONG, "evaluation.generate_rows=all")
    run.until(lambda: answered(run)[0], 100)
    run.send(1, signal.SIGTERM)
    expect_saved(run, "terminated")
    done, total = answered(run)
    assert 0 < done < total - 1, "the signal came into it, and it was not made to its end"
    assert status(run.path)["step"] == 2
    assert "evaluation of step 2: left at once" in run.output()
    assert evaluations(run.path) == []
    again = begin(*LONG, "evaluation.generate_rows=2")
    again.until(lambda: len(evaluations(again.path)) > 1, 100)
    assert evaluations(again.path)[:2] == [2, 4]
