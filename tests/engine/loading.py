"""What ranks do in the tests of loading: weights of a file under every stage, and the memory that it takes."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import torch
from deepspeed.utils import safe_get_full_fp32_param
from safetensors.torch import load_file

from tests.plans import tiny_plan
from tunefleet.engine import master_weights
from tunefleet.engine.dtypes import torch_dtype
from tunefleet.engine.group import join
from tunefleet.plan.families.tensor import shard_dimension
from tunefleet.plan.horizon import Horizon
from tunefleet.plan.plan import Plan
from tunefleet.runs.run_engine import engine_for
from tunefleet.runs.trainable_model import build_model

STRATEGIES: dict[str, dict[str, int]] = {
    "ddp": {"zero_stage": 0},
    "zero2": {"zero_stage": 2},
    "zero3": {"zero_stage": 3},
    "tensor": {"zero_stage": 1, "tensor": 2},
    "pipeline": {"zero_stage": 1, "pipeline": 2},
}
CASES = [("ddp", "fp32"), ("zero3", "fp32"), *((name, "bf16") for name in ("zero2", "zero3", "tensor", "pipeline"))]
EMBEDDING = "model.decoder.embed_tokens.weight"
STEPS = Horizon(4, 1, steps_per_epoch=1)


def loaded(folder: Path, paths: list[str]) -> dict[str, dict[str, bool]]:
    """For every file, stage and precision: whether weights equal the file's, and masters do to the last bit."""
    torch.set_num_threads(1)
    group, found = join(), {}
    for path in paths:
        for name, precision in CASES:
            found[f"{Path(path).name}-{name}-{precision}"] = _compare(folder, path, name, precision, group)
    master_weights.MasterWeights.set = lambda self: None  # type: ignore[method-assign]
    found["control"] = _compare(folder, paths[0], "zero3", "bf16", group)
    group.destroy()
    return found


def _compare(folder: Path, path: str, name: str, precision: str, group: Any) -> dict[str, bool]:
    parallel = {"name": name, **STRATEGIES[name]}
    plan = tiny_plan(folder, {"name": "m", "path": path}, group.size, parallel=parallel, precision=precision)
    engine = engine_for(plan, group, build_model(plan, None), STEPS)
    file = load_file(Path(path) / "model.safetensors")
    same_masters = True
    for weight_name, weight in engine.model.named_parameters():
        master = safe_get_full_fp32_param(weight) if parallel["zero_stage"] else weight
        given = file.get(weight_name, file[EMBEDDING]).float()  # a stage's copy of a tied one
        same_masters &= torch.equal(master.detach().float(), _own(given, weight_name, plan, group.rank))
    weights, to = engine.weights(), torch_dtype(plan.config.train.precision)
    same = weights is None or all(torch.equal(weights[name], value.to(to)) for name, value in file.items())
    engine.close()
    return {"weights": bool(same), "masters": bool(same_masters)}


def memory(folder: Path, argument: list[Any]) -> float:
    """MB that a rank takes at its peak, from before the model to a ready engine.

    Under ZeRO-3 for an adapter beside a bf16 model, so that nothing but weights is made.
    """
    torch.set_num_threads(1)
    importlib.import_module("torch.distributed.tensor")  # peft and meta tensors do: that is no weight
    path, name, one_by_one = argument
    group = join()
    groups: dict[str, Any] = {"parallel": {"name": name, **STRATEGIES[name]}}
    if name == "zero3":
        groups["adapter"] = {"name": "lora", "rank": 2, "targets": ["q_proj"]}
        groups["precision"] = "bf16"
    else:
        groups["parallel"]["zero_stage"] = 0
    plan = tiny_plan(folder, {"name": "m", "path": path}, group.size, **groups)
    if not one_by_one:  # the control: what DeepSpeed does with a whole model
        Plan.reads_one_by_one = property(lambda plan: False)  # type: ignore[method-assign,assignment]
    before = _own_mb()
    with ThreadPoolExecutor(1) as pool:
        done = Event()
        peak = pool.submit(_peak, done)
        engine = engine_for(plan, group, build_model(plan, None), STEPS)
        done.set()
    engine.close()
    group.destroy()
    return peak.result() - before


def _own(weight: torch.Tensor, name: str, plan: Plan, rank: int) -> torch.Tensor:
    """What this rank holds of a weight."""
    dim = shard_dimension(plan.sources.architecture, name) if plan.layout.tensor > 1 else None
    return weight if dim is None else weight.chunk(2, dim)[rank]


def _peak(done: Event) -> float:
    peak = 0.0
    while not done.wait(0.002):
        peak = max(peak, _own_mb())
    return peak


def _own_mb() -> float:
    """Memory of this process alone; pages of a mapped file belong to the machine, which takes them back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))
