"""Do stages whose layers peers share measure, answer, save and stop as a whole model does?

That they follow its trajectory, tied weights and all, is a row of `tests/equivalence`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.engine import pipelines
from tests.engine.pipelines import CASES, DIVIDED, NEW_TOKENS
from tests.engine.stages import TOKENS
from tests.ranks import run_in_ranks
from tunefleet.data.order import in_order
from tunefleet.engine.plain import Alone, PlainModel
from tunefleet.evaluation.loss import mean_loss
from tunefleet.model.learner import Learner
from tunefleet.runs import trajectory

ROUNDING = {"fp32": 1e-5, "bf16": 2**-6}  # peers add up in another order


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("divided")
    return folder, run_in_ranks("tests.engine.pipelines:divided", 4, folder)


@pytest.mark.parametrize("case", DIVIDED)
def test_parts_of_stages_begin_with_the_weights_of_the_whole_model(ran: Any, case: str) -> None:
    folder, _ = ran
    first = torch.load(folder / f"{case}.pt")["first"]
    whole = trajectory.model(pipelines.plan(folder, case).sources.architecture).state_dict()
    assert first.keys() == whole.keys()
    for name, weight in whole.items():
        assert torch.equal(first[name], weight.to(first[name].dtype)), name


@pytest.mark.parametrize("case", DIVIDED)
def test_the_export_computes_what_the_peers_of_all_stages_compute(ran: Any, case: str) -> None:
    folder, found = ran
    model = AutoModelForCausalLM.from_pretrained(folder / case, dtype="auto", attn_implementation="sdpa").eval()
    rounding = ROUNDING[CASES[case][2]]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(TOKENS)).logits
        said = model.generate(torch.tensor(TOKENS), max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1)
        loss = mean_loss(PlainModel(Learner(model)), Alone(), in_order(trajectory.rows(), 13, 2, 0, 1, 0, packed=True))
    ours = torch.load(folder / f"{case}.pt")["logits"]
    torch.testing.assert_close(ours, logits.float(), rtol=0, atol=rounding * float(logits.abs().max()))
    for rank in found:
        assert rank["cases"][case]["said"] == said.tolist()  # with a cache, from stage to stage
        assert rank["cases"][case]["loss"] == pytest.approx(loss, rel=rounding)


@pytest.mark.parametrize("case", DIVIDED)
def test_restored_parts_of_stages_go_on_bit_equal(ran: Any, case: str) -> None:
    """With dropout: peers drop the same activations out, before and after."""
    _, found = ran
    assert [rank["cases"][case]["resumed"] for rank in found] == [[0.0] * 3] * 4


def test_a_nan_stops_every_process_with_its_name_before_weights_are_touched(ran: Any) -> None:
    for found in ran[1]:
        assert len(found["messages"]) == 2 * len(DIVIDED)
        for case, message in found["messages"].items():
            assert message.startswith(f"the {case.partition(' ')[2]} became "), (case, message)
            assert message.endswith(" untouched"), (case, message)
