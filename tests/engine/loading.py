"""What ranks do in the tests of loading: weights of a file under every stage, and the memory that it takes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import torch
from deepspeed.utils import safe_get_full_fp32_param
from safetensors.torch import load_file

from tests.plans import tiny_plan
from tunefleet.engine import masters, zero
from tunefleet.engine.group import join
from tunefleet.plan.horizon import Horizon
from tunefleet.runs import parts

STEPS = Horizon(4, 1, evaluate_every=0, save_every=0, steps_per_epoch=1)


def loaded(folder: Path, paths: list[str]) -> dict[str, dict[str, bool]]:
    """For every file, stage and precision: whether weights equal the file's, and masters do to the last bit."""
    torch.set_num_threads(1)
    group, found = join(), {}
    for path in paths:
        for stage, precision in ((0, "fp32"), (2, "bf16"), (3, "fp32"), (3, "bf16")):
            found[f"{Path(path).name}-{stage}-{precision}"] = _compare(folder, path, stage, precision, group)
    masters.Masters.set = lambda self: None  # type: ignore[method-assign]
    found["control"] = _compare(folder, paths[0], 3, "bf16", group)
    group.part()
    return found


def _compare(folder: Path, path: str, stage: int, precision: str, group: Any) -> dict[str, bool]:
    plan = tiny_plan(folder, {"name": "m", "path": path}, group.size, stage, precision=precision)
    engine = parts.strategy(plan, group, parts.model(plan, []), STEPS)
    file = load_file(Path(path) / "model.safetensors")
    same_masters = True
    for name, weight in engine.model.named_parameters():
        master = weight if stage == 0 else safe_get_full_fp32_param(weight)
        same_masters &= torch.equal(master.detach().float(), file[name].float())
    weights, to = engine.weights(), zero._DTYPES[plan.config.train.precision]
    same = weights is None or all(torch.equal(weights[name], value.to(to)) for name, value in file.items())
    engine.close()
    return {"weights": bool(same), "masters": bool(same_masters)}


def memory(folder: Path, argument: list[Any]) -> float:
    """MB that a rank takes at its peak, from before the model to a ready engine, for an adapter beside a bf16 model."""
    torch.set_num_threads(1)
    path, one_by_one = argument
    group = join()
    adapter = {"name": "lora", "rank": 2, "targets": ["q_proj"]}
    plan = tiny_plan(folder, {"name": "m", "path": path}, group.size, 3, precision="bf16", adapter=adapter)
    if not one_by_one:  # the control: what DeepSpeed does with a whole model
        zero.one_by_one = parts.one_by_one = lambda config: False
    before = _own_mb()
    with ThreadPoolExecutor(1) as pool:
        done = Event()
        peak = pool.submit(_peak, done)
        engine = parts.strategy(plan, group, parts.model(plan, []), STEPS)
        done.set()
    engine.close()
    group.part()
    return peak.result() - before


def _peak(done: Event) -> float:
    peak = 0.0
    while not done.wait(0.002):
        peak = max(peak, _own_mb())
    return peak


def _own_mb() -> float:
    """Memory of this process alone; pages of a mapped file belong to the machine, which takes them back."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))
