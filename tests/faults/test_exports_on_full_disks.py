"""An export whose disk has no room for it: is that said before anything is written, and is the old export whole?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.small_disk import filled, small_disk
from tests.plans import tiny_plan
from tests.shared import tiny_model, tiny_tokenizer
from tunefleet.base import delivery, disk
from tunefleet.base.errors import DiskError
from tunefleet.data import prepare
from tunefleet.data.encode.template_source import find
from tunefleet.model import lora
from tunefleet.runs import export_format
from tunefleet.runs.export_format import AS_THEY_ARE, Form

WIDE = {"vocab_size": 4096, "hidden_size": 256}
LOOKED_AHEAD = (
    r"model\.safetensors: No space left on device \([\d.]+ MiB needed, [\d.]+ [KM]iB free\)\. Make room there\."
)
CASES: dict[
    str, tuple[Form, dict[str, Any], int]
] = {  # how it is written, the adapter, and the room that is too little
    "safetensors": (AS_THEY_ARE, {}, 4 << 20),
    "shards": (Form(shard_bytes=1 << 20), {}, 4 << 20),
    "bf16": (Form("bf16"), {}, 3 << 20),
    "merged": (AS_THEY_ARE, {"name": "lora", "rank": 256, "merge": True}, 4 << 20),
    "adapter": (AS_THEY_ARE, {"name": "lora", "rank": 256, "merge": False}, 1 << 20),
}


@pytest.fixture
def outputs(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB, with an export."""
    with small_disk(tmp_path / "outputs", size=16 << 20) as folder:
        with delivery.staging(folder / "export") as staged:
            (staged / "model.safetensors").write_text("old")
            delivery.deliver(staged, folder / "export", {})
        yield folder


def export(outputs: Path, case: str) -> list[str]:
    """The names that were written into the staged folder when it failed."""
    form, adapter, room = CASES[case]
    plan = tiny_plan(outputs.parent, "llama", **({"adapter": {**adapter, "merge": True}} if adapter else {}))
    model, tokenizer = tiny_model("llama", **WIDE), tiny_tokenizer()
    tokenizer.chat_template = find("chatml", None)
    if adapter:
        plan = replace(plan, config=replace(plan.config, adapter=replace(plan.config.adapter, merge=adapter["merge"])))
        lora.attach(model, plan.config.adapter, 0, None)
    filled(outputs, room)
    names: list[str] = []
    with delivery.staging(outputs / "export") as staged:
        try:
            weights = dict(model.state_dict())
            export_format.stage(plan, staged, model, weights, tokenizer, prepare.own_template(tokenizer), form)
        finally:
            names += sorted(path.name for path in staged.iterdir())
    return names


def expect_old(outputs: Path) -> None:
    assert (outputs / "export" / "model.safetensors").read_text() == "old"
    assert delivery.changes(outputs / "export") == []
    assert sorted(path.name for path in outputs.iterdir()) == ["export", "filler"]


@pytest.mark.parametrize(
    "case", [case if case == "shards" else pytest.param(case, marks=pytest.mark.exhaustive) for case in CASES]
)
def test_it_is_said_before_anything_is_written(outputs: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_format, "write", lambda *_: pytest.fail("something is written"))
    with pytest.raises(DiskError, match=LOOKED_AHEAD):
        export(outputs, case)
    expect_old(outputs)


def test_control_without_it_a_part_is_written(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one line even then, and the part goes."""
    written: list[str] = []
    write = export_format.write

    def noted(folder: Path, *arguments: Any) -> None:
        try:
            write(folder, *arguments)
        finally:
            written.extend(path.name for path in folder.iterdir())

    monkeypatch.setattr(export_format, "write", noted)
    monkeypatch.setattr(disk, "expect_room", lambda *_, **__: None)
    with pytest.raises(DiskError, match="No space left on device"):
        export(outputs, "shards")
    assert written
    expect_old(outputs)
