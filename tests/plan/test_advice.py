"""Does what is advised fit, come best first, and keep the rows of a step?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.plan.test_make import planned
from tests.plan.test_memory import OPT, published
from tunefleet.base.errors import ConfigError
from tunefleet.plan import Machine, Plan, guard
from tunefleet.plan.advice import STRATEGIES, Advice, advice
from tunefleet.plan.forecast import Forecast, forecast
from tunefleet.plan.hardware import cluster
from tunefleet.plan.spread import Spread
from tunefleet.plan.work import Work

__all__ = ["planned"]  # the fixture
CONF = Path(__file__).parents[2] / "conf" / "parallel"
GPUS = Machine(gpus=8, cores=8)


def tried(spread: Spread, machine: str = "8xH100-80G", **work: Any) -> Forecast:
    task = Work(**{"rows": 8, "length": 2048, "packed": True, **work})
    return forecast(published("llama-3.1-8b"), spread, task, cluster(machine), True, spread.world_size)


def advised(now: Forecast) -> Sequence[Advice]:
    return advice(published("llama-3.1-8b"), now)


def test_what_is_advised_fits_and_the_fastest_comes_first() -> None:
    now = tried(Spread(0, 8))
    others = advised(now)
    assert not now.fits
    assert others
    assert all(one.forecast.fits for one in others)
    seconds = [one.forecast.speed.seconds for one in others]
    assert seconds == sorted(seconds, key=lambda value: value or 0)


def test_the_rows_of_a_step_stay() -> None:
    for one in advised(tried(Spread(0, 8), accumulation=2)):
        work = one.forecast.work
        assert work.rows * work.accumulation == 16
        assert ("train.global_batch=128" in one.words) == (work.rows != 8)


def test_every_advised_strategy_has_a_file() -> None:
    assert {one.name for one in STRATEGIES} <= {path.stem for path in CONF.glob("*.yaml")}


def test_nothing_fits_a_machine_that_is_far_too_small() -> None:
    assert not advised(tried(Spread(3, 1), "1xT4-16G"))


def test_degrees_are_left_as_they_are() -> None:
    others = advised(tried(Spread(1, 4, tensor=2)))
    assert all(one.forecast.spread.tensor == 2 for one in others)
    assert not any(word.startswith("parallel=") for one in others for word in one.words)


# Guards

Planned = Callable[..., Plan]
LARGE = {"model": {"architecture": published("opt-6.7b")}, "train": {"sequence_length": 2048}}
ON_A100 = {"plan": {"machine": "8xA100-40G"}}


def test_a_run_that_cannot_fit_is_refused_with_what_would(planned: Planned) -> None:
    plan = planned(GPUS, **LARGE, **ON_A100)
    with pytest.raises(ConfigError) as caught:
        guard.expect_fit(plan, GPUS)
    said = str(caught.value)
    assert said.startswith("memory: tiny does not fit 8xA100-40G: each GPU needs ")
    assert " GiB and has 39.4" in said
    assert "These fit, best first: parallel=zero" in said
    assert "plan.force=true" in said


def test_force_starts_it_anyway(planned: Planned) -> None:
    guard.expect_fit(planned(GPUS, **LARGE, plan={"machine": "8xA100-40G", "force": True}), GPUS)


def test_what_fits_is_let_through(planned: Planned) -> None:
    guard.expect_fit(planned(GPUS, **ON_A100), GPUS)
    guard.expect_fit(planned(), Machine(gpus=0, cores=8))


def test_what_nobody_knows_is_let_through(planned: Planned) -> None:
    """A job of SLURM on machines that nobody has named; a family that cannot be counted."""
    job = {"launch": {"name": "slurm", "gpus_per_node": 8, "time": "1h"}}
    guard.expect_fit(planned(**LARGE, **job), Machine())
    shape = {"model_type": "rwkv", "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2}
    guard.expect_fit(planned(model={"architecture": shape}, data={"packing": False}), Machine(gpus=0, cores=8))


def test_a_job_on_named_machines_is_refused(planned: Planned) -> None:
    plan = planned(**LARGE, **ON_A100, launch={"name": "slurm", "gpus_per_node": 8, "time": "1h"})
    with pytest.raises(ConfigError, match="does not fit 8xA100-40G"):
        guard.expect_fit(plan, Machine())


# auto


def auto(planned: Planned, shape: dict[str, Any] = OPT, machine: str = "8xA100-40G", **train: Any) -> Plan:
    model = {"architecture": shape}
    settings = {"sequence_length": 16, **train}
    return planned(GPUS, model=model, parallel={"name": "auto"}, plan={"machine": machine}, train=settings)


def test_auto_takes_the_simplest_strategy_that_fits(planned: Planned) -> None:
    small, large = auto(planned), auto(planned, published("opt-6.7b"), sequence_length=128)
    assert (small.config.parallel.name, small.config.parallel.zero_stage) == ("ddp", 0)
    assert large.config.parallel.name in ("zero1", "zero2")
    assert large.notes[0].startswith(f"parallel=auto chose parallel={large.config.parallel.name}")


def test_auto_is_the_run_that_it_chooses(planned: Planned) -> None:
    assert auto(planned).identity == planned(GPUS, model={"architecture": OPT}, train={"sequence_length": 16}).identity


def test_the_largest_micro_batch_at_the_same_global_batch(planned: Planned) -> None:
    small = auto(planned, micro_batch="auto", global_batch=64)
    assert (small.batch.micro, small.batch.accumulation, small.batch.total) == (8, 1, 64)
    shape = published("opt-1.3b")
    large = auto(planned, shape, "8xT4-16G", micro_batch="auto", global_batch=512, sequence_length=1024)
    assert 1 <= large.batch.micro < 64
    assert large.batch.total == 512
    assert f"train.micro_batch={large.batch.micro}" in large.notes[0]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"train": {"micro_batch": "auto"}}, "train.micro_batch: auto keeps the global batch, so it needs one"),
        ({"train": {"micro_batch": "auto", "global_batch": 12}}, "12 is not a multiple of data-parallel.8.. Use 16"),
        ({"parallel": {"name": "auto"}, "plan": {}}, "nobody knows the memory of this. Say it with plan.machine="),
        (
            {"parallel": {"name": "auto"}, "model": {"architecture": published("opt-66b")}},
            "parallel=auto: nothing fits",
        ),
        ({"parallel": {"name": "auto"}, "plan": {"machine": "9000"}}, "plan.machine: '9000' is not a machine"),
    ],
)
def test_what_auto_cannot_decide(planned: Planned, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        planned(GPUS, **{**ON_A100, **changes})
