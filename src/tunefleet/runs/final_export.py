"""Final export: written and verified by rank 0 at the end of a training, while the other ranks wait."""

from __future__ import annotations

from typing import Any

from tunefleet.base import delivery
from tunefleet.base.errors import ExportError, TunefleetError
from tunefleet.contracts import Engine, RunState
from tunefleet.engine.group import ProcessGroup
from tunefleet.plan.plan import Plan
from tunefleet.runs import export_format, verify_export
from tunefleet.runs.checkpoint_export import WAIT
from tunefleet.runs.inputs import RunInputs

_EXAMPLES = 8  # prompts of the validation data whose tokens are compared


def export(plan: Plan, group: ProcessGroup, engine: Engine, inputs: RunInputs, state: RunState) -> Any:
    """On rank 0 what was compared (for the console), or the `ExportError`; None elsewhere. Collective.

    An error of rank 0 is returned instead of raised: whatever it is, what was trained is saved first.
    """
    weights = engine.weights()
    reason, model = verify_export.why_no_logits(plan), engine.model
    config: Any = model.config
    rows = verify_export.sample_rows(inputs.tokenizer, config.get_text_config().vocab_size)
    logits = None if reason else verify_export.logits_of(engine, rows)
    prompts = [example.prompt for data in inputs.data.validation.values() for example in data.examples[:_EXAMPLES]]
    expected = export_format.expected(
        plan, inputs.tokenizer, inputs.data.template, prompts, rows=rows, logits=logits, no_logits=reason
    )

    def write() -> dict[str, str] | ExportError:
        assert weights is not None
        try:
            with delivery.staging(plan.paths.export, WAIT) as staged:
                export_format.stage(plan, staged, model, weights, inputs.tokenizer, inputs.data.template)
                return export_format.verify_and_deliver(plan, staged, plan.paths.export, state, expected)
        except Exception as error:
            return failure(plan, state, error)

    return group.wait_for_first(write)


def failure(plan: Plan, state: RunState, error: Exception) -> ExportError:
    """Says what is saved, what went wrong and what to do, with `error` as its cause."""
    reason = str(error) if isinstance(error, TunefleetError) else f"{type(error).__name__}: {error}"
    export_error = ExportError(
        f"{plan.name} is trained and saved at step {state.step}, and its export failed: {reason}. "
        f"Write it again with `tunefleet export {plan.name}`."
    )
    export_error.__cause__ = error
    return export_error
