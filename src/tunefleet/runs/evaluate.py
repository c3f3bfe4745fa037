"""Evaluation of a finished run: measures its exported model as the run itself did at its end."""

from __future__ import annotations

from typing import Any

from tunefleet.engine.plain_model import SingleProcess
from tunefleet.plan.plan import Plan
from tunefleet.runs import exported_model, run_summary, validation
from tunefleet.runs.chosen_checkpoint import LAST
from tunefleet.runs.inputs import load_inputs


def evaluate(plan: Plan, choice: str = LAST) -> tuple[dict[str, str], dict[str, Any], list[validation.Sample]]:
    """What is measured of the chosen checkpoint; losses and metrics of the answers of every validation split; answers.

    The exported model computes as it did in training: same precision, same rows, in one process.
    """
    model, inputs, group = exported_model.as_trained(plan, choice), load_inputs(plan), SingleProcess()
    record = validation.losses(plan, model, group, inputs)
    answered, samples = validation.of_answers(plan, model, group, inputs)
    return run_summary.evaluation_facts(plan, inputs), record | answered, samples
