"""Step record: what metrics.jsonl and every other tracker get of one optimizer step."""

from __future__ import annotations

import time
from typing import Any

from tunefleet.contracts import RunState, StepResult
from tunefleet.engine.peak_memory import peak_gib
from tunefleet.plan.plan import Plan


def step_record(plan: Plan, state: RunState, result: StepResult) -> dict[str, Any]:
    """The step's numbers, and the peak memory of this rank so far beside what the plan expects."""
    expected = {"memory/expected_gib": plan.expected.peak} if plan.expected else {}
    return {
        "step": state.step,
        "time": time.time(),
        "tokens": state.tokens,
        "loss_tokens": state.loss_tokens,
        "train/loss": result.loss,
        "train/gradient_norm": result.gradient_norm,
        "train/lr": result.lr,
        "train/tokens_per_second": result.tokens / result.seconds,
        "train/seconds": result.seconds,
        "train/skipped_steps": state.skipped,
        "memory/peak_gib": peak_gib(),
        **expected,
    }
