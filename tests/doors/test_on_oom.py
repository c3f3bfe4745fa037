"""When memory runs out in one rank: do all stop with one message, and does `split` go on with the same steps?"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.base import status
from tunefleet.base.status import State
from tunefleet.config.train import OnOom
from tunefleet.doors.compose import from_overrides
from tunefleet.doors.start import start
from tunefleet.launch import local
from tunefleet.plan import Machine, Plan, make
from tunefleet.plan.choose import on_oom
from tunefleet.tracking import metrics

CPU = Machine(gpus=0, cores=2)
OVERRIDES = ("train.sequence_length=32", "train.micro_batch=8", "train.max_steps=6", "parallel=zero1", "tracking=files")
SHORT = (
    "evaluation.max_rows=2",
    "evaluation.generate_rows=0",
    "checkpoint.export=false",
    "tracking.log_every=1",
    "evaluation.every=0",
)


def planned(folder: Path, *arguments: str) -> Plan:
    rows = (f"output_dir={folder}", "data.cache=" + str(folder / "cache"), "schedule.warmup=0", "name=" + arguments[0])
    return make(from_overrides([*OVERRIDES, *SHORT, *rows, *arguments[1:]]), CPU)


def losses(plan: Plan) -> list[float]:
    return [record["train/loss"] for record in metrics.read(plan.paths.metrics) if "train/loss" in record]


@pytest.mark.parametrize(
    "parallel",
    ["zero1", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("zero3", "pipeline"))],
)
def test_one_rank_without_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], parallel: str
) -> None:
    """A run in one process that has room, and one in two that splits in its third step and follows the first."""
    roomy = planned(tmp_path, "roomy", "launch.processes=1", "train.global_batch=16", "checkpoint.at_end=false")
    assert start(roomy, CPU) == 0
    monkeypatch.setattr(local, "attempt", partial(local.attempt, module="tests.doors.rank_without_memory"))
    capfd.readouterr()

    typed = ("launch.processes=2", f"parallel={parallel}", "train.global_batch=16", "checkpoint.every=1")
    going_on = planned(tmp_path, "going-on", *typed, "train.on_oom=split")
    assert start(going_on, CPU) == 0
    heard = capfd.readouterr()
    accumulation, data_parallel = going_on.batch.accumulation, going_on.layout.data_parallel
    shape = f"16 sequences = 8 micro x {accumulation} accumulation x {data_parallel} data-parallel"
    assert f"rank 1 of 2 failed: out of memory with {shape}" in heard.err
    assert "GiB were expected. CUDA out of memory. Tried to allocate 2.00 GiB." in heard.err
    assert "Next: it resumes with train.micro_batch=4" in heard.err
    assert "note: memory ran out with train.micro_batch=8: resuming with 4" in heard.out
    assert "resuming from step 2" in heard.out
    saved = Plan.read(going_on.paths.root)
    assert (saved.batch.micro, saved.batch.accumulation, saved.batch.total) == (4, 2 * accumulation, 16)
    assert saved.identity == going_on.identity
    run_status = status.read(going_on.paths.status)
    assert run_status is not None
    assert run_status.state is State.FINISHED
    assert losses(going_on) == pytest.approx(losses(roomy), rel=1e-5)
    assert len(losses(roomy)) == 6


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return tiny_plan(tmp_path, micro_batch=8, global_batch=16)


def splitting(plan: Plan, **changes: Any) -> Plan:
    config = replace(plan.config, train=replace(plan.config.train, on_oom=OnOom.SPLIT))
    return replace(plan, config=config, **changes)


def test_half_the_rows_twice_as_often(plan: Plan) -> None:
    half = on_oom.halved(plan)
    assert half is not None
    assert (half.batch.micro, half.batch.accumulation, half.batch.total) == (4, 4, 16)
    assert half.engine["train_micro_batch_size_per_gpu"] == 4
    assert half.engine["gradient_accumulation_steps"] == 4
    assert half.engine | plan.engine == plan.engine
    assert half.identity == plan.identity


def test_gradients_of_halves_are_added_in_fp32(tmp_path: Path) -> None:
    """One micro-batch keeps them in bf16; two of them would be rounded once more."""
    parallel = {"name": "zero2", "zero_stage": 2}
    whole = tiny_plan(tmp_path, micro_batch=8, global_batch=8, precision="bf16", parallel=parallel)
    half = on_oom.halved(whole)
    assert half is not None
    assert [plan.engine["data_types"]["grad_accum_dtype"] for plan in (whole, half)] == ["bf16", "fp32"]


@pytest.mark.parametrize(("rows", "fewer"), [(2, 1), (3, 1), (9, 3), (6, 3), (15, 5)])
def test_an_odd_number_of_rows_is_divided_by_what_divides_it(tmp_path: Path, rows: int, fewer: int) -> None:
    half = on_oom.halved(tiny_plan(tmp_path, micro_batch=rows))
    assert half is not None
    assert (half.batch.micro, half.batch.micro * half.batch.accumulation) == (fewer, rows)


def test_one_row_is_the_least(tmp_path: Path) -> None:
    assert on_oom.halved(tiny_plan(tmp_path, micro_batch=1)) is None


@pytest.mark.parametrize("parallel", ["ddp", "zero2", "zero3", "tensor", "tensor_zero2", "pipeline", "sequence"])
def test_it_is_the_plan_of_smaller_micro_batches_under_every_strategy(tmp_path: Path, parallel: str) -> None:
    """Engine, layout and identity as if they had been typed, also where ranks compute together."""
    typed = ("launch.processes=2", f"parallel={parallel}", "train.global_batch=16")
    half = on_oom.halved(planned(tmp_path, "one", *typed))
    smaller = planned(tmp_path, "one", *typed, "train.micro_batch=4")
    assert half is not None
    assert (half.engine, half.batch, half.layout) == (smaller.engine, smaller.batch, smaller.layout)
    assert half.identity == smaller.identity


def test_it_is_not_split_unasked(plan: Plan) -> None:
    assert on_oom.split(plan) is None
    assert on_oom.split(splitting(plan)) is not None


def test_the_next_start_takes_what_the_last_one_came_down_to(plan: Plan) -> None:
    split_plan = splitting(plan)
    smaller = on_oom.split(split_plan)
    assert smaller is not None
    assert on_oom.as_before(split_plan, smaller).batch == smaller.batch
    assert on_oom.as_before(plan, smaller) is plan
    assert on_oom.as_before(split_plan, replace(smaller, identity="another")) is split_plan
    assert on_oom.as_before(split_plan, split_plan) is split_plan


def test_how_memory_is_answered_is_no_part_of_a_run_s_identity(tmp_path: Path) -> None:
    assert tiny_plan(tmp_path).identity == tiny_plan(tmp_path, on_oom="split").identity


@pytest.mark.parametrize(
    ("settings", "ranks", "stage", "expected"),
    [
        ({"micro_batch": 6}, 1, 0, "train.micro_batch=3 train.global_batch=6, or train.on_oom=split"),
        ({"micro_batch": 9}, 1, 0, "train.micro_batch=3 train.global_batch=9, or train.on_oom=split"),
        ({"micro_batch": 1}, 1, 0, "train.gradient_checkpointing=true"),
        ({"micro_batch": 1, "gradient_checkpointing": True}, 2, 1, "parallel=zero2"),
        ({"micro_batch": 1, "gradient_checkpointing": True}, 2, 3, "a shorter train.sequence_length, or more GPUs"),
    ],
)
def test_the_next_setting(tmp_path: Path, settings: dict[str, Any], ranks: int, stage: int, expected: str) -> None:
    plan = tiny_plan(tmp_path, ranks=ranks, stage=stage, **settings)
    assert on_oom.next_setting(plan).startswith(expected)
