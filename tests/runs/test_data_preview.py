"""Does a preview show the text that is trained on, whole, with what of it is in the loss?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tests.shared import tiny_tokenizer
from tunefleet.base.errors import ConfigError
from tunefleet.data.shown_rows import Choice
from tunefleet.plan import Plan
from tunefleet.plan.families.architecture import Architecture
from tunefleet.runs import data_preview

ROWS = [{"prompt": f"turn on light {n}", "completion": "I have turned on the light. " * n} for n in range(1, 5)]


def plan(folder: Path, **data: Any) -> Plan:
    """A run on four rows, the last of which is longer than 48 tokens."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    tiny_tokenizer().save_pretrained(folder / "tokenizer")
    settings = {"path": str(folder / "rows.jsonl"), "tokenizer": str(folder / "tokenizer"), "template": "plain"}
    settings |= {"cache": str(folder / "cache"), "validation_rows": 0, "packing": False}
    run_plan = tiny_plan(folder, data={**settings, **data})
    architecture = Architecture.from_json({**run_plan.sources.architecture.to_json(), "vocab_size": 320})
    return replace(run_plan, sources=replace(run_plan.sources, architecture=architecture))


def test_pieces_are_the_text_and_those_in_the_loss_the_answer(tmp_path: Path) -> None:
    [row] = data_preview.rows(plan(tmp_path), Choice(1, None, None, "train"))
    assert row.location == f"{tmp_path}/rows.jsonl:1"
    assert [in_loss for _, in_loss in row.pieces] == [False, True]
    assert "turn on light 1" in row.pieces[0][0]
    assert row.pieces[1][0].strip() == "I have turned on the light. </s>"
    assert 0 < row.loss_tokens < row.tokens
    assert (row.truncated, row.cuts) == (False, ())


def test_a_cut_is_marked_with_the_tokens_that_are_gone(tmp_path: Path) -> None:
    [row] = data_preview.rows(plan(tmp_path), Choice(None, 4, None, "train"))
    assert row.truncated
    assert row.tokens == 48
    [(_, cut_tokens)] = row.cuts
    assert cut_tokens > 0


def test_parts_of_a_conversation_are_numbered(tmp_path: Path) -> None:
    rows = data_preview.rows(plan(tmp_path, long_rows="split"), Choice(None, 4, None, "train"))
    assert len(rows) > 1
    numbers = [f"{tmp_path}/rows.jsonl:4, part {number} of {len(rows)}" for number in range(1, len(rows) + 1)]
    assert [row.location for row in rows] == numbers


def test_an_unknown_split_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--split nope: .*Splits: train"):
        data_preview.rows(plan(tmp_path), Choice(1, None, None, "nope"))


def test_lengths_are_those_of_every_conversation(tmp_path: Path) -> None:
    run_plan = plan(tmp_path)
    lengths = data_preview.lengths(run_plan)["train"]
    shown = data_preview.rows(run_plan, Choice(4, None, None, "train"))
    assert lengths.tokens.tolist() == [row.tokens for row in shown]
    assert lengths.loss_tokens.tolist() == [row.loss_tokens for row in shown]
    assert all(0 <= share < 1 for share in lengths.padding.values())
    assert lengths.padding


def test_packed_rows_have_no_padding_by_batches(tmp_path: Path) -> None:
    assert data_preview.lengths(plan(tmp_path, packing=True))["train"].padding == {}
