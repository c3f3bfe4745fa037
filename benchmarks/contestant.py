"""Contestant of benchmarks/throughput.py: one way to train in a process of its own, a step for each turn.

python -m benchmarks.contestant FOLDER tunefleet-0|...|tunefleet-3|strong|padded
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import alpaca_lengths
from benchmarks.turns import Turns

Step = Callable[[], tuple[int, float]]


def main() -> None:
    """Takes turns until there are none."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    settings = json.loads((folder / "settings.json").read_text())
    os.environ.update(DS_ACCELERATOR="cpu", CUDA_VISIBLE_DEVICES="", **lone_rank())
    turns = Turns()
    import torch

    torch.set_num_threads(1)
    way, _, stage = name.partition("-")
    turns.run(_WAYS[way](folder, settings, int(stage or 0)))


def _tunefleet(folder: Path, settings: dict[str, Any], stage: int) -> Step:
    """The engine of a run, on its own batches."""
    from tunefleet.base import heap
    from tunefleet.engine.group import join
    from tunefleet.runs.run_engine import engine_for

    heap.keep_freed_memory()
    plan = plan_of(folder, settings, stage, packed=True)
    model = model_of(folder)
    engine = engine_for(plan, join(), _with_lora(model) if settings["lora"] else model, _horizon())
    batches = batches_of(folder, plan, packed=True)

    def step() -> tuple[int, float]:
        taken = batches.take(plan.batch.accumulation)
        return sum(map(_useful, taken)), float(engine.train_step(taken).loss)

    return step


def _strong(folder: Path, settings: dict[str, Any], stage: int) -> Step:
    from benchmarks import strong_loop

    strong_loop.keep_freed_memory()
    strong_loop.register()
    model = model_of(folder, strong_loop.ATTENTION)
    loop = strong_loop.StrongLoop(_with_lora(model) if settings["lora"] else model)
    batches = batches_of(folder, plan_of(folder, settings, 0, packed=True), packed=True)

    def step() -> tuple[int, float]:
        taken = batches.take(settings["accumulation"])
        loss = loop.step([(b.tokens, b.positions, b.labels, b.segments) for b in taken])
        return sum(map(_useful, taken)), float(loss)

    return step


def _padded(folder: Path, settings: dict[str, Any], stage: int) -> Step:
    """As DeepSpeed-Chat's step 1: each row padded to the sequence length, labels are the padded row, all logits."""
    import deepspeed
    import torch
    from torch.nn.functional import pad

    from tunefleet.engine.group import join

    join()
    plan = plan_of(folder, settings, 0, packed=False)
    model = model_of(folder)
    model = (_with_lora(model) if settings["lora"] else model).train()
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-4)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=plan.engine)
    batches = batches_of(folder, plan, packed=False)
    rows = (folder / "rows.jsonl").read_text().splitlines()
    tokens = sum(len(json.loads(row)["input_ids"]) for row in rows)
    useful = tokens * plan.batch.total // len(rows)  # the longest rows come first, and each costs the same

    def step() -> tuple[int, float]:
        taken = batches.take(settings["accumulation"])
        losses = []
        for batch in taken:
            width = settings["sequence"] - batch.tokens.shape[1]
            attention = pad((batch.positions > 0).long(), (0, width))
            attention[:, 0] = 1
            tokens = pad(batch.tokens, (0, width), value=1)
            loss = engine(input_ids=tokens, attention_mask=attention, labels=tokens, use_cache=False).loss
            engine.backward(loss)
            engine.step()
            losses.append(loss.item())
        return useful, sum(losses) / len(losses)

    return step


_WAYS: dict[str, Callable[[Path, dict[str, Any], int], Step]] = {
    "tunefleet": _tunefleet,
    "strong": _strong,
    "padded": _padded,
}


def _useful(batch: Any) -> int:
    """Tokens of conversations: each has one token at position 0, and padding is at position 0 too."""
    if batch.segments is not None:
        return int((batch.segments > 0).sum())
    return int((batch.positions > 0).sum() + batch.tokens.shape[0])


def model_of(folder: Path, attention: str = "sdpa") -> Any:
    """The model of `folder`, in fp32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder / "model", dtype="float32", attn_implementation=attention)


def _with_lora(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))


def plan_of(folder: Path, settings: dict[str, Any], stage: int, packed: bool) -> Any:
    """The plan of a run in bf16 on one rank."""
    from tests.plans import tiny_plan

    architecture = json.loads((folder / "model" / "config.json").read_text())
    return tiny_plan(
        folder,
        stage=stage,
        model={"name": "benchmark", "init": "random", "architecture": architecture},
        data={"path": "demo", "packing": packed, "tokenizer": "demo"},
        sequence_length=settings["sequence"],
        micro_batch=settings["micro"],
        global_batch=settings["micro"] * settings["accumulation"],
        precision="bf16",
        optimizer={"lr": 1e-4, "weight_decay": 0.01},
        schedule={"name": "constant"},
    )


def _horizon() -> Any:
    from tunefleet.plan.horizon import Horizon

    return Horizon(total=1000, warmup=0, steps_per_epoch=1000)


def batches_of(folder: Path, plan: Any, packed: bool) -> Any:
    """The rows of `folder` in the order of a run."""
    from tunefleet.data.batches.order import OrderedBatches

    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    arrays = [(np.array(r["input_ids"], dtype=np.int32), np.array(r["completion_mask"], dtype=bool)) for r in rows]
    data = alpaca_lengths.dataset(arrays, plan.config.train.sequence_length, packed)
    return OrderedBatches(data, plan.batch, 0, seed=0, pad=1, packed=packed)


def lone_rank() -> dict[str, str]:
    """The environment of a process that trains alone, with one thread."""
    from tunefleet.launch.local import free_port

    return {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }


if __name__ == "__main__":
    main()
