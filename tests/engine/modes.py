"""What ranks do in the tests of the training mode: every strategy, from scratch and from the same weights in files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tests.plans import LLAMA, OPT, tiny_plan
from tests.shared import tiny_tokenizer
from tunefleet.checkpoint import rng
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import RunState
from tunefleet.data.batches.order import OrderedBatches, in_order
from tunefleet.engine.group import DataParallelGroup, join
from tunefleet.engine.zero import ZeroEngine
from tunefleet.evaluation.generation import Limits, answers
from tunefleet.evaluation.loss import mean_loss
from tunefleet.model.build import build
from tunefleet.plan.horizon import Horizon
from tunefleet.plan.plan import Plan
from tunefleet.runs.run_engine import engine_for
from tunefleet.runs.trainable_model import build_model
from tunefleet.runs.trajectory import rows

STRATEGIES: dict[str, dict[str, Any]] = {
    "ddp": {"parallel": {"zero_stage": 0}},
    "zero1": {"parallel": {"zero_stage": 1}},
    "zero2-bf16": {"parallel": {"zero_stage": 2}, "precision": "bf16"},
    "zero3": {"parallel": {"zero_stage": 3}},
    "lora-zero2": {"parallel": {"zero_stage": 2}, "adapter": {"name": "lora", "rank": 2, "dropout": 0.1}},
    "lora-zero3": {"parallel": {"zero_stage": 3}, "adapter": {"name": "lora", "rank": 2}},
    "dora-zero3": {"parallel": {"zero_stage": 3}, "adapter": {"name": "lora", "rank": 2, "dora": True}},
    "sequence": {"parallel": {"zero_stage": 2, "sequence": 2}},
    "tensor": {"parallel": {"zero_stage": 0, "tensor": 2}},
    "pipeline": {"parallel": {"zero_stage": 1, "pipeline": 2}},
}
FAMILIES = {
    "opt": {**OPT, "vocab_size": 320, "dropout": 0.1, "attention_dropout": 0.1},
    "llama": {**LLAMA, "vocab_size": 320, "attention_dropout": 0.2},
}
CASES = [
    ("ddp", "opt"),
    ("zero2-bf16", "opt"),
    ("zero3", "llama"),
    ("lora-zero3", "opt"),
    ("sequence", "llama"),
    ("tensor", "opt"),
    ("pipeline", "llama"),
]
OTHERS = [(strategy, family) for strategy in STRATEGIES for family in FAMILIES if (strategy, family) not in CASES]
_STEPS = Horizon(6, 1, steps_per_epoch=1)
_PROMPTS = ["turn on the light", "a", "no"]


def trained(folder: Path, cases: list[list[str]]) -> list[dict[str, Any]]:
    """Four steps of every case: from scratch; from files with recomputing; from files with evaluations and a resume."""
    torch.set_num_threads(1)
    group = join()
    results = [_case(folder / "-".join(case), *case, group) for case in cases]
    with _mode_left_alone():
        results.append(_case(folder / "control", *cases[0], group))
    group.destroy()
    return results


def _case(folder: Path, strategy: str, family: str, group: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True, parents=True)
    scratch = _plan(folder, strategy, group.size, {"init": "random", "architecture": FAMILIES[family]})
    if group.rank == 0:
        words = tiny_tokenizer()
        build(scratch.sources, scratch.config.train.seed, tokenizer=words).save_pretrained(folder / "weights")
        words.save_pretrained(folder / "weights")
    group.barrier()
    path = {"path": str(folder / "weights")}
    filed, recomputing = (_plan(folder, strategy, group.size, path, gradient_checkpointing=g) for g in (False, True))
    return {
        "scratch": _straight(scratch, group),
        "recomputed": _straight(recomputing, group),
        **_interrupted(folder, filed, group),
    }


def _plan(folder: Path, strategy: str, ranks: int, model: dict[str, Any], **train: Any) -> Plan:
    settings = dict(STRATEGIES[strategy])
    parallel = {"name": strategy, **settings.pop("parallel")}
    return tiny_plan(folder, {"name": "m", **model}, ranks, parallel=parallel, micro_batch=2, **settings, **train)


def _engine(plan: Plan, group: Any) -> Any:
    """As `build_engine` makes it, with a horizon of its own."""
    built = engine_for(plan, group, build_model(plan, tiny_tokenizer()), _STEPS)
    rng.seed_all(plan.config.train.seed, plan.layout.rng_rank(group.rank))
    return built


def _batches(plan: Plan, group: Any, position: int = 0) -> OrderedBatches:
    rank = plan.layout.data_rank(group.rank)
    return OrderedBatches(rows(), plan.batch, rank, seed=3, pad=0, packed=True, position=position)


def _losses(built: Any, batches: OrderedBatches, steps: int) -> list[list[float]]:
    results = [built.train_step(batches.take(1)) for _ in range(steps)]
    return [[result.loss, result.gradient_norm] for result in results]


def _straight(plan: Plan, group: Any) -> dict[str, Any]:
    """Losses and norms of four steps, a digest of the weights behind them, and how often each block's attention ran."""
    built, calls = _engine(plan, group), Counter[str]()
    for name, module in built.model.named_modules():
        if name.endswith("self_attn"):
            module.register_forward_pre_hook(lambda *given, name=name: calls.update([name]))
    steps = _losses(built, _batches(plan, group), 4)
    digest = _digest(built)
    built.close()
    return {"trained": [steps, digest], "calls": dict(calls)}


def _interrupted(folder: Path, plan: Plan, group: Any) -> dict[str, Any]:
    """The same with evaluations between the steps; and saved after two steps, closed, restored, continued."""
    store = CheckpointStore(folder / "checkpoints", plan.identity, group, Retention(1))
    built, batches = _engine(plan, group), _batches(plan, group)
    unchanged = [_evaluate(built, plan, group)]
    first = _losses(built, batches, 2)
    unchanged.append(_evaluate(built, plan, group))
    store.save(built, RunState(step=2, position=batches.position))
    evaluated = [*first, *_losses(built, batches, 2)]
    found = {"evaluated": [evaluated, _digest(built)], "unchanged": all(unchanged)}
    built.close()
    again = _engine(plan, group)
    state = store.restore(again)
    assert state is not None
    resumed = [*first, *_losses(again, _batches(plan, group, state.position), 2)]
    found["resumed"] = [resumed, _digest(again)]
    again.close()
    return found


def _evaluate(built: Any, plan: Plan, group: Any) -> bool:
    """Measures and answers as a run does; whether every random state is as before, and the mode of every module."""
    copies = DataParallelGroup(group, plan.layout)
    states, modes = torch.get_rng_state(), [module.training for module in built.model.modules()]
    mean_loss(built, copies, in_order(rows(), 5, 2, copies.rank, copies.size, 0, packed=True))
    answers(built, copies, tiny_tokenizer(), _PROMPTS, Limits(2, 4, 40))
    same = modes == [module.training for module in built.model.modules()]
    return same and torch.equal(states, torch.get_rng_state())


def _digest(built: Any) -> str:
    weights = built.weights() or {}
    together = hashlib.sha256()
    for name in sorted(weights):
        together.update(weights[name].detach().contiguous().view(torch.uint8).numpy().tobytes())
    return together.hexdigest()


@contextmanager
def _mode_left_alone() -> Iterator[None]:
    """The control: a step computes in the mode that the model happens to have."""
    step = ZeroEngine.train_step

    def without(self: Any, micro_batches: Any) -> Any:
        self._engine.train = lambda mode=True: None
        return step(self, micro_batches)

    ZeroEngine.train_step = without  # type: ignore[method-assign]
    try:
        yield
    finally:
        ZeroEngine.train_step = step  # type: ignore[method-assign]
