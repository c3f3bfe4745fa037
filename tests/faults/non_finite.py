"""What ranks do in the tests of updates that must not be applied: steps with NaN and infinity from one rank alone."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from tests.plans import tiny_plan
from tunefleet.contracts import Refusal
from tunefleet.engine.group import ProcessGroup, join
from tunefleet.engine.update_gate import UpdateGate
from tunefleet.plan.horizon import Horizon
from tunefleet.plan.plan import Plan
from tunefleet.runs.run_engine import engine_for
from tunefleet.runs.trajectory import batches, model

CASES: dict[str, dict[str, Any]] = {
    "ddp": {"stage": 0},
    "zero1": {"stage": 1, "precision": "bf16"},
    "zero2 offload": {"stage": 2, "precision": "bf16", "parallel": {"zero_stage": 2, "offload_optimizer": "cpu"}},
    "zero3": {"stage": 3, "precision": "bf16"},
    "tensor": {"stage": 1, "precision": "bf16", "parallel": {"zero_stage": 1, "tensor": 2}},
    "sequence": {"model": "llama", "stage": 2, "parallel": {"zero_stage": 2, "sequence": 2}},
    "pipeline": {"stage": 1, "precision": "bf16", "parallel": {"zero_stage": 1, "pipeline": 2}},
}
"""Every way to hold weights, in the precisions of a CPU."""
MORE_CASES: dict[str, dict[str, Any]] = {
    "ddp bf16": {"stage": 0, "precision": "bf16"},
    "zero1 fp32": {"stage": 1},
    "zero2 fp32": {"stage": 2},
    "zero2 bf16": {"stage": 2, "precision": "bf16"},
    "zero3 fp32": {"stage": 3},
    "zero3 offload": {"stage": 3, "precision": "bf16", "parallel": {"zero_stage": 3, "offload_optimizer": "cpu"}},
    "tensor ddp": {"stage": 0, "parallel": {"tensor": 2}},
    "sequence zero3": {"model": "llama", "stage": 3, "parallel": {"zero_stage": 3, "sequence": 2}},
    "pipeline ddp": {"stage": 0, "parallel": {"pipeline": 2}},
    "muon": {"stage": 0, "optimizer": {"name": "muon"}},
    "no master weights": {"stage": 2, "precision": "bf16", "master_weights": False},
}
"""The others."""
FAULTY_RANK = 1


def planned(folder: Path, case: str, ranks: int) -> Plan:
    """The plan of a case: two micro-batches a step, a constant learning rate."""
    settings = {
        "train": {},
        "schedule": {"name": "constant"},
        "micro_batch": 1,
        "global_batch": 4,
        **{**CASES, **MORE_CASES}[case],
    }
    return tiny_plan(folder, ranks=ranks, **{key: value for key, value in settings.items() if value != {}})


def built(plan: Plan, group: ProcessGroup) -> Any:
    """An engine around the tiny model of a plan."""
    return engine_for(plan, group, model(plan.sources.architecture), Horizon(total=9, warmup=0, steps_per_epoch=9))


@contextlib.contextmanager
def spoiled(
    engine: Any, spoil: Callable[[torch.Tensor], torch.Tensor], faulty: bool, fired: list[str]
) -> Iterator[None]:
    """Within it `spoil` is done to the logits of the faulty rank, which adds a line to `fired` each time."""

    def hook(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        fired.append("spoiled")
        return spoil(output)

    head = engine.model.get_output_embeddings() if faulty else None
    handle = head.register_forward_hook(hook) if head is not None else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()


def nan_logits(output: torch.Tensor) -> torch.Tensor:
    """The loss becomes NaN."""
    return output * math.nan


def infinite_gradient(output: torch.Tensor) -> torch.Tensor:
    """The loss stays right, the gradient becomes infinite."""
    if output.requires_grad:
        output.register_hook(lambda gradient: gradient * math.inf)
    return output


FAULTS = {"loss": nan_logits, "gradient": infinite_gradient}


def sampled(engine: Any) -> dict[str, torch.Tensor] | None:
    """The whole weights on rank 0, copied."""
    weights = engine.weights()
    return weights and {name: weight.clone() for name, weight in weights.items()}


def refused(folder: Path, cases: list[str]) -> dict[str, Any]:
    """What this rank says to two spoiled steps between two good ones, by case and fault, and how the run goes on.

    `resumed` is whether weights are then bit by bit those of a run of the good steps alone: weights, moments and the
    optimizer's count of steps were left as they were.
    """
    torch.set_num_threads(1)
    group, outcomes = join(), {}
    for case in cases:
        plan = planned(folder, case, group.size)
        ordered = batches(plan, group.rank)
        first, second, last = (ordered.take(plan.batch.accumulation) for _ in range(3))
        expected = _trained(plan, group, [first, last])
        engine = built(plan, group)
        engine.train_step(first)
        for fault, spoil in FAULTS.items():
            fired: list[str] = []
            with spoiled(engine, spoil, group.rank == FAULTY_RANK, fired):
                result = engine.train_step(second)
            outcomes[f"{case}: {fault}"] = {
                "refusal": result.refusal.reason if result.refusal else "none",
                "skipped": result.skipped,
                "fired": len(fired),
                "micro_losses": [str(loss) for loss in result.micro_losses],
            }
        vetoed = engine.train_step(second, lambda loss, norm: Refusal(f"{loss > 0} {norm > 0}"))
        outcomes[f"{case}: rule"] = vetoed.refusal.reason if vetoed.refusal else "none"
        engine.train_step(last)
        outcomes[case] = {"resumed": same(expected, sampled(engine))}
        engine.close()
    group.destroy()
    return outcomes


def _trained(plan: Plan, group: ProcessGroup, steps: list[Any]) -> dict[str, torch.Tensor] | None:
    engine = built(plan, group)
    for step in steps:
        assert engine.train_step(step).refusal is None
    weights = sampled(engine)
    engine.close()
    return weights


def same(before: dict[str, torch.Tensor] | None, after: dict[str, torch.Tensor] | None) -> bool:
    """Whether weights are equal bit by bit; on other ranks than the first there are none."""
    if before is None or after is None:
        return before is after
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def unguarded(folder: Path, argument: Any) -> dict[str, bool]:
    """The control: without the gate, whether the weights of DDP are still finite after a NaN of one rank."""
    torch.set_num_threads(1)
    group = join()
    plan = planned(folder, "ddp", group.size)
    ordered = batches(plan, group.rank)
    engine, fired = built(plan, group), []
    with (
        patch.object(UpdateGate, "judged_by", lambda gate, judge: contextlib.nullcontext()),
        spoiled(engine, nan_logits, group.rank == FAULTY_RANK, fired),
    ):
        engine.train_step(ordered.take(plan.batch.accumulation))
    finite = {name: bool(weight.isfinite().all()) for name, weight in engine.model.state_dict().items()}
    engine.close()
    group.destroy()
    return finite
