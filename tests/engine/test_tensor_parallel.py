"""Do copies of a model, each divided over two peers, train, save, resume, evaluate and export as one process does?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.engine.peers import ARCHITECTURES, LIMITS, PROMPTS, TOKENS, even_rows, plain, whole_batch
from tests.ranks import run_in_ranks
from tests.shared import tiny_tokenizer
from tunefleet.data.batches.order import in_order
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.evaluation.generation import answers
from tunefleet.evaluation.loss import mean_loss
from tunefleet.model.learner import Learner
from tunefleet.runs.trajectory import rows

torch.set_num_threads(1)

STAGES = sorted(ARCHITECTURES)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copies")


@pytest.fixture(scope="module")
def ranks(kept: Path) -> list[dict[str, Any]]:
    """What each of four processes found: two copies of two peers."""
    return run_in_ranks("tests.engine.peers:copies_of_peers", 4, kept)


@pytest.fixture(scope="module")
def alone(kept: Path) -> dict[str, Any]:
    return plain(whole_batch(kept), even_rows(), 3)


def exported(kept: Path, stage: int) -> PlainModel:
    model = AutoModelForCausalLM.from_pretrained(kept / f"export{stage}", attn_implementation="sdpa", dtype="auto")
    return PlainModel(Learner(model))


@pytest.mark.parametrize("stage", STAGES)
def test_an_export_computes_what_the_peers_compute(stage: int, ranks: list[dict[str, Any]], kept: Path) -> None:
    model = exported(kept, stage)
    with torch.no_grad():
        logits = model.model(input_ids=torch.tensor(TOKENS)).logits
    for found in ranks:
        torch.testing.assert_close(torch.tensor(found[f"stage{stage}"]["logits"]), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_peers_evaluate_as_one_process(stage: int, ranks: list[dict[str, Any]], kept: Path) -> None:
    model = exported(kept, stage)
    loss = mean_loss(model, SingleProcess(), in_order(rows(), 13, 2, 0, 1, 0, packed=True))
    said = answers(model, SingleProcess(), tiny_tokenizer(), PROMPTS, LIMITS)
    assert len(set(said)) > 1
    for found in ranks:
        assert found[f"stage{stage}"]["loss"] == pytest.approx(loss, rel=1e-6)
        assert found[f"stage{stage}"]["answers"] == said


@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_has_the_parts_of_every_peer_and_resumes_bit_for_bit(
    stage: int, ranks: list[dict[str, Any]]
) -> None:
    first = ranks[0][f"stage{stage}"]
    assert {"mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"} <= set(first["files"])
    assert sum("optim_states" in name for name in first["files"]) == (4 if stage else 0)
    assert first["saved"] == []
    for found in ranks:
        assert found[f"stage{stage}"]["resumed"] == found[f"stage{stage}"]["on"]
    assert first["on"][2] != ranks[1][f"stage{stage}"]["on"][2]  # peers hold different parts
    assert first["on"] == ranks[2][f"stage{stage}"]["on"]  # copies hold the same


def test_peers_drop_the_same_activations_out(ranks: list[dict[str, Any]]) -> None:
    assert len({found["dropout"] for found in ranks}) == 1


def test_control_peers_that_draw_differently_drift_apart(ranks: list[dict[str, Any]]) -> None:
    assert len({found["control: seeded by rank"] for found in ranks}) > 1


@pytest.mark.parametrize("how", ["steady", "checkpointing"])
def test_copies_of_peers_follow_one_process(how: str, ranks: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    for found in ranks:
        losses, norms, tokens = found[how]
        assert losses == pytest.approx(alone["losses"], rel=1e-5)
        assert norms == pytest.approx(alone["norms"], rel=1e-5)
        assert tokens == [4 * 47] * 3


def test_control_peers_that_read_other_rows_fail(ranks: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    losses, _, _ = ranks[0]["control: peers read other rows"]
    assert losses[0] != pytest.approx(alone["losses"][0], rel=1e-3)


def test_control_a_loss_that_every_peer_counts_fails(ranks: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    """Twice the learning tokens: every gradient is half of what it should be, and the loss does not show it."""
    losses, norms, tokens = ranks[0]["control: counted by every peer"]
    assert losses[0] == pytest.approx(alone["losses"][0], rel=1e-5)
    assert norms[0] == pytest.approx(alone["norms"][0] / 2, rel=1e-5)
    assert tokens[0] == 2 * 4 * 47
