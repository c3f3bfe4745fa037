"""Is MFU the model's arithmetic over the peak, as it is worked out by hand, and is it said what the peak is?"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from tests.plans import LLAMA, tiny_plan
from tunefleet.contracts import StepResult
from tunefleet.engine.peak_speed import measured_tflops
from tunefleet.runs.efficiency import Efficiency

STEP = StepResult(1.0, 1.0, 1e-3, tokens=960, loss_tokens=5, skipped=False, seconds=0.5)


def test_mfu_is_of_the_peak_that_is_stated(tmp_path: Path) -> None:
    """6 FLOPs for each weight in a product and token, 12 L H Q T for attention (PaLM, appendix B)."""
    plan = tiny_plan(tmp_path, "llama", ranks=2, tracking={"wandb": "disabled", "peak_tflops": 0.25})
    hidden, ffn, layers, vocab, length, key_values = 32, LLAMA["intermediate_size"], 2, 97, 48, 16
    block = 2 * hidden * hidden + 2 * hidden * key_values + 3 * hidden * ffn + 2 * hidden  # and two norms
    weights = layers * block + hidden + vocab * hidden
    flops = 6 * weights + 12 * layers * hidden * length
    efficiency = Efficiency(plan)
    assert efficiency.mfu(STEP)["train/mfu"] == pytest.approx(960 * flops / 0.5 / (2 * 0.25e12), rel=0.01)
    assert efficiency.legend == {"MFU": "of 0.25 TFLOP/s for each process, as tracking.peak_tflops says"}


def test_without_a_stated_peak_it_is_measured_on_a_cpu_and_said(tmp_path: Path) -> None:
    efficiency = Efficiency(tiny_plan(tmp_path))
    assert efficiency.legend["MFU"].endswith(" TFLOP/s for each process, as measured here")
    assert 0 < efficiency.mfu(STEP)["train/mfu"] < 1


def test_a_measured_peak_is_that_of_a_machine() -> None:
    assert 1e-4 < measured_tflops(torch.float32, torch.device("cpu")) < 100


def test_a_machine_that_others_use_has_the_same_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that waits for its CPU has not become slower: by the clock on the wall, this peak would be 0.009."""
    multiply = torch.Tensor.__matmul__

    def late(matrix: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        time.sleep(0.1)
        return multiply(matrix, factor)

    threads = torch.get_num_threads()
    alone = measured_tflops(torch.float32, torch.device("cpu"))
    monkeypatch.setattr(torch.Tensor, "__matmul__", late)
    busy = measured_tflops(torch.float32, torch.device("cpu"))
    assert busy > max(0.3 * alone, 2 * 768**3 / 0.1 / 1e12)
    assert torch.get_num_threads() == threads


def test_a_family_that_is_not_counted_has_none(tmp_path: Path) -> None:
    sizes = {"model_type": "rwkv", "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2}
    model = {"name": "rwkv", "init": "random", "architecture": sizes}
    plan = tiny_plan(
        tmp_path, model, data={"packing": False, "path": str(tmp_path / "rows.jsonl"), "tokenizer": "demo"}
    )
    assert (Efficiency(plan).legend, Efficiency(plan).mfu(STEP)) == ({}, {})
