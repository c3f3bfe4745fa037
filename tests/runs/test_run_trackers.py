"""Are a run's records kept by rank 0 alone, and sent to Weights & Biases only where that is on?"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.runs.run_trackers import trackers_of_rank
from tunefleet.tracking import metrics
from tunefleet.tracking.console import Console

RECORD = {"step": 3, "evaluation/seen/loss": 1.5}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modes in which W&B's package was started."""
    modes: list[str] = []

    def init(mode: str, **settings: Any) -> Any:
        modes.append(mode)
        raise RuntimeError("that is all")

    package = SimpleNamespace(init=init, Settings=lambda **settings: None, teardown=lambda: None)
    monkeypatch.setitem(sys.modules, "wandb", package)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return modes


def logged(folder: Path, rank: int, mode: str = "disabled", resumed_from: int = 2) -> list[dict[str, Any]]:
    """What metrics.jsonl holds after a record of this rank."""
    plan = tiny_plan(folder, tracking={"wandb": mode})
    plan.paths.root.mkdir(parents=True, exist_ok=True)
    trackers = trackers_of_rank(plan, rank, Console(rank == 0, 4), resumed_from)
    trackers.log(RECORD)
    trackers.finish({})
    return metrics.read(plan.paths.metrics)


def test_rank_0_writes_and_prints(tmp_path: Path, started: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert logged(tmp_path, 0) == [RECORD]
    assert capsys.readouterr().out.split() == ["loss", "at", "step", "seen", "3/4", "1.5000"]
    assert started == []


def test_other_ranks_do_neither(tmp_path: Path, started: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert logged(tmp_path, 1, mode="offline") == []
    assert capsys.readouterr().out == ""
    assert started == []


def test_weights_and_biases_starts_where_it_is_on(tmp_path: Path, started: list[str]) -> None:
    assert logged(tmp_path, 0, mode="offline") == [RECORD]  # whatever becomes of it
    assert started == ["offline"]


def test_a_resumed_run_drops_the_records_of_steps_to_come(tmp_path: Path, started: list[str]) -> None:
    logged(tmp_path, 0)
    assert logged(tmp_path, 0) == [RECORD]  # that of step 3 is written again, after step 2
    assert logged(tmp_path, 0, resumed_from=3) == [RECORD, RECORD]
