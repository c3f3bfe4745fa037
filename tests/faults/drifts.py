"""What ranks do in the tests of replicas that drift: good steps, then one bit of one rank's weight is flipped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from tests.faults.non_finite import built
from tests.plans import DEEP, tiny_plan
from tests.runs.rungs import STEPS
from tests.runs.training import planned
from tunefleet.base.errors import ReplicaDrift
from tunefleet.contracts import StepResult
from tunefleet.engine.group import ProcessGroup, join
from tunefleet.engine.zero import ZeroEngine
from tunefleet.runs.train import train
from tunefleet.runs.trajectory import batches

CASES: dict[str, dict[str, Any]] = {
    "ddp": {"stage": 0},
    "zero2": {"stage": 2, "precision": "bf16"},
    "zero3": {"stage": 3},
    "tensor": {"model": "llama", "stage": 1, "precision": "bf16", "parallel": {"zero_stage": 1, "tensor": 2}},
    "pipeline": {
        "model": {"name": "deep", "init": "random", "architecture": DEEP},
        "stage": 1,
        "parallel": {"zero_stage": 1, "pipeline": 2},
    },
}
FAULTY_RANK = 1


def drifted(folder: Path, cases: list[str]) -> dict[str, Any]:
    """For each case: what the comparison says of two good steps, which bit was flipped where, and what it says then."""
    torch.set_num_threads(1)
    group, outcomes = join(), {}
    for case in cases:
        plan = tiny_plan(folder, ranks=group.size, micro_batch=2, **{"schedule": {"name": "constant"}, **CASES[case]})
        engine, ordered = built(plan, group), batches(plan, group.rank)
        for _ in range(2):
            engine.train_step(ordered.take(plan.batch.accumulation))
        before = compared(engine)
        name, weight = next(pair for pair in engine.model.named_parameters() if "norm.weight" in pair[0])
        if case == "pipeline" and group.rank == FAULTY_RANK:  # a stage holds its own layers, but for this copy
            name, weight = "tied embedding", engine.model.get_output_embeddings().weight
        if group.rank == FAULTY_RANK:
            flip_lowest_bit(weight.data)
        outcomes[case] = {"before": before, "after": compared(engine), "name": name}
        engine.close()
    group.destroy()
    return outcomes


def runs(folder: Path, argument: Any) -> dict[str, Any]:
    """Runs that save after each of two steps, with a bit flipped after the second: their exit codes and checkpoints.

    The second does not compare.
    """
    ProcessGroup.destroy = ProcessGroup.barrier  # type: ignore[method-assign]  # DeepSpeed joins once in a process
    ZeroEngine.train_step = _flipping  # type: ignore[method-assign]
    outcomes = {}
    for name, every in (("compared", "1000"), ("control", "null")):
        typed = [*STEPS, "train.max_steps=2", "checkpoint.every=1", f"name={name}", f"train.check_replicas={every}"]
        plan = planned(folder, *typed)
        try:
            code = train(plan)
        except ReplicaDrift as error:
            code = error.exit_code
        outcomes[name] = [code, sorted(path.name for path in plan.paths.checkpoints.glob("step-*"))]
    return outcomes


_train_step = ZeroEngine.train_step


def _flipping(engine: ZeroEngine, *arguments: Any) -> StepResult:
    """A step; on one rank a bit flips after it from the second one on."""
    result = _train_step(engine, *arguments)
    if os.environ["RANK"] == str(FAULTY_RANK) and result.lr < 3e-3:
        flip_lowest_bit(next(engine.model.parameters()).data)
    return result


def flip_lowest_bit(weight: torch.Tensor) -> None:
    """Of the last element, in the memory itself."""
    size = {2: torch.int16, 4: torch.int32}[weight.element_size()]
    weight.flatten()[-1:].view(size).bitwise_xor_(1)


def compared(engine: Any) -> str:
    """What the comparison says; empty for equal."""
    try:
        engine.expect_equal_replicas()
    except ReplicaDrift as error:
        return str(error)
    return ""
