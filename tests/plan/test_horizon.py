"""How many steps does a run take, and when does it evaluate and save?"""

from __future__ import annotations

from typing import Any

import pytest

from tunefleet.config import RunConfig, load
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.horizon import Horizon, Pace, horizon
from tunefleet.plan.paths.model_files import Sources
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.batch import Batch
from tunefleet.plan.processes.layout import Layout


def planned(total: int = 8, **settings: Any) -> Plan:
    """A plan whose batch has `total` rows."""
    return Plan(
        name="run",
        run_dir="run",
        identity="",
        config=load(RunConfig, settings),
        layout=Layout(world_size=1, data_parallel=1, processes_here=1, device="cpu"),
        batch=Batch(total, 1, 1),
        sources=Sources(None, "", Architecture({})),
        parameters=None,
        threads=1,
        engine={},
        notes=(),
        version="",
    )


@pytest.mark.parametrize(
    ("rows", "epochs", "total"),
    [
        (80, 1, 10),
        (81, 1, 11),  # the last row is seen too
        (80, 0.5, 5),
        (1, 1, 1),
        (3, 10, 4),  # 30 rows
        (17, 0.5, 2),  # 8.5 rows
        (80, 3, 30),
    ],
)
def test_epochs_round_up(rows: int, epochs: float, total: int) -> None:
    assert horizon(planned(train={"epochs": epochs}), rows).total == total


def test_whole_epochs_that_fill_their_steps_take_not_one_more() -> None:
    wrong = []
    for batch in (3, 6, 7, 10, 48, 100):
        for epochs in (3, 7, 10, 11):
            plan = planned(batch, train={"epochs": epochs})
            rows = [rows for rows in range(1, 300) if horizon(plan, rows).total != -(-epochs * rows // batch)]
            wrong += [(batch, epochs, rows[0])] if rows else []
    assert wrong == []


def test_max_steps_wins_over_epochs() -> None:
    assert horizon(planned(train={"max_steps": 3, "epochs": 100}), 80).total == 3
    assert horizon(planned(train={"max_steps": 1000}), 80).total == 1000


def test_everything_together() -> None:
    plan = planned(
        train={"epochs": 2},
        schedule={"warmup": "10%"},
        evaluation={"every": "0.5 epochs"},
        checkpoint={"every": 7},
    )
    paces = {"evaluate_every": Pace(5), "save_every": Pace(7), "check_replicas": Pace(500)}
    expected = Horizon(total=20, warmup=2, steps_per_epoch=10.0, decay=2, **paces)
    assert horizon(plan, 80) == expected


def test_warmup_is_never_longer_than_the_run() -> None:
    assert horizon(planned(train={"max_steps": 5}, schedule={"warmup": 100}), 80).warmup == 5


def test_null_is_never() -> None:
    for never in (None, 0):
        found = horizon(planned(evaluation={"every": never}, checkpoint={"every": never}), 80)
        assert (found.evaluate_every, found.save_every) == (Pace(), Pace())


def test_what_nobody_set() -> None:
    """A checkpoint each half hour; five evaluations, or one an epoch where that comes first; every step recorded."""
    short, long = horizon(planned(), 80), horizon(planned(train={"epochs": 10}), 80)
    assert short.save_every == Pace(seconds=1800)
    assert (short.evaluate_every, short.log_every) == (Pace(2), Pace(1))  # of 10 steps
    assert long.evaluate_every == Pace(10)  # of 100: 20 % are two epochs


def test_a_run_of_a_few_steps_is_measured_at_the_end_alone_unless_it_was_asked_for() -> None:
    paces = [horizon(planned(train={"max_steps": steps}), 80).evaluate_every for steps in (1, 4, 5)]
    assert paces == [Pace(), Pace(), Pace(1)]
    assert horizon(planned(train={"max_steps": 3}, evaluation={"every": "20%"}), 80).evaluate_every == Pace(1)


def test_whichever_comes_first() -> None:
    plan = planned(evaluation={"every": "50% or 30 or 1 epoch or 90s or 2h"}, tracking={"log_every": "10%"})
    assert horizon(plan, 80).evaluate_every == Pace(5, 90)
    assert horizon(plan, 8000).evaluate_every == Pace(30, 90)
    assert horizon(plan, 8000).log_every == Pace(100)


def test_a_cadence_below_one_step_is_every_step() -> None:
    assert horizon(planned(evaluation={"every": "1%"}), 80).evaluate_every == Pace(1)
