"""Step record: what metrics.jsonl and every other tracker get of one optimizer step."""

from __future__ import annotations

import math
import time
from typing import Any

from tunefleet.contracts import RunState, StepResult
from tunefleet.engine.peak_memory import peak_gib, reserved_gib
from tunefleet.plan.plan import Plan


def step_record(
    plan: Plan, state: RunState, result: StepResult, steps_per_epoch: float, seconds: float
) -> dict[str, Any]:
    """The step's numbers, and the peak memory of this rank so far beside what the plan expects.

    `seconds` are those of all steps so far, waiting for data included.
    """
    refused = {"train/refused": result.refusal.reason} if result.refusal else {}
    measured = {"train/loss": result.loss, "train/gradient_norm": result.gradient_norm}
    expected = {"memory/expected_gib": plan.expected.peak} if plan.expected else {}
    return {
        "step": state.step,
        "time": time.time(),
        "epoch": round(state.step / steps_per_epoch, 6),
        "seconds": round(seconds, 6),
        "tokens": state.tokens,
        "loss_tokens": state.loss_tokens,
        **{key: value for key, value in measured.items() if math.isfinite(value)},  # JSON has no NaN
        **refused,
        "train/lr": result.lr,
        "train/tokens_per_second": result.tokens_per_second,
        "train/seconds": result.seconds,
        "train/data_seconds": result.data_seconds,
        "train/wall_seconds": result.wall_seconds,
        "train/skipped_steps": state.skipped,
        "train/refused_steps": state.refused,
        "memory/peak_gib": peak_gib(),
        **({} if (reserved := reserved_gib()) is None else {"memory/reserved_gib": reserved}),
        **expected,
    }
