"""Does a plan for GPUs pad to widths that their kernels like, and collate ahead, and one for CPUs neither?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.data.batches.collate import Widths
from tunefleet.runs.inputs import widths


@pytest.mark.parametrize(("device", "multiple", "ahead"), [("cuda", 64, 3), ("cpu", 1, 0)])
def test_the_device_of_the_plan_decides(tmp_path: Path, device: str, multiple: int, ahead: int) -> None:
    plan = tiny_plan(tmp_path, global_batch=12)
    plan = replace(plan, layout=replace(plan.layout, device=device))
    assert widths(plan) == Widths(multiple, 48)
    assert plan.collated_ahead == ahead
