"""One training run of twenty steps, by the engine or by a plain torch loop: losses, norms, weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import clip_grad_norm_
from transformers import AutoConfig, AutoModelForCausalLM

from tests.equivalence.table import Case
from tunefleet.config.optimizer import OptimizerConfig
from tunefleet.data.dataset import Card, Dataset
from tunefleet.data.order import OrderedBatches
from tunefleet.data.packing import pack
from tunefleet.engine.group import join
from tunefleet.model.learner import Learner
from tunefleet.optim.build import build as build_optimizer
from tunefleet.optim.schedules import learning_rate
from tunefleet.plan.contracts import MicroBatch
from tunefleet.plan.horizon import Horizon
from tunefleet.plan.plan import Plan
from tunefleet.runs import parts

STEPS = 20
WARMUP = 3
VOCABULARY = 97
ROW = 48

Trajectory = dict[str, list[float]]


def data(rows: int = 40) -> Dataset:
    """Packed rows of conversations whose lengths and numbers of learning tokens differ widely.

    Every token follows from the one before it, so that there is something to learn.
    """
    drawn = np.random.default_rng(7)
    lengths = drawn.integers(4, ROW, size=rows * 2)
    tokens = [_chain(int(drawn.integers(3, VOCABULARY)), n) for n in lengths]
    learns = [np.arange(n) >= max(1, drawn.integers(1, n)) for n in lengths]
    packs = pack(lengths.tolist(), ROW)
    bounds = np.cumsum([0] + [len(p) for p in packs])
    card = Card("train", len(lengths), len(packs), int(lengths.sum()), 0, 0, 0, ROW, ROW)
    starts = np.cumsum([0, *lengths])
    return Dataset(card, np.concatenate(tokens), np.concatenate(learns), starts, np.concatenate(packs), bounds, [])


def _chain(first: int, length: int) -> NDArray[np.int32]:
    tokens = [first]
    while len(tokens) < length:
        tokens.append((tokens[-1] * 5 + 7) % (VOCABULARY - 3) + 3)
    return np.asarray(tokens, dtype=np.int32)


def model(architecture: dict[str, Any]) -> Any:
    """A tiny model whose weights depend on nothing but its architecture."""
    torch.manual_seed(11)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**architecture), attn_implementation="sdpa")


def plain(plan: Plan) -> Trajectory:
    """The reference, by hand: the whole global batch at once, its mean token loss, torch's AdamW and clipping."""
    learner = Learner(model(plan.sources.architecture))
    optimizer = build_optimizer(plan.config.optimizer, learner)
    batches = OrderedBatches(data(), plan.batch, 0, seed=3, pad=0, packed=True)
    losses, norms = [], []
    for step in range(STEPS):
        (batch,) = batches.take(1)
        for group in optimizer.param_groups:
            group["lr"] = _rate(plan)(step)
        loss = learner(batch) / (batch.labels >= 0).sum()
        loss.backward()
        norms.append(float(clip_grad_norm_(learner.parameters(), plan.config.train.clip)))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return {"losses": losses, "norms": norms, "weights": _flat(learner.model.state_dict())}


def engine(plan: Plan, group: Any) -> Any:
    """The engine of a plan around the tiny model, put together as a run does it."""
    steps = Horizon(total=STEPS, warmup=WARMUP, evaluate_every=0, save_every=0, steps_per_epoch=10)
    return parts.strategy(plan, group, model(plan.sources.architecture), steps)


def trained(plan: Plan, group: Any) -> Trajectory:
    """The same by the engine."""
    built = engine(plan, group)
    rank = plan.layout.data_rank(group.rank)
    batches = OrderedBatches(data(), plan.batch, rank, seed=3, pad=0, packed=True)
    results = [built.train_step(batches.take(plan.batch.accumulation)) for _ in range(STEPS)]
    weights = built.weights()
    built.close()
    flat = _flat(weights) if weights is not None else []
    return {"losses": [r.loss for r in results], "norms": [r.gradient_norm for r in results], "weights": flat}


def all_cases(folder: Path, cases: Sequence[dict[str, Any]]) -> list[Trajectory]:
    """Every case, one engine after another, in the ranks that are there."""
    torch.set_num_threads(1)
    group = join()
    found = [trained(Case(**case).plan(folder), group) for case in cases]
    group.part()
    return found


def mean_of_means(plan: Plan, batches: Sequence[MicroBatch]) -> float:
    """The loss that a trainer gets which averages micro-batches instead of tokens; for the control."""
    learner = Learner(model(plan.sources.architecture))
    return float(np.mean([float(learner(b).detach()) / int((b.labels >= 0).sum()) for b in batches]))


def _rate(plan: Plan) -> Any:
    config: OptimizerConfig = plan.config.optimizer
    return partial(learning_rate, plan.config.schedule, config.lr, total=STEPS, warmup=WARMUP)


def _flat(weights: dict[str, torch.Tensor]) -> list[float]:
    """A sample of every weight, in the order of their names: enough to see any of them go another way.

    Without the biases of keys: softmax forgets them, their gradient is rounding, and Adam makes steps of it.
    """
    compared = {name: weight for name, weight in weights.items() if not name.endswith(_KEY_BIASES)}
    return [float(v) for _, w in sorted(compared.items()) for v in w.detach().float().flatten()[::37]]


_KEY_BIASES = ("c_attn.bias", "query_key_value.bias", "k_proj.bias")
