"""Trajectory: losses, gradient norms and weights of twenty steps, by an engine or by a plain torch loop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import clip_grad_norm_
from transformers import AutoConfig, AutoModelForCausalLM

from tunefleet.base.errors import NonFiniteLoss
from tunefleet.contracts import Group, StepResult
from tunefleet.data.batches.order import OrderedBatches
from tunefleet.data.store.dataset import Card, Dataset
from tunefleet.data.store.packing import pack
from tunefleet.model.learner import Learner
from tunefleet.optim.build_optimizer import build_optimizer
from tunefleet.optim.schedules import learning_rate
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.tiny import VOCABULARY
from tunefleet.plan.horizon import Horizon
from tunefleet.plan.plan import Plan
from tunefleet.runs.run_engine import engine_for

STEPS = 20
WARMUP = 3
ROW = 48

Trajectory = dict[str, list[float]]
"""`losses` and `norms` of every step, and a sample of the final `weights`."""


def rows(number: int = 40) -> Dataset:
    """Packed sequences of conversations whose lengths and numbers of loss tokens differ widely.

    Every token follows from the one before it, so that the loss can fall.
    """
    generator = np.random.default_rng(7)
    lengths = generator.integers(4, ROW, size=number * 2)
    tokens = [_chain(int(generator.integers(3, VOCABULARY)), n) for n in lengths]
    loss_mask = [np.arange(n) >= max(1, generator.integers(1, n)) for n in lengths]
    packs = pack(lengths.tolist(), ROW)
    bounds = np.cumsum([0] + [len(p) for p in packs])
    card = Card("train", len(lengths), len(packs), int(lengths.sum()), 0, 0, 0, ROW, ROW)
    starts = np.cumsum([0, *lengths])
    return Dataset(card, np.concatenate(tokens), np.concatenate(loss_mask), starts, np.concatenate(packs), bounds, [])


def batches(plan: Plan, rank: int) -> OrderedBatches:
    """What a process reads: its data-parallel shard of `rows`."""
    return OrderedBatches(rows(), plan.batch, plan.layout.data_rank(rank), seed=3, pad=0, packed=True)


def model(architecture: Architecture) -> Any:
    """A tiny model whose weights depend on nothing but its architecture."""
    torch.manual_seed(11)
    config = AutoConfig.for_model(**architecture.to_json())
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", trust_remote_code=False)


def plain(plan: Plan, steps: int = STEPS) -> Trajectory:
    """The reference, by hand: the whole global batch at once, its mean token loss, torch's optimizer and clipping."""
    device = torch.device(plan.layout.device)
    one_process = replace(plan, batch=replace(plan.batch, micro=plan.batch.total, accumulation=1, data_parallel=1))
    learner = Learner(model(plan.sources.architecture)).to(device)
    optimizer = build_optimizer(plan.config.optimizer, learner)
    ordered = batches(one_process, 0)
    losses, norms = [], []
    for step in range(steps):
        batch = ordered.take(1)[0].to(device)
        for group in optimizer.param_groups:
            group["lr"] = rate(plan)(step)
        loss = learner(batch) / (batch.labels >= 0).sum()
        loss.backward()
        norms.append(float(clip_grad_norm_(learner.parameters(), plan.config.train.clip)))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return {"losses": losses, "norms": norms, "weights": sampled(learner.model.state_dict())}


def engine(plan: Plan, group: Any, untrained: Any = None) -> Any:
    """The engine of a plan around the tiny model, or an `untrained` one, built as a run builds it."""
    steps = Horizon(total=STEPS, warmup=WARMUP, steps_per_epoch=10)
    return engine_for(plan, group, untrained or model(plan.sources.architecture), steps)


def trained(plan: Plan, group: Group, steps: int = STEPS, untrained: Any = None) -> Trajectory:
    """The same by the engine, in every rank; `weights` are empty on others than the first."""
    trainer = engine(plan, group, untrained)
    ordered = batches(plan, group.rank)
    results = [_applied(trainer.train_step(ordered.take(plan.batch.accumulation)), step) for step in range(steps)]
    weights = trainer.weights()
    trainer.close()
    sample = sampled(weights) if weights is not None else []
    return {"losses": [r.loss for r in results], "norms": [r.gradient_norm for r in results], "weights": sample}


def _applied(result: StepResult, step: int) -> StepResult:
    """`result`. Raises `NonFiniteLoss` where its update was left out."""
    if result.refusal:
        raise NonFiniteLoss(f"{result.refusal.reason} at step {step + 1}.")
    return result


def rate(plan: Plan) -> Any:
    """The learning rate of each step."""
    return partial(learning_rate, plan.config.schedule, plan.config.optimizer.lr, total=STEPS, warmup=WARMUP)


def _chain(first: int, length: int) -> NDArray[np.int32]:
    tokens = [first]
    while len(tokens) < length:
        tokens.append((tokens[-1] * 5 + 7) % (VOCABULARY - 3) + 3)
    return np.asarray(tokens, dtype=np.int32)


def sampled(weights: dict[str, torch.Tensor]) -> list[float]:
    """Of every weight, in the order of their names: enough to see any of them go another way.

    Without the biases of keys: softmax forgets them, their gradient is rounding, and Adam makes steps of it.
    """
    compared = {name: weight for name, weight in weights.items() if not name.endswith(_KEY_BIASES)}
    return [float(v) for _, w in sorted(compared.items()) for v in w.detach().float().flatten()[::37]]


_KEY_BIASES = ("c_attn.bias", "query_key_value.bias", "k_proj.bias")
