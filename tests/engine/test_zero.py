"""Does the engine hand over what it trained, measure the same on any number of ranks, and stop on a NaN?"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.stages import TOKENS
from tests.ranks import run_in_ranks

LOAD = """
import sys, torch, json
from transformers import AutoModelForCausalLM
torch.set_num_threads(1)  # as in the ranks: another number of threads sums in another order
differences = {}
for name in sys.argv[2:]:
    model = AutoModelForCausalLM.from_pretrained(f"{sys.argv[1]}/{name}", dtype="auto", attn_implementation="sdpa")
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(%s)).logits
    kept = torch.load(f"{sys.argv[1]}/{name}.pt")
    assert logits.dtype == kept.dtype, (logits.dtype, kept.dtype)
    differences[name] = float((logits - kept).abs().max())
print(json.dumps(differences))
"""


def test_exports_of_every_stage_give_equal_logits_in_a_new_process(tmp_path: Path) -> None:
    names = run_in_ranks("tests.engine.stages:exported", 2, tmp_path)[0]
    command = [sys.executable, "-c", LOAD % TOKENS, str(tmp_path), *names]
    differences = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert set(differences) == {"stage0-fp32"} | {f"stage{s}-{p}" for s in (1, 2, 3) for p in ("fp32", "bf16")}
    rounding = differences.pop("stage3-bf16")  # gathered weights lie elsewhere in memory: another kernel may sum
    assert rounding <= 2**-8  # one unit in the last place of a bf16 number between 0.5 and 1
    assert differences == dict.fromkeys(differences, 0.0)


def test_the_validation_loss_does_not_depend_on_the_ranks(tmp_path: Path) -> None:
    found = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        found += run_in_ranks("tests.engine.stages:losses", ranks, folder)
    assert [set(stages) for stages in found] == [{"0", "3"}] * 3  # one rank, then two
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-6)
    assert found[0]["0"] == pytest.approx(found[0]["3"], rel=1e-6)


def test_a_nan_is_refused_on_every_rank_with_its_name(tmp_path: Path) -> None:
    ranks = run_in_ranks("tests.engine.stages:poisoned", 2, tmp_path)
    assert len(ranks) == 2
    for found in ranks:
        assert set(found) == {f"{where}-stage{stage}" for where in ("loss", "gradient") for stage in range(4)}
        for case, (message,) in found.items():
            what = "the loss" if case.startswith("loss") else "the gradient norm"
            assert message.startswith(f"{what} became "), (case, message)


def test_fp16_scales_its_loss_and_skips_a_step_that_overflows(tmp_path: Path) -> None:
    ((losses, skipped),) = run_in_ranks("tests.engine.stages:half", 1, tmp_path)
    assert [step for step, was in enumerate(skipped) if was] == [4]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
