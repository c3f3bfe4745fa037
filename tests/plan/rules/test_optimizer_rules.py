"""Is every optimizer refused where it would be another one, and every setting that it does not read named?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plan.deepspeed.test_offload import NO_CHECKPOINTS, card, complaint, plan
from tunefleet.config import RunConfig
from tunefleet.config.load import dump, load
from tunefleet.doors import compose
from tunefleet.plan import Machine, make
from tunefleet.plan.paths.model_files import sources
from tunefleet.plan.processes.layout import Layout
from tunefleet.plan.rules.optimizer_rules import eight_bit_size
from tunefleet.plan.rules.request import Request


@pytest.mark.parametrize("optimizer", ["muon", "adafactor"])
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_what_needs_whole_matrices_is_refused_on_parts(tmp_path: Path, optimizer: str, stage: int) -> None:
    said = complaint(tmp_path, {"name": f"zero{stage}", "zero_stage": stage}, optimizer={"name": optimizer})
    assert "needs whole matrices" in said
    assert said.endswith("Use parallel=ddp, or optimizer=adamw.")
    assert plan(tmp_path, {"name": "ddp"}, optimizer={"name": optimizer})


@pytest.mark.parametrize(("parallel", "gpus"), [("ddp", 0), ("zero2_offload", 4)])
def test_eight_bits_need_the_states_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parallel: str, gpus: int
) -> None:
    monkeypatch.setattr("tunefleet.plan.rules.optimizer_rules.find_spec", lambda name: True)
    eight = {"name": "adamw_8bit"}
    assert "GPU" in complaint(tmp_path, card(parallel), gpus, optimizer=eight)
    assert plan(tmp_path, card("zero2"), 4, optimizer=eight)
    monkeypatch.setattr("tunefleet.plan.rules.optimizer_rules.find_spec", lambda name: None)
    assert "pip install" in complaint(tmp_path, card("ddp"), 4, optimizer=eight)


@pytest.mark.parametrize(
    ("model", "gpus", "stage", "is_refused"),
    [
        ("llama-3.1-8b", 1, 2, True),
        ("llama-3.1-8b", 3, 1, True),
        ("llama-3.1-8b", 4, 2, False),
        ("llama-3.1-8b", 1, 3, False),
        ("opt-1.3b", 1, 2, False),
    ],
)
def test_eight_bits_count_in_32_bits(model: str, gpus: int, stage: int, is_refused: bool) -> None:
    """More elements of one tensor than that, and weights that are not updated, or updated with others' moments."""
    config = compose.from_overrides(
        [f"model={model}", "model.init=random", f"parallel=zero{stage}", "optimizer=adamw_8bit"]
    )
    source = sources(config.model, "demo").architecture
    request = Request(config, Layout(gpus, gpus, gpus, "cuda"), source)
    assert any("adamw_8bit holds at most 2.15e+09" in text for text in eight_bit_size(request)) == is_refused


def test_a_drive_takes_adam_only(tmp_path: Path) -> None:
    parallel = card("zero3_nvme", nvme_path="/scratch")
    said = complaint(tmp_path, parallel, 4, optimizer={"name": "lion"}, checkpoint=NO_CHECKPOINTS)
    assert "lion has not been tried" in said


@pytest.mark.parametrize(
    ("optimizer", "note"),
    [
        ({"name": "adamw", "momentum": 0.9}, "optimizer.momentum is not used by adamw."),
        ({"name": "sgd", "betas": [0.8, 0.9]}, "optimizer.betas is not used by sgd."),
        ({"name": "adafactor", "eps": 1e-3}, "optimizer.eps is not used by adafactor."),
        ({"name": "adamw", "cpu_kernel": "torch"}, "optimizer.cpu_kernel is not used: no optimizer states"),
    ],
)
def test_settings_that_are_not_read_are_named(tmp_path: Path, optimizer: dict[str, Any], note: str) -> None:
    assert note in "\n".join(plan(tmp_path, {"name": "ddp"}, optimizer=optimizer).notes)


def test_settings_that_are_read_are_not_named(tmp_path: Path) -> None:
    used = {"name": "muon", "momentum": 0.9, "betas": [0.8, 0.9], "eps": 1e-3}
    assert "not used" not in "\n".join(plan(tmp_path, {"name": "ddp"}, optimizer=used).notes)


def test_a_schedule_names_what_it_does_not_read(tmp_path: Path) -> None:
    notes = plan(tmp_path, {"name": "ddp"}, schedule={"name": "cosine", "decay": "20%", "power": 3.0}).notes
    assert {"schedule.decay is not used by cosine.", "schedule.power is not used by cosine."} <= set(notes)


@pytest.mark.parametrize(
    ("kernel", "compiler", "name", "parallel", "taken"),
    [
        ("auto", True, "adamw", "zero2_offload", True),
        ("auto", True, "adam", "zero3_offload", True),
        ("auto", False, "adamw", "zero2_offload", False),
        ("deepspeed", False, "adamw", "zero2_offload", True),  # built beforehand
        ("torch", True, "adamw", "zero2_offload", False),
        ("auto", True, "sgd", "zero2_offload", False),
        ("auto", True, "adamw", "zero2", False),
    ],
)
def test_what_computes_an_offloaded_adam(
    tmp_path: Path, kernel: str, compiler: bool, name: str, parallel: str, taken: bool
) -> None:
    values = dump(plan(tmp_path, card(parallel), optimizer={"name": name, "cpu_kernel": kernel}).config)
    made = make(load(RunConfig, values), Machine(cores=1, world_size=4, compiler=compiler))
    assert made.cpu_adam is taken
    assert any("DeepSpeed's CPU Adam computes" in note for note in made.notes) is taken


def test_another_kernel_is_another_run(tmp_path: Path) -> None:
    made = [
        plan(tmp_path, card("zero2_offload"), optimizer={"cpu_kernel": kernel}).identity
        for kernel in ("deepspeed", "torch", "auto")
    ]
    assert made[0] != made[1] == made[2]  # no compiler: auto is torch
    plain = [plan(tmp_path, {"name": "ddp"}, optimizer={"cpu_kernel": kernel}).identity for kernel in ("auto", "torch")]
    assert plain[0] == plain[1]


@pytest.mark.parametrize(("stage", "precision"), [(0, "bf16"), (2, "fp32"), (2, "fp16")])
def test_weights_without_masters_need_bf16_and_zero(tmp_path: Path, stage: int, precision: str) -> None:
    train = {"master_weights": False, "precision": precision}
    gpus = 4 if precision == "fp16" else 0
    said = complaint(tmp_path, {"name": "x", "zero_stage": stage}, gpus, train=train)
    assert "Use parallel=zero1 train.precision=bf16" in said
