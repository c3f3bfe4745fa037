"""Does a model in stages measure, answer, save and stop as a whole one does, also where peers share the layers of each?

That they follow its trajectory is in `tests/equivalence`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.engine import pipelines
from tests.engine.pipelines import CASES, DIVIDED, NEW_TOKENS
from tests.engine.stages import TOKENS
from tests.ranks import run_in_ranks
from tunefleet.data.batches.order import in_order
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.evaluation.loss import mean_loss
from tunefleet.model.learner import Learner
from tunefleet.runs import trajectory

ROUNDING = {"fp32": 1e-6, "bf16": 2**-7}  # bf16: two units in the last place of 8 bits
RUNS = [*((1, case) for case in CASES), *((2, case) for case in DIVIDED)]
"""Peers of each stage, and the case."""
Ran = dict[int, tuple[Path, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """What every rank found, and the folder of what it kept, by peers of each stage."""
    torch.set_num_threads(1)
    folders = {peers: tmp_path_factory.mktemp(f"peers{peers}") for peers in (1, 2)}
    return {
        1: (folders[1], run_in_ranks("tests.engine.pipelines:everything", 2, folders[1])),
        2: (folders[2], run_in_ranks("tests.engine.pipelines:divided", 4, folders[2])),
    }


def exported(folder: Path, case: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder / case, dtype="auto", attn_implementation="sdpa").eval()


@pytest.mark.parametrize(("peers", "case"), RUNS)
def test_stages_begin_with_the_weights_of_the_whole_model(ran: Ran, peers: int, case: str) -> None:
    folder, _ = ran[peers]
    first = torch.load(folder / f"{case}.pt")["first"]
    whole = trajectory.model(pipelines.plan(folder, case).sources.architecture).state_dict()
    assert first.keys() == whole.keys()
    for name, weight in whole.items():
        assert torch.equal(first[name], weight.to(first[name].dtype)), name


@pytest.mark.parametrize(("peers", "case"), RUNS)
def test_the_export_computes_what_the_stages_compute(ran: Ran, peers: int, case: str) -> None:
    """To the last bit, but for peers, who add up in another order."""
    folder, found = ran[peers]
    model, precision = exported(folder, case), CASES[case][2]
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=model.dtype is torch.float32 and precision == "bf16")
    with torch.no_grad(), autocast:
        logits = model(input_ids=torch.tensor(TOKENS)).logits
        said = model.generate(torch.tensor(TOKENS), max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1)
        rows = in_order(trajectory.rows(), 13, 2, 0, 1, 0, packed=True)
        loss = mean_loss(PlainModel(Learner(model)), SingleProcess(), rows)
    rounding = ROUNDING[precision] * peers
    apart = rounding * float(logits.abs().max()) if peers > 1 else 0.0
    torch.testing.assert_close(torch.load(folder / f"{case}.pt")["logits"], logits.float(), rtol=0, atol=apart)
    for rank in found:
        assert rank["cases"][case]["said"] == said.tolist()  # with a cache, from stage to stage
        assert rank["cases"][case]["loss"] == pytest.approx(loss, rel=rounding)


@pytest.mark.parametrize("case", ["opt-fp32", "llama-bf16"])
@pytest.mark.parametrize("peers", [1, 2])
def test_the_export_has_the_names_of_a_whole_models(ran: Ran, peers: int, case: str, tmp_path: Path) -> None:
    """A tied head is no tensor of its own."""
    folder, _ = ran[peers]
    trajectory.model(pipelines.plan(folder, case).sources.architecture).save_pretrained(tmp_path)
    found, whole = (load_file(path / "model.safetensors").keys() for path in (folder / case, tmp_path))
    assert found == whole


@pytest.mark.parametrize(("peers", "case"), RUNS)
def test_a_restored_pipeline_goes_on_bit_equal(ran: Ran, peers: int, case: str) -> None:
    """With dropout: peers drop the same activations out, before and after."""
    _, found = ran[peers]
    assert [rank["cases"][case]["resumed"] for rank in found] == [[0.0] * 3] * 2 * peers


@pytest.mark.parametrize("peers", [1, 2])
def test_a_nan_stops_every_stage_with_its_name_before_weights_are_touched(ran: Ran, peers: int) -> None:
    for found in ran[peers][1]:
        assert found["messages"]
        for case, message in found["messages"].items():
            assert message.startswith(f"the {case.partition(' ')[2]} became "), (case, message)
            assert message.endswith(" untouched"), (case, message)


def test_control_a_stage_with_other_rows_gives_another_loss(ran: Ran) -> None:
    """What `tests/equivalence` would see: conversations that mix in one stage, micro-batches in another order."""
    found = ran[1][1][0]["losses"]  # ten times the tolerance there
    assert abs(found["mixed"] / found["right"] - 1) > 1e-4
    assert abs(found["shuffled"] / found["right"] - 1) > 1e-4
