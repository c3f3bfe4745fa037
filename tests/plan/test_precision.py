"""Is a run's number format one that its machine computes with, and is a slow one told?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plan.test_make import planned
from tunefleet.plan import Machine, Plan
from tunefleet.plan.processes.machine import _fast_bf16

__all__ = ["planned"]  # the fixture
Planned = Callable[..., Plan]
OLD = Machine(cores=2, fast_bf16=False)


@pytest.mark.parametrize(
    ("machine", "chosen"), [(Machine(), "bf16"), (OLD, "fp32"), (Machine(gpus=1, fast_bf16=False), "bf16")]
)
def test_auto_is_what_the_machine_computes_with(machine: Machine, chosen: str, planned: Planned) -> None:
    plan = planned(machine)
    assert plan.config.train.precision.value == chosen
    assert any("train.precision=auto is fp32: this CPU" in note for note in plan.notes) == (chosen == "fp32")
    assert plan.identity == planned(Machine(gpus=machine.gpus), train={"precision": chosen}).identity


@pytest.mark.parametrize(("kind", "chosen"), [("V100-32G", "fp16"), ("T4-16G", "fp16"), ("A100-80G", "bf16")])
def test_auto_on_a_gpu_is_what_it_multiplies(kind: str, chosen: str, planned: Planned) -> None:
    """torch emulates bf16 on a V100, several times slower, and says nothing."""
    plan = planned(Machine(gpus=1), plan={"machine": f"1x{kind}"})
    assert plan.config.train.precision.value == chosen
    assert any("auto is fp16: this GPU does not multiply bf16" in note for note in plan.notes) == (chosen == "fp16")
    typed = planned(Machine(gpus=1), plan={"machine": f"1x{kind}"}, train={"precision": "bf16"})
    assert any("does not multiply bf16, and the run will end" in note for note in typed.notes) == (chosen == "fp16")


def test_sums_of_gradients_are_said_to_be_fp32(planned: Planned) -> None:
    def says(gpus: int, stage: int) -> bool:
        plan = planned(Machine(gpus=gpus), parallel={"name": f"zero{stage}", "zero_stage": stage})
        return any("gradients are summed over 8 GPUs in fp32" in note for note in plan.notes)

    assert [says(gpus, stage) for gpus, stage in ((8, 2), (1, 2), (8, 0), (0, 2))] == [True, False, False, False]


def test_fp32_on_a_gpu_says_what_it_costs(planned: Planned) -> None:
    notes = planned(Machine(gpus=1), train={"precision": "fp32"}).notes
    assert any("true fp32 on a GPU (no TF32)" in note for note in notes)


def test_a_format_that_was_asked_for_is_kept_and_its_price_told(planned: Planned) -> None:
    plan = planned(OLD, train={"precision": "bf16"})
    assert plan.config.train.precision.value == "bf16"
    assert any("train.precision=bf16 will be slow" in note for note in plan.notes)
    assert planned(OLD, train={"precision": "fp32"}).notes == planned(Machine(), train={"precision": "fp32"}).notes


def test_a_job_s_processors_are_taken_to_be_like_this_one(planned: Planned) -> None:
    job: dict[str, Any] = {"name": "slurm", "time": "1h", "processes": 1}
    assert planned(OLD, launch=job).config.train.precision.value == "fp32"
    assert planned(OLD, launch={**job, "processes": None, "gpus_per_node": 1}).config.train.precision.value == "bf16"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("model name\t: EPYC\nflags\t\t: fpu sse2 avx2 fma\n", False),
        ("flags\t\t: fpu avx2 avx512f avx512bw avx512vl avx512dq\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("Features\t: fp asimd\n", False),
        ("", False),
    ],
)
def test_what_a_processor_says_of_itself(told: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(told)
    assert _fast_bf16(tmp_path / "cpuinfo") is expected
    assert _fast_bf16(tmp_path / "missing") is False
