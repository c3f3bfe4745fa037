"""In which dtype is an exported model used?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.plans import LLAMA, tiny_plan
from tunefleet.base import delivery
from tunefleet.base.errors import RunError
from tunefleet.plan import Machine
from tunefleet.runs import exported_model


@pytest.mark.parametrize(("half", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_processor_without_16_bit_products_uses_fp32(
    half: bool, expected: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny_plan(tmp_path, "llama")
    original = AutoModelForCausalLM.from_config(AutoConfig.for_model(**LLAMA)).to(torch.bfloat16)
    with delivery.staging(plan.paths.export) as staged:
        original.save_pretrained(staged)
        delivery.deliver(staged, plan.paths.export, {"merged": True})
    monkeypatch.setattr(Machine, "this", staticmethod(lambda: Machine(fast_bf16=half)))
    model = exported_model.in_own_dtype(plan).model
    assert model.dtype is expected
    for weight, saved_weight in zip(model.parameters(), original.parameters(), strict=True):
        assert torch.equal(weight.float(), saved_weight.float())
    (plan.paths.export / "model.safetensors").write_bytes(b"another")
    with pytest.raises(RunError, match=r"model\.safetensors: changed since it was saved"):
        exported_model.in_own_dtype(plan)
