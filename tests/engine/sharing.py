"""What ranks do in the tests of sequence parallelism: exports, evaluation, resuming, and controls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from tests.plans import LLAMA, OPT, tiny_plan
from tests.shared import tiny_tokenizer
from tunefleet.checkpoint import rng
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import Evaluable, Group, RunState
from tunefleet.data.batches.order import OrderedBatches, in_order
from tunefleet.engine.group import DataParallelGroup, ProcessGroup, join
from tunefleet.evaluation.generation import Limits, answers
from tunefleet.evaluation.loss import mean_loss
from tunefleet.model.export import export
from tunefleet.plan.plan import Plan
from tunefleet.runs.trajectory import engine, rows

STAGES = (1, 3)
TALKATIVE = {**LLAMA, "vocab_size": 320, "initializer_range": 0.3}
PROMPTS = ["turn on the light", "a", "What is the capital of France?", "play some music, please", "no"]
_TOKENS = torch.tensor([[5, 17, 3, 44, 60, 9, 31]])


def planned(folder: Path, ranks: int, stage: int, architecture: dict[str, Any] = OPT, **train: Any) -> Plan:
    """As many ranks as there are share every row; more than one conversation is in most."""
    return tiny_plan(
        folder,
        model={"name": "tiny", "init": "random", "architecture": architecture},
        ranks=ranks,
        parallel={"name": "sequence", "zero_stage": stage, "sequence": ranks},
        micro_batch=2,
        **train,
    )


def batches(plan: Plan, group: ProcessGroup, position: int = 0) -> OrderedBatches:
    rank = plan.layout.data_rank(group.rank)
    return OrderedBatches(rows(), plan.batch, rank, seed=3, pad=0, packed=True, position=position)


def everything(folder: Path, argument: Any) -> dict[str, Any]:
    """All of the below, in one process group."""
    torch.set_num_threads(1)
    group = join()
    found = {
        "measured": [_measured(folder, group, stage) for stage in STAGES],
        "resumed": [_resumed(folder, group, stage) for stage in STAGES],
        "controls": _controls(folder, group),
    }
    group.destroy()
    return found


def evaluated(model: Evaluable, group: Group, rank: int, ranks: int) -> list[Any]:
    """[validation loss of 13 rows, answers]."""
    unseen = in_order(rows(), 13, 2, rank, ranks, 0, packed=True)
    return [mean_loss(model, group, unseen), answers(model, group, tiny_tokenizer(), PROMPTS, Limits(2, 6, 40))]


def _measured(folder: Path, group: ProcessGroup, stage: int) -> list[Any]:
    """The same, and how far an export's logits are from the engine's after a step."""
    plan = planned(folder, group.size, stage, TALKATIVE)
    built = engine(plan, group)
    copies = DataParallelGroup(group, plan.layout)
    found = evaluated(built, copies, copies.rank, copies.size)
    built.train_step(batches(plan, group).take(1))
    found.append(_export_apart(built, folder, tiny_tokenizer()))
    built.close()
    return found


def _export_apart(built: Any, folder: Path, words: Any) -> float:
    with torch.no_grad():
        logits = built.model.eval()(input_ids=_TOKENS).logits
    weights = built.weights()
    if weights is None:
        return 0.0
    export(folder / "export", built.model, weights, words, "template")
    exported = AutoModelForCausalLM.from_pretrained(folder / "export", dtype="auto", attn_implementation="sdpa")
    with torch.no_grad():
        return float((exported(input_ids=_TOKENS).logits - logits).abs().max())


def _resumed(folder: Path, group: ProcessGroup, stage: int) -> list[list[list[float]]]:
    """Losses and norms of steps 3 and 4, straight on and from a checkpoint; with dropout."""
    plan = planned(folder, group.size, stage, {**OPT, "dropout": 0.1, "attention_dropout": 0.1})
    store = CheckpointStore(folder / f"stage{stage}", "mine", group, Retention(1))
    built, taken = engine(plan, group), batches(plan, group)
    rng.seed_all(0, group.rank)
    for _ in range(2):
        built.train_step(taken.take(1))
    store.save(built, RunState(step=2, position=taken.position))
    straight = [_numbers(built.train_step(taken.take(1))) for _ in range(2)]
    built.close()
    again = engine(plan, group)
    state = store.restore(again)
    assert state is not None
    taken = batches(plan, group, state.position)
    resumed = [_numbers(again.train_step(taken.take(1))) for _ in range(2)]
    again.close()
    return [straight, resumed]


def _numbers(result: Any) -> list[float]:
    return [result.loss, result.gradient_norm]


def _controls(folder: Path, group: ProcessGroup) -> dict[str, list[float]]:
    """[loss, norm] of the first step as it should be, without segments, and with other rows for each peer."""
    found = {}
    plan = planned(folder, group.size, 1, {**LLAMA, "initializer_range": 0.3})  # attention matters to the loss
    fixed = [replace(b, segments=torch.ones_like(b.tokens)) for b in batches(plan, group).take(1)]
    other = OrderedBatches(rows(), replace(plan.batch, data_parallel=2), group.rank, seed=3, pad=0, packed=True)
    for name, taken in {"right": batches(plan, group).take(1), "segments": fixed, "rows": other.take(1)}.items():
        built = engine(plan, group)
        found[name] = _numbers(built.train_step(taken))
        built.close()
    return found
