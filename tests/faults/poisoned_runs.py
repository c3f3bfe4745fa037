"""What ranks do in the tests of whole runs whose weights have a NaN for one rare token, which one row contains."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tests.runs.rungs import STEPS
from tests.runs.training import planned
from tunefleet.base import status, sweep_requests
from tunefleet.base.errors import TunefleetError
from tunefleet.base.failures import cause_of
from tunefleet.contracts import MicroBatch, StepResult, UpdateRule
from tunefleet.engine.group import ProcessGroup
from tunefleet.engine.zero import ZeroEngine
from tunefleet.model import tokenizer
from tunefleet.plan import Plan
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import BUILT_IN_TOKENIZERS, Sources
from tunefleet.runs.train import train
from tunefleet.tracking import metrics

RARE = "~"
ROWS = 20
POISONED_ROW = 17
SETTINGS = [
    "data=jsonl",
    "model=hf",
    "data.template=plain",
    *STEPS,
    "train.max_steps=5",
    "train.global_batch=4",
    "data.packing=false",
    "data.validation_rows=0",
]
SETTINGS += ["optimizer.lr=1e-2", "train.precision=fp32", "schedule.warmup=0", "train.seed=4", "data.max_rows=null"]


def write_inputs(folder: Path) -> None:
    """Rows, one of them with the rare token, and a model whose embedding of it is NaN."""
    rows = [{"prompt": f"count to {n}", "completion": f"{' '.join(map(str, range(n)))}"} for n in range(2, 2 + ROWS)]
    rows[POISONED_ROW - 1]["prompt"] += f" {RARE}"
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = tokenizer.load(str(BUILT_IN_TOKENIZERS["demo"]), "llama")
    [number] = words(RARE, add_special_tokens=False)["input_ids"][-1:]
    _poison(folder / "model", words, number)


def typed_for(folder: Path) -> list[str]:
    """What a user types for them."""
    return [f"data.path={folder}/rows.jsonl", f"model.path={folder}/model", *SETTINGS]


def _poison(folder: Path, words: Any, token: int) -> None:
    from tests.plans import LLAMA
    from tunefleet.model.build import build

    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    shape = {**LLAMA, **ids, "vocab_size": len(words), "max_position_embeddings": 128}
    model = build(Sources(None, "", Architecture(shape)), 0)
    with torch.no_grad():
        model.get_input_embeddings().weight[token] = math.nan
    model.save_pretrained(folder)
    words.save_pretrained(folder)


_taken: list[list[list[list[int]]]] = []
_train_step = ZeroEngine.train_step


def train_and_remember(engine: ZeroEngine, micro_batches: Sequence[MicroBatch], rule: UpdateRule) -> StepResult:
    """Trains, and remembers the tokens of each sequence of each micro-batch, as the engine gets them."""
    _taken.append([batch.tokens.tolist() for batch in micro_batches])
    return _train_step(engine, micro_batches, rule)


def story(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Runs that stop, skip and go back, and how two of them stand after step 4."""
    ZeroEngine.train_step = train_and_remember  # type: ignore[assignment,method-assign]
    ProcessGroup.destroy = ProcessGroup.barrier  # type: ignore[method-assign]  # DeepSpeed joins once in a process
    typed = [*shared_inputs(folder), *overrides]
    report = {name: trained(planned(folder, f"name={name}", *typed, policy)) for name, policy in POLICIES.items()}
    for name in ("skip", "rewind"):
        half = planned(folder, f"name=half-{name}", *typed, POLICIES[name])
        sweep_requests.set_rung(half.paths, 4)
        report[f"half-{name}"] = trained(half)
    return report


def shared_inputs(folder: Path) -> list[str]:
    """What rank 0 writes; the others wait for it."""
    if os.environ["RANK"] == "0":
        write_inputs(folder)
        (folder / "written").touch()
    while not (folder / "written").exists():
        time.sleep(0.02)
    return typed_for(folder)


POLICIES = {name: f"train.on_non_finite={name}" for name in ("stop", "skip", "rewind")}


def finished(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """The halves, trained on to their end by this number of ranks."""
    ZeroEngine.train_step = train_and_remember  # type: ignore[assignment,method-assign]
    ProcessGroup.destroy = ProcessGroup.barrier  # type: ignore[method-assign]
    typed = [*typed_for(folder), *overrides]
    report = {}
    for name in ("skip", "rewind"):
        half = planned(folder, f"name=half-{name}", *typed, POLICIES[name])
        sweep_requests.set_rung(half.paths, 5)
        report[name] = trained(half)
    return report


def trained(plan: Plan) -> dict[str, Any]:
    """How a run ended, and what it left; `taken` is what each call of the engine got."""
    _taken.clear()
    try:
        code, error = train(plan), ""
    except TunefleetError as failure:
        code, error = failure.exit_code, f"{cause_of(failure).value}: {failure}"
    now = status.read(plan.paths.status)
    assert now
    path = plan.paths.batches
    return {
        "code": code,
        "error": error,
        "step": now.step,
        "refused": now.refused,
        "taken": list(_taken),
        "metrics": metrics.read(plan.paths.metrics),
        "batches": [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else [],
        "checkpoints": sorted(path.name for path in plan.paths.checkpoints.glob("step-*")),
    }
