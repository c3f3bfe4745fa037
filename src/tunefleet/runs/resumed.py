"""Does a run go on as it was saved: with its chat template, and where sums are added in the same order?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tunefleet.base import files
from tunefleet.base.errors import RunError
from tunefleet.plan.plan import Plan

CHAT_TEMPLATE = "chat_template.jinja"  # in every checkpoint; transformers calls it so in an export
MACHINE = "machine.json"  # in every checkpoint


def machine(plan: Plan) -> dict[str, Any]:
    """What decides in which order numbers are added, and so the last bits of a sum."""
    on_gpu = plan.layout.device == "cuda"
    return {
        "CPU threads": torch.get_num_threads(),
        "processes": plan.layout.world_size,
        "versions of torch": str(torch.__version__),
        "devices": torch.cuda.get_device_name() if on_gpu else f"CPU with {torch.backends.cpu.get_cpu_capability()}",
    }


def texts(plan: Plan, template: str) -> dict[str, str]:
    """The small files of a checkpoint."""
    return {CHAT_TEMPLATE: template, MACHINE: json.dumps(machine(plan), indent=2) + "\n"}


def expect_template(checkpoint: Path | None, template: str) -> None:
    """Raises `RunError` where the checkpoint that a run goes on from was trained with another chat template."""
    saved = (checkpoint or Path()) / CHAT_TEMPLATE
    if checkpoint and saved.exists() and saved.read_text(encoding="utf-8") != template:
        raise RunError(
            f"{saved}: the run was trained with this chat template, and data.template gives another one now. "
            "Put the template back, or start a new run with name=ANOTHER."
        )


def notes(checkpoint: Path | None, plan: Plan) -> list[str]:
    """What is said where a run goes on, and not as the checkpoint was computed."""
    if checkpoint is None:
        return []
    try:
        then = files.read_json(checkpoint / MACHINE)
    except (OSError, ValueError):  # of an older version
        return []
    now = machine(plan)
    changed = [f"{key} were {then[key]} and are {now[key]}" for key in now if then.get(key, now[key]) != now[key]]
    if not changed:
        return []
    threads = then.get("CPU threads", now["CPU threads"])
    back = f" train.threads={threads} keeps their number." if threads != now["CPU threads"] else ""
    return [f"{'; '.join(changed)}: sums differ in their last bits from those of a run that was not interrupted.{back}"]
