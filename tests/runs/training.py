"""What a rank of test_train.py does: trains a whole run and measures it again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from tunefleet.base import files, status
from tunefleet.doors.compose import from_overrides
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.plan import Machine, Plan, make
from tunefleet.runs import exported_model, validation
from tunefleet.runs.evaluate import open_run
from tunefleet.runs.inputs import load_inputs
from tunefleet.runs.train import train
from tunefleet.tracking import metrics

SMALL = ["data.max_rows=64", "data.validation_rows=6", "evaluation.generate_rows=2", "tracking=files"]
SMALL += ["train.micro_batch=2", "train.sequence_length=64", "evaluation.max_new_tokens=8", "train.max_steps=4"]
LEFT_OUT = (
    "torch._dynamo.utils",
    "torch.distributed.tensor",
    "sympy",
    "scipy.optimize",
    "peft",
)  # a plain run needs none


def planned(folder: Path, *overrides: str) -> Plan:
    """The plan of a small run of the demo, saved as its launcher would."""
    folders = [f"output_dir={folder}", f"data.cache={folder}/cache"]
    machine = Machine(cores=1, world_size=int(os.environ["WORLD_SIZE"]))
    plan = make(from_overrides([*SMALL, *folders, *overrides]), machine)
    plan.save()
    return plan


def followed(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Metrics and status of a run, and what is measured afterwards, as in training and in fp32."""
    plan = planned(folder, "name=run", *overrides)
    code = train(plan)
    final_status = status.read(plan.paths.status)
    report = {"code": code, "metrics": metrics.read(plan.paths.metrics), "step": final_status and final_status.step}
    for name in ("mine", "watched"):  # of tests/runs/own_project.py
        report[name] = list(files.read_records(plan.paths.root / f"{name}.jsonl"))
    report["run_dir"] = plan.run_dir
    report["imported"] = [name for name in LEFT_OUT if name in sys.modules]
    if os.environ["RANK"] == "0" and plan.paths.export.exists():
        measured, record, _ = open_run(plan).measure()
        plain = PlainModel(exported_model.exported_learner(plan, torch.float32))
        report |= {"measured": measured, "again": record, "loss": final_status and final_status.loss}
        report["in fp32"] = validation.losses(plan, plain, SingleProcess(), load_inputs(plan))
    return report
