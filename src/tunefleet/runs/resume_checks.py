"""Resume checks: whether the chat template and the order of sums are those of the checkpoint."""

from __future__ import annotations

from pathlib import Path

from tunefleet.base import files
from tunefleet.base.errors import RunError
from tunefleet.plan.plan import Plan
from tunefleet.runs.checkpoint_files import CHAT_TEMPLATE, MACHINE, machine


def expect_template(checkpoint: Path | None, template: str) -> None:
    """Raises `RunError` where the checkpoint that a run resumes from was trained with another chat template."""
    saved = (checkpoint or Path()) / CHAT_TEMPLATE
    if checkpoint and saved.exists() and files.read_text(saved) != template:
        raise RunError(
            f"{saved}: the run was trained with this chat template, and data.template gives another one now. "
            "Put the template back, or start a new run with name=ANOTHER."
        )


def notes(checkpoint: Path | None, plan: Plan) -> list[str]:
    """What the user should know where a run resumes, and not as the checkpoint was computed."""
    if checkpoint is None:
        return []
    try:
        saved = files.read_json(checkpoint / MACHINE)
    except (OSError, ValueError):  # of an older version
        return []
    current = machine(plan)
    changed = [
        f"{key} were {saved[key]} and are {current[key]}"
        for key in current
        if saved.get(key, current[key]) != current[key]
    ]
    if not changed:
        return []
    threads = saved.get("CPU threads", current["CPU threads"])
    advice = f" train.threads={threads} keeps their number." if threads != current["CPU threads"] else ""
    return [
        f"{'; '.join(changed)}: sums differ in their last bits from those of a run that was not interrupted.{advice}"
    ]
