"""What ranks do in the tests of the engine: every ZeRO stage in one process group."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from tests.plans import tiny_plan
from tunefleet.data.batches.order import OrderedBatches, in_order
from tunefleet.engine.group import join
from tunefleet.evaluation.loss import mean_loss
from tunefleet.model import tokenizer
from tunefleet.model.export import export
from tunefleet.plan.paths.model_files import BUILT_IN_TOKENIZERS
from tunefleet.runs.trajectory import STEPS, engine, rows

TOKENS = [[5, 17, 3, 44, 60, 9, 31]]


def exported(folder: Path, argument: Any) -> list[str]:
    """Trains two steps at every stage and precision, exports, and keeps the logits that the engine computes."""
    torch.set_num_threads(1)
    group, names = join(), []
    words = tokenizer.load(str(BUILT_IN_TOKENIZERS["demo"]), "opt")
    for stage in (0, 1, 2, 3):
        for precision in ("fp32", "bf16") if stage else ("fp32",):
            name = f"stage{stage}-{precision}"
            plan = tiny_plan(folder, ranks=group.size, stage=stage, precision=precision, micro_batch=2)
            built = engine(plan, group)
            batches = OrderedBatches(rows(), plan.batch, group.rank, seed=3, pad=0, packed=True)
            for _ in range(2):
                built.train_step(batches.take(plan.batch.accumulation))
            with torch.no_grad():
                logits = built.model.eval()(input_ids=torch.tensor(TOKENS)).logits
            weights = built.weights()
            if weights is not None:
                export(folder / name, built.model, weights, words, "template")
                torch.save(logits, folder / f"{name}.pt")
            built.close()
            names.append(name)
    group.destroy()
    return names


def losses(folder: Path, argument: Any) -> dict[str, float]:
    """The validation loss at stages 0 and 3 over 13 rows, which no number of ranks divides."""
    group = join()
    found = {}
    for stage in (0, 3):
        plan = tiny_plan(folder, ranks=group.size, stage=stage)
        built = engine(plan, group)
        batches = in_order(rows(), 13, 2, group.rank, group.size, 0, packed=True)
        found[str(stage)] = mean_loss(built, group, batches)
        built.close()
    group.destroy()
    return found


def poisoned(folder: Path, argument: Any) -> dict[str, list[Any]]:
    """What each stage does with a NaN in the weights (a NaN loss), and with one in a gradient alone."""
    group = join()
    found: dict[str, list[Any]] = {}
    for stage in (0, 1, 2, 3):
        for where in ("loss", "gradient"):
            plan = tiny_plan(folder, ranks=group.size, stage=stage)
            built = engine(plan, group)
            if where == "loss":
                poison_loss(built)
            else:
                poison_gradient(built)
            batches = OrderedBatches(rows(), plan.batch, group.rank, seed=3, pad=0, packed=True)
            refusal = built.train_step(batches.take(plan.batch.accumulation)).refusal
            found[f"{where}-stage{stage}"] = [refusal.reason if refusal else "applied"]
    group.destroy()
    return found


def half(folder: Path, argument: Any) -> list[list[float]]:
    """[losses, skipped] of twenty steps in fp16 with loss scaling, one of which overflows."""
    group = join()
    plan = tiny_plan(folder, precision="fp16")
    built = engine(plan, group)
    batches = OrderedBatches(rows(), plan.batch, 0, seed=3, pad=0, packed=True)
    results = []
    for step in range(STEPS):
        handle = poison_gradient(built) if step == 4 else None
        results.append(built.train_step(batches.take(1)))
        if handle is not None:
            handle.remove()
    built.close()
    group.destroy()
    return [[r.loss for r in results], [float(r.skipped) for r in results]]


def poison_loss(built: Any) -> None:
    head = built.model.get_output_embeddings()
    head.register_forward_hook(lambda module, inputs, output: output * math.nan)


def poison_gradient(built: Any) -> Any:
    """The forward pass stays right; one gradient becomes infinite on its way back."""

    def spoil(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if output.requires_grad:
            output.register_hook(lambda gradient: gradient * math.inf)
        return output

    return built.model.get_output_embeddings().register_forward_hook(spoil)
