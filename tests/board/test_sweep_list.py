"""Is the page of a sweep made again only when it has changed, and found where its folder is seen from elsewhere?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.journals import SweepWriter, searched, trained
from tests.sweep.test_grid_study import grid
from tunefleet.base.errors import RunError
from tunefleet.base.status import State
from tunefleet.board import sweep_list
from tunefleet.board.run_list import RunList
from tunefleet.board.sweep_list import SweepList


@pytest.fixture
def page_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sweeps whose pages were made since."""
    names: list[str] = []
    make: Callable[..., Any] = sweep_list.page_of
    monkeypatch.setattr(
        sweep_list, "page_of", lambda record, *more: (names.append(record.name), make(record, *more))[1]
    )
    return names


def page(sweeps: SweepList, name: str) -> tuple[dict[str, Any], str]:
    paths = sweeps.paths(name)
    assert paths
    return sweeps.page(paths)


def test_a_page_is_made_again_when_its_journal_has_grown(
    tmp_path: Path, page_of: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, sweeps = SweepWriter(tmp_path, "lr"), SweepList(RunList(tmp_path))
    writer.finished({"optimizer.lr": "0.1"}, 1.5)
    clock = [100.0]
    monkeypatch.setattr(sweep_list.time, "monotonic", lambda: clock[0])
    first = page(sweeps, "lr")
    clock[0] += 1000
    assert page(sweeps, "lr") == first
    assert page_of == ["lr"]
    writer.finished({"optimizer.lr": "0.2"}, 1.4)
    latest, version = page(sweeps, "lr")
    assert (page_of, len(latest["trials"])) == (["lr", "lr"], 2)
    assert version != first[1]
    (row,) = sweeps.rows()
    assert (row.name, row.searches, row.trials, row.states, row.over) == ("lr", True, 2, {"finished": 2}, "")


def test_a_folder_that_is_seen_from_elsewhere_shows_its_own_runs(tmp_path: Path) -> None:
    """As a cluster's disk that is mounted here: the journal has the paths of there."""
    searched(tmp_path / "there", "lr", trials=3)
    (tmp_path / "there").rename(tmp_path / "here")
    shown, _ = page(SweepList(RunList(tmp_path / "here")), "lr")
    assert [curve["trial"] for curve in shown["curves"]] != []
    assert shown["trials"][0]["runs"][0]["log"].endswith("here/run-3/logs/rank0.log")


def test_a_grid_that_is_seen_from_elsewhere_is_there_with_the_states_of_its_runs(tmp_path: Path) -> None:
    paths = grid(tmp_path / "there", ("optimizer.lr=1",), ("optimizer.lr=2",), ("optimizer.lr=3",))
    for number, state in enumerate((State.FINISHED, State.FAILED)):
        trained(tmp_path / "there" / f"run-{number}", 9, 0.5, state)
        (tmp_path / "there" / f"run-{number}" / "plan.json").write_text("{}")
    (tmp_path / "there").rename(tmp_path / "here")
    runs = RunList(tmp_path / "here")
    listed = SweepList(runs)
    for _ in range(2):  # as it is read, and as it is remembered
        runs.refresh()
        (row,) = listed.rows()
        assert (row.trials, row.states) == (3, {"finished": 1, "failed": 1, "never started": 1})
    shown, _ = page(listed, paths.root.name)
    assert len(shown["trials"]) == 3
    trained(tmp_path / "here" / "run-1", 9, 0.5, State.FINISHED)
    runs.refresh()
    assert listed.rows()[0].states == {"finished": 2, "never started": 1}


def test_a_run_that_leads_out_of_the_folder_refuses_the_page(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    number = (writer := SweepWriter(outputs, "lr")).finished({"optimizer.lr": "0.1"}, 1.5)
    (tmp_path / "outside").mkdir()
    writer.run_dir(number).symlink_to(tmp_path / "outside")
    with pytest.raises(RunError, match="run-1 leads out of"):
        page(SweepList(RunList(outputs)), "lr")
