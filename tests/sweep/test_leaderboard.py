"""Are trials ranked by what counts, and are columns what they say?"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.sweep.journals import MEASURED, SweepWriter
from tunefleet.base.errors import ConfigError
from tunefleet.config.sweep import Direction
from tunefleet.sweep import leaderboard, leaderboard_columns, leaderboard_formats, sweep_record
from tunefleet.sweep.leaderboard import Live
from tunefleet.sweep.objective import evaluated, measured, pareto_front
from tunefleet.sweep.study import Score, Study, fold

MIN = {"validation/loss": Direction.MIN}
TWO = {"validation/loss": Direction.MIN, "train/tokens_per_second": Direction.MAX}


@pytest.fixture
def sweep(tmp_path: Path) -> SweepWriter:
    return SweepWriter(tmp_path / "outputs")


def study_of(sweep: SweepWriter) -> Study:
    return fold(sweep.journal.events)


# Order


def test_finished_trials_are_ranked_and_the_others_follow_by_how_far_they_got(sweep: SweepWriter) -> None:
    sweep.finished({"optimizer.lr": "1e-3"}, 0.5)
    sweep.finished({"optimizer.lr": "1e-4"}, 0.4)
    failed, running, first, second = (sweep.drawn({"optimizer.lr": f"{i}e-5"}) for i in range(4))
    sweep.ended(failed, "failed", "out of memory")
    sweep.started(running)
    for number, rungs in ((first, 1), (second, 2)):
        for rung in range(rungs):
            sweep.add("rung", trial=number, rung=rung, means=[0.1], spreads=[0.0], measured=MEASURED)
    rows = leaderboard.rows(study_of(sweep), MIN)
    assert [(row.rank, row.trial.number) for row in rows] == [
        (1, 2),
        (2, 1),
        (None, second),
        (None, first),
        (None, running),
        (None, failed),
    ]


def test_the_best_by_its_mean_wins_and_not_a_lucky_seed(sweep: SweepWriter) -> None:
    """Trial 1 has the best single run of all, 0.1, and trial 2 the better mean."""
    sweep.finished({"optimizer.lr": "1e-3"}, (0.1 + 0.9) / 2, spreads=[0.57], seeds=[1, 2])
    sweep.finished({"optimizer.lr": "1e-4"}, (0.3 + 0.32) / 2, spreads=[0.014], seeds=[1, 2])
    best = leaderboard.winner(study_of(sweep), MIN)
    assert best
    assert best.trial.number == 2
    assert leaderboard_columns.with_spread(0.31, leaderboard_columns.spread_of(best, 0)) == "0.3100±0.014"


def test_a_result_that_is_no_number_is_never_the_best(sweep: SweepWriter) -> None:
    sweep.finished({"optimizer.lr": "1"}, float("nan"))
    assert leaderboard.winner(study_of(sweep), MIN) is None
    sweep.finished({"optimizer.lr": "2"}, 7.0)
    best = leaderboard.winner(study_of(sweep), MIN)
    assert best
    assert best.trial.number == 2


def test_of_several_objectives_the_front_comes_first_and_is_marked(sweep: SweepWriter) -> None:
    for loss, speed in ((0.5, 900.0), (0.6, 800.0), (0.4, 100.0), (0.7, 950.0)):
        sweep.finished({"model": str(loss)}, loss, speed)
    rows = leaderboard.rows(study_of(sweep), TWO)
    assert [(row.trial.number, row.on_front) for row in rows] == [(3, True), (1, True), (4, True), (2, False)]
    assert sweep_record_table(rows, TWO)[1:4] == [["1*", "3"], ["2*", "1"], ["3*", "4"]]


def sweep_record_table(rows: list[leaderboard.Row], objectives: dict[str, Direction]) -> list[list[str]]:
    columns = leaderboard_columns.columns(objectives, [], "GPU-hours")
    return [line.split()[:2] for line in leaderboard_formats.table(rows, columns[:2], None).splitlines()]


def test_a_front_is_what_comparing_every_pair_gives() -> None:
    draw = random.Random(0)
    for size in (1, 2, 30):
        points = [(draw.randrange(5), draw.randrange(5), draw.randrange(5)) for _ in range(size)]

        def beaten(point: tuple[int, ...], points: list[tuple[int, int, int]] = points) -> bool:
            return any(all(x <= y for x, y in zip(p, point, strict=True)) and p != point for p in points)

        assert pareto_front(points) == {i for i, point in enumerate(points) if not beaten(point)}


def test_a_running_trial_shows_what_it_measured_so_far(sweep: SweepWriter) -> None:
    number = sweep.drawn({"optimizer.lr": "1e-3"})
    sweep.started(number)
    live = {number: Live({"steps": 7}, Score((0.25,), (0.0,)))}
    (row,) = leaderboard.rows(study_of(sweep), MIN, live)
    assert (row.rank, row.measured["steps"], leaderboard_columns.mean_of(row, 0)) == (None, 7, 0.25)


# Objectives


def test_an_objective_is_the_last_evaluation_and_of_training_the_median_of_the_last_fifth() -> None:
    records = [{"step": step, "train/loss": float(step), "evaluation/validation/loss": step / 10} for step in range(20)]
    assert measured(records, "validation/loss") == measured(records, "evaluation/validation/loss") == 1.9
    assert measured([*records, {"step": 20, "train/loss": 99.0}], "train/loss") == 18.0
    assert measured(records, "unseen/loss") is None


def test_a_name_alone_is_that_of_the_first_validation_split() -> None:
    record = {"step": 9, "train/loss": 0.1, "evaluation/seen/loss": 2.0, "evaluation/unseen/loss": 3.0}
    assert measured([record], "loss") == 2.0
    assert evaluated({"seen/loss": 2.0, "unseen/loss": 3.0}, "loss") == 2.0
    assert measured([{"step": 9, "train/loss": 0.1}], "loss") is None, "the training loss is no evaluation"
    assert evaluated({"seen/loss": 2.0}, "train/tokens_per_second") is None


# Columns


def test_only_settings_that_differ_have_a_column_by_the_letters_that_tell_them_apart(sweep: SweepWriter) -> None:
    for lr, rank in (("1e-3", "4"), ("1e-4", "8")):
        values = {"optimizer.lr": lr, "adapter.lr": rank, "adapter.rank": rank, "adapter.alpha": f"{rank}0"}
        sweep.finished({**values, "train.max_steps": "90"}, 1.0)
    columns = leaderboard_columns.columns(MIN, leaderboard.differing_keys(study_of(sweep)), "GPU-hours")
    heads = [column.head for column in columns]
    assert {"optimizer.lr", "adapter.lr", "alpha", "adapter.rank"} <= set(heads)  # rank is a column of its own
    assert "max_steps" not in heads


def test_a_column_that_is_not_there_is_named_with_the_nearest(sweep: SweepWriter) -> None:
    columns = leaderboard_columns.columns(MIN, ["optimizer.lr"], "GPU-hours")
    assert [column.name for column in leaderboard_columns.select(columns, ["lr", "gpu_hours"])] == [
        "optimizer.lr",
        "gpu_hours",
    ]
    with pytest.raises(ConfigError) as error:
        leaderboard_columns.select(columns, ["token_per_second", "lr", "optimiser.lr"])
    assert "token_per_second: no column of that name. Did you mean 'tokens_per_second'?" in error.value.complaints[0]
    assert "'optimizer.lr'" in error.value.complaints[1]


def test_settings_are_sorted_as_numbers_and_what_is_better_comes_first(sweep: SweepWriter) -> None:
    for lr, loss in (("1e-2", 0.3), ("9e-4", 0.2), ("0.1", 0.1), ("cosine", 0.5)):
        sweep.finished({"optimizer.lr": lr}, loss, 1 / loss)
    sweep.drawn({})
    rows = leaderboard.rows(study_of(sweep), TWO)
    columns = leaderboard_columns.columns(TWO, ["optimizer.lr"], "GPU-hours")

    def order(name: str) -> list[int]:
        sorted_rows = leaderboard_columns.sort(rows, leaderboard_columns.select(columns, [name])[0])
        return [row.trial.number for row in sorted_rows]

    assert order("lr") == [2, 1, 3, 4, 5]
    assert order("train/tokens_per_second") == order("validation/loss") == [3, 2, 1, 4, 5]
    assert order("trial") == [1, 2, 3, 4, 5]


def test_a_pruned_trial_says_at_which_rung(sweep: SweepWriter) -> None:
    number = sweep.drawn({})
    sweep.started(number, rung=1)
    sweep.add("rung", trial=number, rung=1, means=[0.1], spreads=[0.0], measured=MEASURED)
    sweep.ended(number, "pruned", "not in the best third")
    (row,) = leaderboard.rows(study_of(sweep), MIN)
    assert leaderboard_columns.state(row) == "pruned at rung 1"


# Records


def test_a_sweep_of_ten_thousand_trials_reads_only_the_journal(
    sweep: SweepWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep.finished({"optimizer.lr": "1e-3"}, 0.5)
    monkeypatch.setattr(sweep_record.StatusReader, "status", None)  # calling it would fail
    record = sweep_record.read(sweep.paths)
    assert [row.rank for row in sweep_record.rows(record)] == [1]
    sweep.started(sweep.drawn({}))
    with pytest.raises(TypeError):
        sweep_record.read(sweep.paths)
