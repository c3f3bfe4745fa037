"""Do a sweep's requests arrive as they were written, and does a user's own start set aside the right ones?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tunefleet.base import status, sweep_requests
from tunefleet.base.errors import RunError
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State, Status


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / "run")


def test_a_rung_is_set_moved_and_taken_away(run: RunPaths) -> None:
    for step in (None, 2, 40, None, None):
        sweep_requests.set_rung(run, step)
        assert sweep_requests.rung(run) == step


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"step": null}', '{"step": "two"}'])
def test_a_damaged_rung_does_not_let_the_run_train_to_its_end(run: RunPaths, text: str) -> None:
    run.root.mkdir()
    run.rung.write_text(text)
    with pytest.raises(RunError, match=r"rung\.json: no .* can be read"):
        sweep_requests.rung(run)


def test_a_reason_is_one_line(run: RunPaths) -> None:
    assert sweep_requests.prune_reason(run) == ""
    sweep_requests.prune(run, "worse than\n the median \n")
    assert sweep_requests.prune_reason(run) == "worse than the median"


@pytest.mark.parametrize("state", [None, *State])
def test_a_start_by_hand_sets_aside_what_a_run_has_left_for(run: RunPaths, state: State | None) -> None:
    """A run that failed before its rung, started again, would outrun its sweep."""
    sweep_requests.set_rung(run, 2)
    sweep_requests.prune(run, "why")
    if state:
        status.write(run.status, Status(state))
    sweep_requests.withdraw(run)
    stays = state not in (State.PAUSED, State.PRUNED)
    assert (run.rung.exists(), run.prune.exists()) == (stays, stays)


def test_a_run_knows_the_folder_of_its_sweep(run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sweep_requests.sweep_folder(run) is None
    monkeypatch.chdir(tmp_path)
    sweep_requests.join_sweep(run, Path("sweeps/lr"))
    assert sweep_requests.sweep_folder(run) is None  # it is not there
    (tmp_path / "sweeps" / "lr").mkdir(parents=True)
    assert sweep_requests.sweep_folder(run) == tmp_path / "sweeps" / "lr"
