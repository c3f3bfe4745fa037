"""What ranks do in the tests of fp16: gradients that overflow at any loss scale, beside a loss that is NaN.

DeepSpeed refuses ZeRO's fp16 on a CPU whose kernels lack it; torch computes it all the same, so it is told to go on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator

from tests.faults import poisoned_runs
from tests.faults.non_finite import FAULTY_RANK, built, infinite_gradient, nan_logits, same, sampled, spoiled
from tests.plans import tiny_plan
from tests.runs import training
from tunefleet.config.train import Precision
from tunefleet.contracts import MicroBatch, StepResult, UpdateRule
from tunefleet.engine.group import ProcessGroup, join
from tunefleet.engine.zero import ZeroEngine
from tunefleet.libraries import deepspeed_private
from tunefleet.plan.deepspeed.config import engine_config
from tunefleet.plan.plan import Plan
from tunefleet.runs.trajectory import batches

CASES: dict[str, dict[str, Any]] = {"zero2": {"stage": 2}}
"""What every test run tries."""
MORE_CASES: dict[str, dict[str, Any]] = {
    "ddp": {"stage": 0},
    "zero1": {"stage": 1},
    "zero2 offload": {"stage": 2, "parallel": {"zero_stage": 2, "offload_optimizer": "cpu"}},
    "zero3": {"stage": 3},
    "zero3 offload": {"stage": 3, "parallel": {"zero_stage": 3, "offload_optimizer": "cpu"}},
    "pipeline": {"stage": 1, "parallel": {"zero_stage": 1, "pipeline": 2}},
    "tensor": {"stage": 1, "parallel": {"zero_stage": 1, "tensor": 2}},
}
"""The other ways to hold fp16 weights."""
SCALE = 4.0  # from which three overflows lead to the least, 1: the first of them only uses up DeepSpeed's patience


def in_fp16(plan: Plan) -> Plan:
    """The plan in ZeRO's fp16, which is refused for a CPU."""
    train = replace(plan.config.train, precision=Precision.FP16)
    config = replace(plan.config, train=train)
    return replace(plan, config=config, engine=engine_config(config.parallel, train, plan.batch, plan.layout))


def planned(folder: Path, case: str, ranks: int) -> Plan:
    """The plan of a case, which is one of bf16 up to DeepSpeed's own dtype."""
    settings = {"micro_batch": 1, "global_batch": 4, "schedule": {"name": "constant"}, **{**CASES, **MORE_CASES}[case]}
    return in_fp16(tiny_plan(folder, ranks=ranks, precision="bf16", **settings))


def searched(folder: Path, cases: list[str]) -> dict[str, Any]:
    """By case what this rank saw of three NaN losses and six infinite gradients, from a loss scale of `SCALE` on.

    `resumed` is whether a good step afterwards leads to the weights of a run that had none of them.
    """
    torch.set_num_threads(1)
    group, outcomes = join(), {}
    with fp16_allowed():
        for case in cases:
            plan = planned(folder, case, group.size)
            outcomes[case] = _outcome(plan, group)
    group.destroy()
    return outcomes


def fp16_allowed() -> Any:
    """Within it DeepSpeed computes with fp16 on a CPU."""
    return patch.object(type(get_accelerator()), "is_fp16_supported", lambda accelerator: True)


def ended(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """How a run ended whose loss scale was the least when a gradient of its second step overflowed."""
    typed = [*poisoned_runs.shared_inputs(folder), *overrides]
    plan = in_fp16(training.planned(folder, "name=run", *typed, "train.precision=bf16"))
    plan.save()
    fired: list[str] = []

    def train_step(engine: ZeroEngine, micro_batches: Sequence[MicroBatch], rule: UpdateRule) -> StepResult:
        fired.append("step")
        if len(fired) < 2:
            return _train_step(engine, micro_batches, rule)
        deepspeed_private.set_loss_scale(inner[0], 1.0)
        with spoiled(engine, infinite_gradient, os.environ["RANK"] == str(FAULTY_RANK), fired):
            return _train_step(engine, micro_batches, rule)

    with fp16_allowed(), remembered() as inner, patch.object(ZeroEngine, "train_step", train_step):
        return {**poisoned_runs.trained(plan), "fired": fired}


def _outcome(plan: Plan, group: ProcessGroup) -> dict[str, Any]:
    ordered = batches(plan, group.rank)
    first, second, last = (ordered.take(plan.batch.accumulation) for _ in range(3))
    expected = _of_good_steps(plan, group, [first, last])
    engine, inner = _begun(plan, group)
    assert not engine.train_step(first).skipped
    seen: dict[str, Any] = {"nan": _spoiled_steps(engine, inner, group, nan_logits, second, 3)}
    seen["overflow"] = _spoiled_steps(engine, inner, group, infinite_gradient, second, 6)
    deepspeed_private.set_loss_scale(inner, SCALE)
    assert not engine.train_step(last).skipped
    seen["resumed"] = same(expected, sampled(engine))
    engine.close()
    return seen


def _begun(plan: Plan, group: ProcessGroup) -> tuple[Any, Any]:
    """An engine, and DeepSpeed's within it."""
    with remembered() as inner:
        engine = built(plan, group)
    deepspeed_private.set_loss_scale(inner[0], SCALE)
    return engine, inner[0]


@contextmanager
def remembered() -> Iterator[list[Any]]:
    """Yields the engines that DeepSpeed makes within it."""
    inner: list[Any] = []

    def initialize(**arguments: Any) -> Any:
        parts = _initialize(**arguments)
        inner.append(parts[0])
        return parts

    with patch.object(deepspeed, "initialize", initialize):
        yield inner


_initialize, _train_step = deepspeed.initialize, ZeroEngine.train_step


def _spoiled_steps(engine: Any, inner: Any, group: ProcessGroup, spoil: Any, step: Any, count: int) -> list[list[Any]]:
    """[loss scale before, whether the step was skipped, why it was refused, whether the fault fired] of each step."""
    seen = []
    for _ in range(count):
        scale, fired = deepspeed_private.loss_scale(inner), []
        with spoiled(engine, spoil, group.rank == FAULTY_RANK, fired):
            result = engine.train_step(step)
        reason = result.refusal.reason if result.refusal else ""
        seen.append([scale, result.skipped, reason, bool(fired)])
    return seen


def _of_good_steps(plan: Plan, group: ProcessGroup, steps: list[Any]) -> dict[str, torch.Tensor] | None:
    engine, _ = _begun(plan, group)
    for step in steps:
        assert not engine.train_step(step).skipped
    weights = sampled(engine)
    engine.close()
    return weights
