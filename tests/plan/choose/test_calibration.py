"""Does the planner learn from finished runs, and does no identity change by it?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base import status
from tunefleet.base.errors import ConfigError
from tunefleet.base.status import State, Status
from tunefleet.plan.choose.calibration import FILE, calibrate
from tunefleet.plan.choose.fit_check import expected_forecast
from tunefleet.plan.plan import Expected, Plan
from tunefleet.plan.processes.machine import Machine

MACHINE = Machine(gpus=0, cores=2)


def finished(plan: Plan, name: str, memory: float, speed: float, state: State = State.FINISHED, steps: int = 4) -> None:
    """A run whose forecast is 2 GiB and 100 tokens/s, and whose steps measured so many times as much."""
    run = replace(plan, name=name, run_dir=str(Path(plan.run_dir).parent / name), expected=Expected(2.0, 100.0))
    Path(run.run_dir).mkdir(parents=True)
    run.save()
    status.write(run.paths.status, Status(state))
    step = {"memory/peak_gib": 2.0 * memory, "train/tokens_per_second": 100.0 * speed}
    records = [{**step, "step": number} for number in range(steps)] + [{"evaluation/loss": 1.0}]
    run.paths.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return tiny_plan(tmp_path)


def test_factors_are_medians_with_their_spread(plan: Plan) -> None:
    folder = Path(plan.run_dir).parent
    for name, memory, speed in (("a", 1.2, 0.5), ("b", 1.5, 0.6), ("c", 1.1, 0.9)):
        finished(plan, name, memory, speed)
    finished(plan, "failed", 9.0, 9.0, state=State.FAILED)
    finished(plan, "short", 9.0, 9.0, steps=2)
    spreads = calibrate(folder)["CPUs"]
    assert spreads["memory"].text == "x 1.20 (1.10 to 1.50 in 3 runs)"
    assert spreads["speed"].text == "x 0.60 (0.50 to 0.90 in 3 runs)"
    assert json.loads((folder / FILE).read_text())["CPUs"]["memory"]["median"] == 1.2


def test_later_forecasts_use_it_and_name_it(plan: Plan) -> None:
    folder = Path(plan.run_dir).parent
    before = expected_forecast(plan, MACHINE)
    finished(plan, "a", 1.5, 0.5)
    calibrate(folder)
    after = expected_forecast(plan, MACHINE)
    assert before is not None
    assert after is not None
    assert before.factors.note == ""
    assert after.host_need == pytest.approx(1.5 * before.host_need)
    assert after.factors.note == (
        f"calibrated by {folder / FILE}: memory x 1.50 (1.50 to 1.50 in 1 run), "
        "speed x 0.50 (0.50 to 0.50 in 1 run). Without it: remove that file"
    )
    assert after.memory == before.memory
    (folder / FILE).unlink()
    assert expected_forecast(plan, MACHINE) == before


def test_a_run_keeps_its_identity_and_what_it_is_compared_with(plan: Plan, tmp_path: Path) -> None:
    finished(plan, "a", 1.5, 0.5)
    calibrate(Path(plan.run_dir).parent)
    again = tiny_plan(tmp_path)
    assert (again.identity, again.trajectory, again.expected) == (plan.identity, plan.trajectory, plan.expected)


def test_without_a_finished_run_there_is_one_error(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no finished run of 3 steps or more with a forecast"):
        calibrate(tmp_path / "empty")


@pytest.mark.parametrize("text", ["{", "[]", '{"CPUs": {"memory": {"median": "much"}}}', '{"CPUs": 3}'])
def test_another_file_of_that_name_is_refused(plan: Plan, text: str) -> None:
    folder = Path(plan.run_dir).parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(text)
    with pytest.raises(ConfigError, match=r"calibration\.json: cannot be read"):
        expected_forecast(plan, MACHINE)
