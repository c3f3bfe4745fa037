"""What tensor peers do in the tests of the engine: families, exports, resuming, evaluation, dropout, and what fails."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from transformers import AutoConfig

from tests.families import EVERY
from tests.plans import tiny_plan
from tests.shared import dataset_of, tiny_tokenizer
from tunefleet.checkpoint import rng
from tunefleet.checkpoint.find_checkpoint import Checkpoint
from tunefleet.checkpoint.retention import Retention
from tunefleet.checkpoint.store import CheckpointStore
from tunefleet.contracts import RunState
from tunefleet.data.batches.order import OrderedBatches, in_order
from tunefleet.data.store.dataset import Dataset
from tunefleet.engine.group import DataParallelGroup, join
from tunefleet.evaluation.generation import Limits, answers
from tunefleet.evaluation.loss import mean_loss
from tunefleet.model.build import build
from tunefleet.model.export import export
from tunefleet.model.learner import Learner
from tunefleet.optim.build_optimizer import build_optimizer
from tunefleet.plan.families import tensor
from tunefleet.plan.families.config_json import is_dropout
from tunefleet.plan.horizon import Horizon
from tunefleet.plan.plan import Plan
from tunefleet.runs.run_engine import engine_for
from tunefleet.runs.saved_weights import saved_weights
from tunefleet.runs.trajectory import ROW, VOCABULARY, rows

STEADY = Horizon(total=100, warmup=0, steps_per_epoch=10)
PROMPTS = ["turn on the light", "a", "What is the capital of France?", "no", "Add two numbers."]
LIMITS = Limits(batch=2, new_tokens=6, length=48)
TOKENS = [[5, 17, 3, 44, 60, 9, 31]]
_BY_FAMILY = {found["model_type"]: found for found in EVERY.values()}
FAMILIES = {family: _BY_FAMILY[family] for family in tensor.sharded_families()}
FAMILIES["phi, norms of heads"] = {**_BY_FAMILY["phi"], "qk_layernorm": True}


_OF_SOME = ("rotary_pct", "num_key_value_heads")


def settings_of(found: dict[str, Any]) -> dict[str, Any]:
    """An architecture without the settings that its family does not have: they are refused by name."""
    has = AutoConfig.for_model(found["model_type"])
    return {key: value for key, value in found.items() if hasattr(has, key) or not (is_dropout(key) or key in _OF_SOME)}


def plan_of(folder: Path, found: dict[str, Any], ranks: int, stage: int = 0, degree: int = 2, **train: Any) -> Plan:
    """A plan with SGD, whose steps show every gradient as it is."""
    return tiny_plan(
        folder,
        model={"name": "mine", "init": "random", "architecture": settings_of(found)},
        ranks=ranks,
        parallel={"name": "tensor", "zero_stage": stage, "tensor": degree},
        optimizer={"name": "sgd", "lr": 0.05, "weight_decay": 0.0},
        schedule={"name": "constant"},
        **{"micro_batch": 2, **train},
    )


def plain(plan: Plan, data: Dataset, steps: int) -> dict[str, Any]:
    """Losses, norms and weights of `steps` steps by one process and a torch loop."""
    learner = Learner(build(plan.sources, seed=5))
    optimizer = build_optimizer(plan.config.optimizer, learner)
    batches = OrderedBatches(data, plan.batch, 0, seed=3, pad=0, packed=True)
    losses, norms = [], []
    for _ in range(steps):
        (batch,) = batches.take(1)
        loss = learner(batch) / (batch.labels >= 0).sum()
        loss.backward()
        norms.append(float(clip_grad_norm_(learner.parameters(), plan.config.train.clip)))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return {"losses": losses, "norms": norms, "weights": dict(learner.model.state_dict())}


def families(folder: Path, argument: Any) -> dict[str, Any]:
    """Two steps of every divided family by two peers; weights are kept in files."""
    torch.set_num_threads(1)
    group, found = join(), {}
    for name, architecture in FAMILIES.items():
        plan = plan_of(folder, architecture, group.size)
        built = engine_for(plan, group, build(plan.sources, seed=5), STEADY)
        batches = OrderedBatches(rows(), plan.batch, 0, seed=3, pad=0, packed=True)
        results = [built.train_step(batches.take(1)) for _ in range(2)]
        weights = built.weights()
        if weights is not None:
            torch.save(weights, folder / f"{name}.pt")
        built.close()
        found[name] = {"losses": [r.loss for r in results], "norms": [r.gradient_norm for r in results]}
    group.destroy()
    return found


def copies_of_peers(folder: Path, argument: Any) -> dict[str, Any]:
    """Two copies of the model, each of two peers, through all that a run does with them."""
    torch.set_num_threads(1)
    group = join()
    found = {f"stage{stage}": _life(folder, group, stage) for stage in (0, 1, 2)}
    found["dropout"] = _dropped_out(folder, group, lambda plan: plan.layout.rng_rank(group.rank))
    found["control: seeded by rank"] = _dropped_out(folder, group, lambda plan: group.rank)
    found["steady"] = _losses(folder, group)
    found["checkpointing"] = _losses(folder, group, gradient_checkpointing=True)
    found["control: peers read other rows"] = _losses(folder, group, share=group.rank % 2)
    found["control: counted by every peer"] = _losses(folder, group, everybody=True)
    group.destroy()
    return found


ARCHITECTURES = {0: "opt", 1: "gpt_neox", 2: "llama"}


def _life(folder: Path, group: Any, stage: int) -> dict[str, Any]:
    """Trains, saves, goes on; resumes and goes on again; evaluates, answers, exports."""
    plan = plan_of(folder, {**EVERY[ARCHITECTURES[stage]], "vocab_size": 320}, group.size, stage, clip=0.1)
    copies, words = DataParallelGroup(group, plan.layout), tiny_tokenizer()
    built, batches = _started(plan, group)
    _steps(built, batches, 2)
    store = CheckpointStore(folder / f"checkpoints{stage}", plan.identity, group, Retention(2))
    store.save(built, RunState(step=2, position=batches.position))
    weights = built.weights()
    found: dict[str, Any] = {}
    if weights is not None:
        saved = Checkpoint(folder / f"checkpoints{stage}" / "step-00000002", RunState(step=2), group.size)
        found["files"] = sorted(path.name for path in saved.shards.iterdir())
        again = saved_weights(plan, saved)
        found["saved"] = [n for n, weight in weights.items() if not torch.equal(weight, again[n])]
        export(folder / f"export{stage}", built.model, weights, words, "template")
    found["loss"] = mean_loss(built, copies, in_order(rows(), 13, 2, copies.rank, copies.size, 0, packed=True))
    found["answers"] = answers(built, copies, words, PROMPTS, LIMITS)
    with torch.no_grad():
        found["logits"] = built.model.eval()(input_ids=torch.tensor(TOKENS)).logits.tolist()
    built.model.train()
    found["on"] = [*_steps(built, batches, 2), _digest(built.model.state_dict())]
    built.close()
    built, _ = _started(plan, group, seed=6)
    state = store.restore(built)
    assert state is not None
    found["resumed"] = [*_steps(built, _batches(plan, group, state.position), 2), _digest(built.model.state_dict())]
    built.close()
    return found


def _dropped_out(folder: Path, group: Any, seed: Any) -> str:
    """What a peer holds whole, after three steps with dropout."""
    plan = plan_of(folder, {**EVERY["opt"], "dropout": 0.3}, group.size)
    built, batches = _started(plan, group)
    rng.seed_all(1, seed(plan))
    _steps(built, batches, 3)
    return _digest({"whole": built.model.get_input_embeddings().weight, **_norms_of(built)})


def _norms_of(built: Any) -> dict[str, Tensor]:
    return {name: weight for name, weight in built.model.state_dict().items() if "norm" in name}


def _losses(
    folder: Path, group: Any, share: int | None = None, everybody: bool = False, **train: Any
) -> list[list[float]]:
    """[losses, norms, learning tokens] of three steps over rows of one length."""
    plan = plan_of(folder, EVERY["llama"], group.size, stage=1, **train)
    built = engine_for(plan, group, build(plan.sources, 5, plan.config.train.gradient_checkpointing), STEADY)
    if everybody:
        built._copies._counts = True
    rank = plan.layout.data_rank(group.rank) if share is None else share
    batches = OrderedBatches(even_rows(), plan.batch, rank, seed=3, pad=0, packed=True)
    results = [built.train_step(batches.take(1)) for _ in range(3)]
    built.close()
    columns = zip(*((r.loss, r.gradient_norm, r.loss_tokens) for r in results), strict=True)
    return [list(column) for column in columns]


def even_rows(number: int = 12) -> Dataset:
    """Rows of one length, so that peers which read different ones still have tensors of one shape."""
    draw = np.random.default_rng(2)
    return dataset_of([(draw.integers(3, VOCABULARY, ROW).tolist(), [True] * ROW) for _ in range(number)])


def whole_batch(folder: Path) -> Plan:
    """The plan of one process for the rows that two copies read in a step."""
    return plan_of(folder, EVERY["llama"], 1, degree=1, micro_batch=4)


def _started(plan: Plan, group: Any, seed: int = 5) -> tuple[Any, OrderedBatches]:
    return engine_for(plan, group, build(plan.sources, seed), STEADY), _batches(plan, group, 0)


def _batches(plan: Plan, group: Any, position: int) -> OrderedBatches:
    rank = plan.layout.data_rank(group.rank)
    return OrderedBatches(rows(), plan.batch, rank, seed=3, pad=0, packed=True, position=position)


def _steps(built: Any, batches: OrderedBatches, count: int) -> list[tuple[float, float]]:
    results = [built.train_step(batches.take(1)) for _ in range(count)]
    return [(result.loss, result.gradient_norm) for result in results]


def _digest(weights: dict[str, Tensor]) -> str:
    """A hash of the bytes of this process's own part."""
    digest = hashlib.sha256()
    for _, weight in sorted(weights.items()):
        digest.update(weight.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
