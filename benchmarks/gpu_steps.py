"""Steps of benchmarks/gpu.sh: how many useful tokens a second, and with how much memory; and the rival's."""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_tools import GIB, matmul_tflops, plan_of, this_device, used_gib, version_of, wait

SENTENCES = (24, 1024)  # tokens of a conversation: from, to


def steps(spec: dict[str, Any]) -> dict[str, Any]:
    """Optimizer steps of a plan with random weights, over packed conversations of random tokens."""
    plan = plan_of(spec["overrides"])
    for key in ("overlap_comm",) if spec.get("no_overlap") else ():
        plan.engine["zero_optimization"].pop(key, None)
    if spec.get("bf16_sums"):
        plan.engine.pop("communication_data_type", None)
    import torch

    from tunefleet.engine.group import join
    from tunefleet.engine.peak_memory import peak_gib, reserved_gib
    from tunefleet.plan.choose.auto import estimate
    from tunefleet.plan.estimate.gpus import Cluster

    group = join()
    engine, batches = _built(plan, group)
    start_peak, before = peak_gib(), matmul_tflops()
    take = _timed_step(plan, engine, batches)
    losses = [take()[2] for _ in range(1 if spec["dry"] else 3)]
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    rows: list[tuple[float, tuple[int, int], float]] = []
    seconds = 0.0
    while len(rows) < (2 if spec["dry"] else 6) or (seconds < 5 and not spec["dry"] and len(rows) < 60):
        rows.append(take())
        seconds += rows[-1][0]
    useful, computed = (sum(row[1][kind] for row in rows) * plan.layout.data_parallel for kind in (0, 1))
    speed = estimate(plan.config, plan.layout, plan.sources.architecture, Cluster("")).speed
    matmul = (before + matmul_tflops()) / 2
    flops = speed.flops / speed.tokens * useful / seconds / plan.layout.world_size
    result = {
        "useful_tokens_per_s": useful / seconds,
        "share_of_matmul": flops / (matmul * 1e12),
        "matmul_tflops": matmul,
        "padding": 1 - useful / computed,
        "step_s": seconds / len(rows),
        "allocated_gib": peak_gib(),
        "reserved_gib": reserved_gib(),
        "expected_gib": plan.expected.peak if plan.expected else None,
        "start_gib": start_peak,
        "used_gib": used_gib(),
        "loss": rows[-1][2],
    }
    assert all(math.isfinite(loss) for loss in [*losses, *(row[2] for row in rows)]), "a loss is not finite"
    return {**result, **(_watched(take) if spec.get("watched") else {})}


def rival(spec: dict[str, Any]) -> dict[str, Any]:
    """TRL's SFTTrainer with packing, and Liger's kernels where they are installed: the same model, length, rows."""
    plan = plan_of([f"model={spec['model']}", "model.init=random", "data=demo", "data.tokenizer=demo"])
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found]

    from tunefleet.model.configuration import configuration

    class Clock(TrainerCallback):  # type: ignore[misc]
        times: list[float] = []  # noqa: RUF012

        def on_step_end(self, *arguments: Any, **named: Any) -> None:
            torch.cuda.synchronize()
            self.times.append(time.perf_counter())

    with torch.device(this_device()):
        model = AutoModelForCausalLM.from_config(configuration(plan.sources), dtype=torch.bfloat16)
    rows = [{"input_ids": tokens.tolist()} for tokens in _conversations(spec["length"], 16 * spec["micro"])]
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        max_length=spec["length"],
        packing=True,
        per_device_train_batch_size=spec["micro"],
        max_steps=12,
        bf16=True,
        report_to="none",
        save_strategy="no",
        gradient_checkpointing=False,
        use_liger_kernel=bool(version_of("liger-kernel")),
        dataset_kwargs={"skip_prepare_dataset": False},
    )
    trainer = SFTTrainer(model=model, args=config, train_dataset=Dataset.from_list(rows))
    trainer.train()
    pace = (Clock.times[-1] - Clock.times[3]) / (len(Clock.times) - 4) if Clock.times else 0.0
    tokens = spec["length"] * spec["micro"]
    return {"tokens_per_s": tokens / pace if pace else None, "allocated_gib": torch.cuda.max_memory_allocated() / GIB}


def _built(plan: Any, group: Any) -> tuple[Any, Any]:
    """The engine, its weights drawn on the device, and its batches."""
    import torch

    from tunefleet.data.batches.order import OrderedBatches
    from tunefleet.plan.horizon import Horizon
    from tunefleet.runs.inputs import widths
    from tunefleet.runs.run_engine import engine_for
    from tunefleet.runs.trainable_model import build_model

    with torch.device(group.device):
        model = build_model(plan, None)
    if plan.config.parallel.zero_stage:
        model.to(torch.bfloat16)  # or fp32 copies for exact master weights would be kept on the host
    engine = engine_for(plan, group, model, Horizon(1000, 10, steps_per_epoch=1000))
    data, rank = _packed(plan), plan.layout.data_rank(group.rank)
    settings = {"packed": plan.config.data.packing, "widths": widths(plan), "ahead": plan.collated_ahead}
    return engine, OrderedBatches(data, plan.batch, rank, seed=0, pad=1, **settings)


def _timed_step(plan: Any, engine: Any, batches: Any) -> Callable[[], tuple[float, tuple[int, int], float]]:
    """(seconds, (useful, computed) tokens of this rank, loss) of each step that is taken, data included."""

    def take() -> tuple[float, tuple[int, int], float]:
        wait()
        began = time.perf_counter()
        taken = batches.take(plan.batch.accumulation)
        loss = engine.train_step(taken).loss
        wait()
        seconds = time.perf_counter() - began
        useful = sum(int((batch.tokens != 1).sum()) for batch in taken)
        return seconds, (useful, sum(batch.tokens.numel() for batch in taken)), loss

    return take


def _packed(plan: Any, rows: int = 400) -> Any:
    """Conversations of random tokens, the second half of each in the loss, packed where the plan packs."""
    from tunefleet.data.store.dataset import Card, Dataset
    from tunefleet.data.store.packing import pack

    length = plan.config.train.sequence_length
    tokens = list(_conversations(length, rows * (1 + length // 2048)))
    sizes = [len(part) for part in tokens]
    loss_mask = np.concatenate([np.arange(size) >= size // 2 for size in sizes])
    packs = pack(sizes, length) if plan.config.data.packing else [[number] for number in range(len(sizes))]
    card = Card("train", len(sizes), len(packs), sum(sizes), int(loss_mask.sum()), 0, 0, max(sizes), length)
    starts, bounds = np.cumsum([0, *sizes]), np.cumsum([0] + [len(pack) for pack in packs])
    return Dataset(card, np.concatenate(tokens), loss_mask, starts, np.concatenate(packs), bounds, [])


def _conversations(length: int, count: int) -> Iterator[Any]:
    """Token ids below those of any vocabulary here; 1 is padding."""
    random = np.random.default_rng(0)
    most = min(length, SENTENCES[1])
    for size in random.integers(min(SENTENCES[0], most // 2), most + 1, size=count):
        yield random.integers(4, 250, size=int(size)).astype(np.int32)


def _watched(take: Callable[[], Any]) -> dict[str, Any]:
    """How often a step waits for the GPU; the kernels that take longest are printed to the log."""
    import torch

    if not torch.cuda.is_available():
        return {}
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        take()
    torch.cuda.set_sync_debug_mode("default")
    with torch.profiler.profile() as profile:
        take()
    print(profile.key_averages().table(sort_by="cuda_time_total", row_limit=15))
    places = sorted({f"{Path(warning.filename).name}:{warning.lineno}" for warning in caught})
    return {"waits": len(caught), "waits_in": dict.fromkeys(places, 1)}
