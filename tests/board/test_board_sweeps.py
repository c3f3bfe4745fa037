"""Do the acts on a sweep do what the commands do, asked for through the board?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.board.boards import ServedBoard, served, wait_until
from tests.doors.opened_sweeps import opened
from tunefleet.base.sweeps import SweepPaths
from tunefleet.sweep.journal import Event, Journal


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepPaths:
    """A sweep of this machine whose first trial waits to start; nobody advances it."""
    monkeypatch.chdir(tmp_path)
    return opened(tmp_path, ["1e-3"])


@pytest.mark.parametrize(
    ("kind", "body", "event", "data"),
    [
        ("stop", {"trial": 1}, "stopped", {"trial": 1}),
        pytest.param("stop", {}, "closed", {"stops": True}, marks=pytest.mark.exhaustive),
        pytest.param(
            "clone",
            {"trial": 1, "settings": ["optimizer.weight_decay=0.2"]},
            "pinned",
            {"source": "clone of 1", "values": {"optimizer.lr": "1e-3", "optimizer.weight_decay": "0.2"}},
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            "extend",
            {"trials": 5, "settings": ["optimizer.lr=1e-3,4e-3"]},
            "extended",
            {"limits": {"trials": 5, "space": {"optimizer.lr": "1e-3,4e-3"}}},
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_an_act_becomes_an_event(
    sweep: SweepPaths, kind: str, body: dict[str, Any], event: str, data: dict[str, Any]
) -> None:
    with served(sweep.root.parent.parent) as board:
        assert board.ask("/api/sweeps/mine").json["searches"]
        act = board.ask(f"/api/sweeps/mine/{kind}", "POST", body).json
        done = wait_until(lambda: _done(board, act["number"]), "the command")
        assert done["exit_code"] == 0, done["output"]
        (event_of_user,) = [event for event in _events(sweep) if event.data.get("act")]
        assert event_of_user.kind == event
        assert {key: event_of_user.data.get(key) for key in data} == data


def _done(board: ServedBoard, number: int) -> dict[str, Any] | None:
    acts: list[dict[str, Any]] = board.ask("/api/acts").json["rows"]
    return next((act for act in acts if act["number"] == number and act["exit_code"] is not None), None)


def _events(paths: SweepPaths) -> list[Event]:
    return Journal.read(paths.journal).events


@pytest.mark.exhaustive
def test_an_act_that_the_sweep_refuses_says_why(sweep: SweepPaths) -> None:
    with served(sweep.root.parent.parent) as board:
        act = board.ask("/api/sweeps/mine/clone", "POST", {"trial": 7, "settings": ["optimizer.lr=1"]}).json
        done = wait_until(lambda: _done(board, act["number"]), "the command")
    assert done["exit_code"] == 2
    assert "trial 7: no such trial" in done["output"]
    assert [event.kind for event in _events(sweep)] == ["drawn"]
