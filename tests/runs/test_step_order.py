"""Is it written down how each step was taken, when a run goes back, resumes, or changes its processes?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base.errors import RunError
from tunefleet.contracts import RunState
from tunefleet.plan import Plan
from tunefleet.plan.processes.batch import Batch
from tunefleet.runs import step_order, step_rows


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Of two ranks, eight sequences a step."""
    return tiny_plan(tmp_path, ranks=2)


def by_one(plan: Plan) -> Plan:
    return replace(plan, batch=Batch(8, 1, 1), layout=replace(plan.layout, world_size=1, data_parallel=1))


def taken(plan: Plan, steps: int) -> list[tuple[int, int]]:
    """(processes, position) of each step."""
    order = step_order.read(plan)
    stretches = [order.of_step(step) for step in range(1, steps + 1)]
    return [
        (stretch.layout.world_size, step_rows.position_of(step, 8, stretch.left_out))
        for step, stretch in enumerate(stretches, 1)
        if stretch
    ]


def test_steps_before_another_start_keep_their_processes(plan: Plan) -> None:
    step_order.begin(plan, RunState())
    step_order.begin(by_one(plan), RunState(2, 16))
    assert taken(plan, 4) == [(2, 0), (2, 8), (1, 16), (1, 24)]


def test_steps_that_come_again_are_those_of_the_last_time(plan: Plan) -> None:
    step_order.begin(plan, RunState())
    step_order.begin(plan, RunState(1, 8, left_out=(16,)))  # it went back
    assert taken(plan, 4) == [(2, 0), (2, 8), (2, 24), (2, 32)]
    step_order.begin(by_one(plan), RunState(1, 8))  # killed before it was saved, and not refused this time
    assert taken(plan, 4) == [(2, 0), (1, 8), (1, 16), (1, 24)]
    step_order.begin(by_one(plan), RunState())
    assert taken(plan, 2) == [(1, 0), (1, 8)]


def test_a_hundred_starts_of_the_same_processes_are_one_stretch(plan: Plan) -> None:
    for step in range(100):
        step_order.begin(plan, RunState(step, 8 * step))
    assert len(step_order.read(plan).stretches) == 1


def test_nothing_is_known_of_a_run_that_never_started(plan: Plan) -> None:
    assert step_order.read(plan).of_step(1) is None


@pytest.mark.parametrize("damaged", ["", "[]", "{", '{"stretches": [{"after": 0}]}', '{"stretches": 3}', "[" * 9999])
def test_a_damaged_record_is_one_line_and_stops_no_run(plan: Plan, damaged: str) -> None:
    plan.paths.root.mkdir(parents=True)
    plan.paths.order.write_text(damaged)
    with pytest.raises(RunError, match=r"order\.json: cannot be read \(.*\), so nobody knows") as error:
        step_order.read(plan)
    assert "\n" not in str(error.value)
    step_order.begin(plan, RunState(2, 16))
    assert step_order.read(plan).of_step(2) is None
    assert json.loads(plan.paths.order.read_text())["stretches"][0]["after"] == 2
