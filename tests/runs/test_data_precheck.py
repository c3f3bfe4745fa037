"""Does a look at the first rows find what training would refuse, and nothing else?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.plans import OPT, tiny_plan
from tunefleet.config.data import MixedSource, OnBadRow
from tunefleet.plan import Plan
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import BUILT_IN_TOKENIZERS
from tunefleet.runs import data_precheck

GOOD = '{"prompt": "a", "completion": "b c"}\n'


def reading(folder: Path, **data: Any) -> Plan:
    """A run that reads the file rows.jsonl, whose tokenizer is real."""
    plan = tiny_plan(folder)
    architecture = Architecture.from_json({**OPT, "vocab_size": 50_000})
    sources = replace(plan.sources, tokenizer=str(BUILT_IN_TOKENIZERS["demo"]), architecture=architecture)
    config = replace(plan.config, data=replace(plan.config.data, **data))
    return replace(plan, sources=sources, config=config)


def rows(folder: Path, name: str, *lines: str) -> str:
    path = folder / name
    path.write_text("".join(lines))
    return str(path)


def complaints(folder: Path, **data: Any) -> Sequence[str]:
    return data_precheck.complaints(reading(folder, **data))


def test_good_data_are_not_complained_about(tmp_path: Path) -> None:
    assert complaints(tmp_path) == []
    assert complaints(tmp_path, path=rows(tmp_path, "sparse.jsonl", *[GOOD] * 40), columns={"system": "later"}) == []


@pytest.mark.parametrize(
    ("lines", "data", "complaint"),
    [
        ([GOOD, "{\n"], {}, "own.jsonl:2: broken JSON"),
        (['{"question": "a", "completion": "b"}\n'], {}, "own.jsonl:1: unknown format with keys question, completion"),
        ([GOOD], {"columns": {"system": "sytem"}}, "data.columns.system: no row has 'sytem'."),
        ([GOOD, '{"prompt": "a", "completion": ""}\n'], {}, "own.jsonl:2: the answer (message 2) is empty."),
        ([], {}, "own.jsonl: no rows."),
        (["{\n", "{\n"], {"on_bad_row": OnBadRow.SKIP, "max_bad_rows": 1}, "more than data.max_bad_rows=1 bad rows"),
    ],
)
def test_rows_that_training_refuses_are_named(tmp_path: Path, lines: Any, data: Any, complaint: str) -> None:
    (message,) = complaints(tmp_path, path=rows(tmp_path, "own.jsonl", *lines), **data)
    assert complaint in message


def test_control_rows_that_training_leaves_out_are_left_out(tmp_path: Path) -> None:
    path = rows(tmp_path, "own.jsonl", "{\n", GOOD)
    assert complaints(tmp_path, path=path, on_bad_row=OnBadRow.SKIP, max_bad_rows=1) == []


def test_every_file_and_every_source_is_looked_at(tmp_path: Path) -> None:
    for number in range(40):
        rows(tmp_path, f"part{number:02}.jsonl", GOOD)
    part = '{"prompt": "a"}\n'
    rows(tmp_path, "part39.jsonl", part)
    second_source, unseen = rows(tmp_path, "other.jsonl", part), rows(tmp_path, "unseen.jsonl", GOOD, "{\n")
    mix = (MixedSource(path=f"{tmp_path}/part*.jsonl"), MixedSource(path=second_source))
    messages = complaints(tmp_path, mix=mix, path=None, validation_path=unseen)
    assert [line.split(": ")[0].removeprefix(f"{tmp_path}/") for line in messages] == [
        "part39.jsonl:1", "other.jsonl:1", "unseen.jsonl:2"
    ]  # fmt: skip


def test_a_template_that_cannot_render_is_named(tmp_path: Path) -> None:
    template = rows(tmp_path, "own.jinja", "{{ raise_exception('no system here') }}")
    (complaint,) = complaints(tmp_path, template=template)
    assert "rows.jsonl:1" in complaint
    assert "no system here" in complaint
    (complaint,) = complaints(tmp_path, template=rows(tmp_path, "broken.jinja", "{% for %}"))
    assert "template" in complaint


def test_a_tokenizer_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    (complaint,) = data_precheck.complaints(tiny_plan(tmp_path))
    assert complaint.startswith(f"model.tokenizer: {tmp_path / 'tokenizer'} cannot be loaded")
