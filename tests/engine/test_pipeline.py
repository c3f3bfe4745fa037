"""Does a model in stages measure, answer, save and stop as a whole one does?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.engine import pipelines
from tests.engine.pipelines import CASES, NEW_TOKENS
from tests.engine.stages import TOKENS
from tests.ranks import run_in_ranks
from tunefleet.data.order import in_order
from tunefleet.engine.plain import Alone, PlainModel
from tunefleet.evaluation.loss import mean_loss
from tunefleet.model.learner import Learner
from tunefleet.runs import trajectory

ROUNDING = {"fp32": 1e-6, "bf16": 2**-7}  # bf16: two units in the last place of 8 bits


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("stages")
    return folder, run_in_ranks("tests.engine.pipelines:everything", 2, folder)


def exported(folder: Path, case: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder / case, dtype="auto", attn_implementation="sdpa").eval()


@pytest.mark.parametrize("case", CASES)
def test_stages_begin_with_the_weights_of_the_whole_model(ran: Any, case: str) -> None:
    folder, _ = ran
    first = torch.load(folder / f"{case}.pt")["first"]
    whole = trajectory.model(pipelines.plan(folder, case).sources.architecture).state_dict()
    assert first.keys() == whole.keys()
    for name, weight in whole.items():
        assert torch.equal(first[name], weight.to(first[name].dtype)), name


@pytest.mark.parametrize("case", CASES)
def test_the_export_computes_what_the_stages_compute(ran: Any, case: str) -> None:
    folder, found = ran
    model, precision = exported(folder, case), CASES[case][2]
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=model.dtype is torch.float32 and precision == "bf16")
    with torch.no_grad(), autocast:
        logits = model(input_ids=torch.tensor(TOKENS)).logits
        said = model.generate(torch.tensor(TOKENS), max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1)
        rows = in_order(trajectory.rows(), 13, 2, 0, 1, 0, packed=True)
        loss = mean_loss(PlainModel(Learner(model)), Alone(), rows)
    torch.testing.assert_close(torch.load(folder / f"{case}.pt")["logits"], logits.float(), rtol=0, atol=0)
    for rank in found:
        assert rank["cases"][case]["said"] == said.tolist()  # with a cache, from stage to stage
        assert rank["cases"][case]["loss"] == pytest.approx(loss, rel=ROUNDING[precision])


@pytest.mark.parametrize("case", ["opt-fp32", "llama-bf16"])
def test_the_export_has_the_names_of_a_whole_models(ran: Any, case: str, tmp_path: Path) -> None:
    """A tied head is no tensor of its own."""
    folder, _ = ran
    trajectory.model(pipelines.plan(folder, case).sources.architecture).save_pretrained(tmp_path)
    found, whole = (load_file(path / "model.safetensors").keys() for path in (folder / case, tmp_path))
    assert found == whole


@pytest.mark.parametrize("case", CASES)
def test_a_restored_pipeline_goes_on_bit_equal(ran: Any, case: str) -> None:
    _, found = ran
    assert [rank["cases"][case]["resumed"] for rank in found] == [[0.0] * 3] * 2


def test_a_nan_stops_every_stage_with_its_name_before_weights_are_touched(ran: Any) -> None:
    for found in ran[1]:
        for case, message in found["messages"].items():
            assert message.startswith(f"the {case.partition(' ')[2]} became "), (case, message)
            assert message.endswith(" untouched"), (case, message)


def test_control_a_stage_with_other_rows_gives_another_loss(ran: Any) -> None:
    """What `tests/equivalence` would see: conversations that mix in one stage, micro-batches in another order."""
    found = ran[1][0]["losses"]  # ten times the tolerance there
    assert abs(found["mixed"] / found["right"] - 1) > 1e-4
    assert abs(found["shuffled"] / found["right"] - 1) > 1e-4
