"""Does an export that fails say what is saved, why, and how to write it again?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base.errors import ExportError
from tunefleet.contracts import RunState
from tunefleet.runs.final_export import failure


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError("no space left"), "OSError: no space left"), (ExportError("its logits are 2 apart"), "its logits are 2")],
)
def test_the_message_has_the_step_the_reason_and_the_command(tmp_path: Path, error: Exception, reason: str) -> None:
    plan = tiny_plan(tmp_path)
    failed = failure(plan, RunState(step=40), error)
    assert f"{plan.name} is trained and saved at step 40, and its export failed: {reason}" in str(failed)
    assert f"`tunefleet export {plan.name}`" in str(failed)
    assert failed.__cause__ is error
