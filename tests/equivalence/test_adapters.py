"""Do adapters and partly frozen models train as plain peft does, resume, and leave as they were trained?

Tolerances as in test_one_rank: fp32 1e-5 for losses; bf16 3 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.equivalence import adapters
from tests.equivalence.adapters import HALFWAY, KINDS, STEPS, TOKENS, Case, plan_of
from tests.ranks import run_in_ranks

CASES: list[Case] = [
    ("lora", "opt", 0, "fp32"),
    ("lora", "opt", 1, "fp32"),
    ("lora", "opt", 2, "fp32"),
    ("lora", "opt", 3, "fp32"),
    ("lora", "llama", 3, "bf16"),
    ("rslora of two layers", "llama", 2, "fp32"),
    ("dora", "llama", 3, "fp32"),
    ("recomputed", "llama", 3, "fp32"),
    ("lora+", "opt", 2, "fp32"),  # adapter.lr_ratio_b
    ("frozen", "opt", 2, "fp32"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    results = run_in_ranks("tests.equivalence.adapters:all_cases", 2, folder, CASES)[0]
    return {
        case: {**result, "folder": folder / "-".join(map(str, case))}
        for case, result in zip(CASES, results, strict=True)
    }


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, list[float]]]:
    folder = tmp_path_factory.mktemp("plain")
    pairs = {(kind, model) for kind, model, *_ in CASES}
    return {(kind, m): adapters.plain(plan_of(folder, (kind, m, 0, "fp32"), 1)) for kind, m in pairs}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_follows_plain_peft(case: Case, trained: dict[Case, dict[str, Any]], reference: dict[Any, Any]) -> None:
    followed, expected = trained[case], reference[case[0], case[1]]
    tolerance = 1e-5 if case[3] == "fp32" else 0.03
    np.testing.assert_allclose(followed["losses"], expected["losses"], rtol=tolerance)
    np.testing.assert_allclose(followed["norms"], expected["norms"], rtol=tolerance * 5)
    if case[3] == "fp32":
        largest = np.abs(expected["weights"]).max()
        np.testing.assert_allclose(followed["weights"], expected["weights"], atol=1e-4 * largest, rtol=0)
    assert expected["losses"][-1] < expected["losses"][0] - 0.01


@pytest.mark.parametrize("case", CASES, ids=str)
def test_resumes_bit_equal_from_a_checkpoint_without_frozen_weights(
    case: Case, trained: dict[Case, dict[str, Any]]
) -> None:
    results = trained[case]
    assert results["resumed"] == results["losses"][HALFWAY:]
    assert results["same weights"]
    assert len(results["losses"]) == STEPS


@pytest.mark.parametrize("case", adapters.OTHER_BASE, ids=str)
def test_a_checkpoint_refuses_other_frozen_weights(case: Case, trained: dict[Case, dict[str, Any]]) -> None:
    assert trained[case]["refusal"].startswith(str(trained[case]["folder"]))
    assert "trained beside other frozen weights" in trained[case]["refusal"]


def test_checkpoints_hold_what_learns(trained: dict[Case, dict[str, Any]]) -> None:
    """LoRA of rank 4 on the tiny OPT: 7,168 weights with two moments and a master, besides 20,000 frozen ones."""
    for stage in (0, 1, 2, 3):
        sizes = trained["lora", "opt", stage, "fp32"]["bytes"]
        assert sizes < 7168 * 16 + 2 * 35_000  # DeepSpeed's own records are 35 kB a rank here


@pytest.mark.parametrize("case", [case for case in CASES if "adapter" in KINDS[case[0]]], ids=str)
def test_both_exports_give_the_logits_of_training(case: Case, trained: dict[Case, dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    folder = trained[case]["folder"]
    logits = torch.load(folder / "logits.pt")
    exported = AutoModelForCausalLM.from_pretrained(folder / "whole", dtype="auto")
    base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype="auto")
    beside = PeftModel.from_pretrained(base, str(folder / "adapter"), autocast_adapter_dtype=False)
    tolerance = 2e-6 if case[3] == "fp32" else 2**-6  # merged weights are rounded once more: 8 bits of mantissa
    for model in (exported, beside):
        with torch.no_grad():
            results = model.eval()(input_ids=torch.tensor(TOKENS)).logits
        assert results.dtype == logits.dtype
        assert float((results - logits).abs().max()) <= tolerance
