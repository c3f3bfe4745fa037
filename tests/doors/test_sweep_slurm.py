"""Does a search lose no trial to a SLURM that refuses its jobs?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doors.test_submit import fake
from tests.doors.test_sweep_open import FILE
from tests.launch.fakes import FakeSlurm
from tunefleet.base.sweeps import SweepPaths
from tunefleet.doors import cli, train
from tunefleet.launch.slurm import Earlier
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.study import TrialState, fold

__all__ = ["fake"]
SEARCH = ["-m", "sweeps=own", "sweep.name=own", "launch=slurm", "launch.gpus_per_node=1"]


def command(act: Callable[[list[str]], None], words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        act(words)
    return int(str(ended.value.code or 0))


def states(folder: Path) -> set[TrialState]:
    journal = Journal.read(SweepPaths(folder / "outputs" / "sweeps" / "own").journal)
    return {trial.state for trial in fold(journal.events).trials.values()}


def search(folder: Path, *words: str) -> int:
    (folder / "conf" / "sweeps").mkdir(parents=True, exist_ok=True)
    (folder / "conf" / "sweeps" / "own.yaml").write_text(FILE)
    return command(train.main, [*SEARCH, *words])


def test_a_refused_job_leaves_its_trials_waiting(
    fake: FakeSlurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.does("sbatch", "echo 'sbatch: error: Invalid account' >&2; exit 1")
    assert search(tmp_path) == 2
    error = capsys.readouterr().err
    assert "sbatch refused the job: Invalid account. 6 runs wait, and none has failed." in error
    assert "tunefleet sweep advance own" in error
    assert states(tmp_path) == {TrialState.RUNNING}
    command(cli.main, ["sweep", "status", "own"])
    assert "6 runs begin" in capsys.readouterr().out
    fake.does("sbatch", "echo Submitted batch job 41")
    assert command(cli.main, ["sweep", "advance", "own"]) == 0
    assert "submitted  job 41, an array of 6 runs" in capsys.readouterr().out


def test_control_trials_that_are_not_put_back_have_failed(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Earlier, "restore", lambda earlier: None)
    fake.does("sbatch", "echo 'sbatch: error: Invalid account' >&2; exit 1")
    assert search(tmp_path) == 2
    assert command(cli.main, ["sweep", "advance", "own"]) != 2
    assert states(tmp_path) == {TrialState.FAILED}
