"""Does an engine whose ranks share rows measure, answer, export and resume as one rank does?"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine.sharing import STAGES, TALKATIVE, evaluated
from tests.ranks import run_in_ranks
from tunefleet.contracts import IGNORED, MicroBatch
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.engine.sequence_shard import sequence_shard
from tunefleet.model.learner import Learner
from tunefleet.plan.families.architecture import Architecture
from tunefleet.runs.trajectory import model


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return run_in_ranks("tests.engine.sharing:everything", 2, tmp_path_factory.mktemp("ranks"))


def test_evaluation_is_that_of_one_process(ranks: list[Any]) -> None:
    """Validation loss and every answer, at every stage and on each rank."""
    loss, said = evaluated(PlainModel(Learner(model(Architecture(TALKATIVE)))), SingleProcess(), 0, 1)
    assert len(set(said)) > 2
    for rank in ranks:
        assert len(rank["measured"]) == len(STAGES)
        for found in rank["measured"]:
            assert found[0] == pytest.approx(loss, rel=1e-6)
            assert found[1] == said


def test_the_export_computes_what_the_engine_computes(ranks: list[Any]) -> None:
    assert [found[2] for found in ranks[0]["measured"]] == [0.0] * len(STAGES)


def test_a_checkpoint_resumes_bit_equal_with_dropout(ranks: list[Any]) -> None:
    assert [len(rank["resumed"]) for rank in ranks] == [len(STAGES)] * 2
    for straight, resumed in [pair for rank in ranks for pair in rank["resumed"]]:
        assert len(straight) == 2
        assert straight[0] != straight[1]  # numbers of two steps that trained
        assert straight == resumed


def test_controls_other_rows_or_no_segments_are_another_loss(ranks: list[Any]) -> None:
    found = ranks[0]["controls"]
    for wrong in ("segments", "rows"):
        assert abs(found[wrong][0] / found["right"][0] - 1) > 1e-4
        assert abs(found[wrong][1] / found["right"][1] - 1) > 1e-3


def test_parts_are_the_row_with_padding_where_nothing_learns() -> None:
    tokens = torch.arange(10).view(2, 5) + 1
    batch = MicroBatch(tokens, tokens + 20, tokens + 40, torch.ones_like(tokens))
    parts = [sequence_shard(batch, part, 2) for part in range(2)]
    whole = {name: torch.cat([getattr(p, name) for p in parts], 1) for name in ("tokens", "positions", "labels")}
    for name, found in whole.items():
        assert torch.equal(found[:, :5], getattr(batch, name))
    assert whole["labels"][:, 5].tolist() == [IGNORED] * 2
    for part in parts:
        assert part.segments is not None
        assert part.segments.tolist() == [[1] * 5 + [0]] * 2
    assert sequence_shard(batch, 0, 1) is batch
