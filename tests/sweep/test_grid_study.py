"""Is a plain grid, which has no journal, a study like that of a search?"""

from __future__ import annotations

from pathlib import Path

from tests.sweep.journals import trained
from tunefleet.base import sweeps
from tunefleet.base.status import State
from tunefleet.base.sweeps import SweepPaths, SweepPoint
from tunefleet.sweep import sweep_record
from tunefleet.sweep.study import TrialState


def grid(outputs: Path, *points: tuple[str, ...]) -> SweepPaths:
    """A grid of these points, recorded; its runs are run-0, run-1, ..."""
    recorded = sweeps.sweep([SweepPoint(point, str(outputs / f"run-{i}")) for i, point in enumerate(points)])
    sweeps.write(outputs, recorded)
    return SweepPaths(outputs / "sweeps" / recorded.name)


def test_seeds_are_replicates_and_the_mean_decides(tmp_path: Path) -> None:
    lrs = ("1e-3", "1e-4")
    paths = grid(
        tmp_path, *((f"optimizer.lr={lr}", f"seed={seed}", "train.max_steps=9") for lr in lrs for seed in (1, 2))
    )
    for number, loss in enumerate((0.1, 0.9, 0.3, 0.4)):
        trained(tmp_path / f"run-{number}", 9, loss)
    rows = sweep_record.rows(sweep_record.read(paths))
    assert [(row.rank, dict(row.trial.values), [run.seed for run in row.trial.runs]) for row in rows] == [
        (1, {"optimizer.lr": "1e-4"}, [1, 2]),
        (2, {"optimizer.lr": "1e-3"}, [1, 2]),
    ]
    assert rows[0].score
    assert abs(rows[0].score.means[0] - 0.35) < 1e-9
    assert abs(rows[0].score.spreads[0] - 0.1 / 2**0.5) < 1e-9
    assert rows[0].measured["tokens"] == 1800


def test_states_are_those_of_the_runs(tmp_path: Path) -> None:
    states = (State.FINISHED, State.FAILED, State.CANCELLED, State.INTERRUPTED, None)
    paths = grid(tmp_path, *((f"optimizer.lr={i}",) for i in range(len(states))))
    for number, state in enumerate(states):
        if state:
            trained(tmp_path / f"run-{number}", 9, 0.5, state, reason=state.value)
    record = sweep_record.read(paths)
    assert [trial.state for trial in record.study.trials.values()] == [
        TrialState.FINISHED,
        TrialState.FAILED,
        TrialState.STOPPED,
        TrialState.STOPPED,
        TrialState.DRAWN,
    ]
    assert [trial.reason for trial in record.study.trials.values()][:2] == ["finished", "failed"]


def test_without_an_evaluation_the_training_loss_counts(tmp_path: Path) -> None:
    paths = grid(tmp_path, ("optimizer.lr=1",), ("optimizer.lr=2",))
    for number, loss in enumerate((0.5, 0.4)):
        trained(tmp_path / f"run-{number}", 9, loss, evaluation={})
    record = sweep_record.read(paths)
    assert list(record.objectives) == ["train/loss"]
    assert [row.trial.number for row in sweep_record.rows(record)] == [2, 1]
