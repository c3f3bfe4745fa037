"""Does a run read its data with its own tokenizer, from the position where it was, each rank its shard?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plans import tiny_plan
from tests.shared import tiny_tokenizer
from tunefleet.base.errors import ConfigError
from tunefleet.contracts import RunState
from tunefleet.engine.plain_model import SingleProcess
from tunefleet.plan import Plan
from tunefleet.plan.families.architecture import Architecture
from tunefleet.runs import inputs as inputs_module
from tunefleet.runs import saved_tokenizer
from tunefleet.runs.inputs import RunInputs, load_inputs, training_batches

ROWS = 12


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """The plan of a run on twelve rows, with a tokenizer of 320 tokens."""
    rows = [{"prompt": f"number {n}?", "completion": "it is " + "so " * (n % 5)} for n in range(ROWS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"path": str(tmp_path / "rows.jsonl"), "template": "plain", "packing": False, "validation_rows": 0}
    data |= {"cache": str(tmp_path / "cache"), "tokenizer": str(tmp_path / "own")}
    run_plan = tiny_plan(tmp_path, micro_batch=2, data={**data, "tokenizer": str(tmp_path / "tokenizer")})
    tiny_tokenizer().save_pretrained(tmp_path / "own")
    architecture = Architecture.from_json({**run_plan.sources.architecture.to_json(), "vocab_size": 320})
    sources = replace(run_plan.sources, tokenizer=str(tmp_path / "own"), architecture=architecture)
    return replace(run_plan, sources=sources)


def tokens(plan: Plan, inputs: RunInputs, position: int, count: int, group: Any = None) -> list[Any]:
    batches = training_batches(plan, group or SingleProcess(), inputs, RunState(position=position))
    return [batch.tokens.tolist() for batch in batches.take(count)]


def test_the_horizon_is_that_of_the_rows(plan: Plan) -> None:
    inputs = load_inputs(plan)
    assert len(inputs.data.train) == ROWS
    assert inputs.horizon.steps_per_epoch == ROWS // plan.batch.total
    assert inputs.tokenizer.vocab_size == 320


def test_batches_begin_at_their_position(plan: Plan) -> None:
    inputs = load_inputs(plan)
    first = tokens(plan, inputs, 0, 6)
    assert tokens(plan, inputs, 3 * plan.batch.micro, 3) == first[3:]
    assert first[0] != first[3]


def test_ranks_read_different_rows(plan: Plan, tmp_path: Path) -> None:
    inputs = load_inputs(plan)
    ranks_of_two = tiny_plan(tmp_path, ranks=2, micro_batch=2)
    two = replace(plan, layout=ranks_of_two.layout, batch=ranks_of_two.batch)
    ranks = [tokens(two, inputs, 0, 3, SimpleNamespace(rank=rank, size=2)) for rank in range(2)]
    rows = [tuple(row) for rank in ranks for batch in rank for row in batch]
    assert len(rows) == ROWS
    assert len({tuple(token for token in row if token != 1) for row in rows}) == ROWS  # without padding


def test_the_copy_of_the_tokenizer_in_the_run_directory_is_read(plan: Plan, tmp_path: Path) -> None:
    saved_tokenizer.save(plan)
    (tmp_path / "own" / "tokenizer.json").write_text("{}")
    assert len(load_inputs(plan).data.train) == ROWS


def test_a_vocabulary_without_room_is_refused_before_anything_is_prepared(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = Architecture.from_json({**plan.sources.architecture.to_json(), "vocab_size": 97})
    monkeypatch.setattr(inputs_module, "prepare", lambda *arguments: pytest.fail("prepared"))
    with pytest.raises(ConfigError, match="only 97 embeddings"):
        load_inputs(replace(plan, sources=replace(plan.sources, architecture=architecture)))
