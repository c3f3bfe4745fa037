"""Are the rows of a step those whose text its micro-batches hold: packed, grouped, mixed, of any layout?"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plans import tiny_plan, tokenizer_folder
from tunefleet.contracts import RunState
from tunefleet.data.prepare import Prepared, prepare
from tunefleet.plan import Plan
from tunefleet.plan.horizon import horizon
from tunefleet.runs import step_rows
from tunefleet.runs.inputs import RunInputs, training_batches

STEPS = 7  # more than an epoch
SOURCES = ("a", "b")
LENGTH = 64


def written(tmp_path: Path, count: int) -> dict[str, Any]:
    """Settings of two sources of `count` rows, of many lengths, that name their own place."""
    for source in SOURCES:
        rows = [{"prompt": f"{source}.jsonl:{n}?", "completion": "yes" * (n * 7 % 11 + 1)} for n in range(1, count + 1)]
        (tmp_path / f"{source}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {
        "tokenizer": str(tokenizer_folder(tmp_path)),
        "template": "plain",
        "validation_rows": 0,
        "cache": str(tmp_path / "cache"),
        "workers": 0,
    }
    return {**common, "path": str(tmp_path / "a.jsonl")}


def mixed(data: dict[str, Any]) -> dict[str, Any]:
    files = [str(Path(data["path"]).with_name(f"{source}.jsonl")) for source in SOURCES]
    sources = [{"path": path, "weight": weight} for path, weight in zip(files, (3, 1), strict=True)]
    return {**data, "path": None, "mix": sources}


def taken(plan: Plan, data: Prepared, rank: int, tokenizer: Any) -> list[list[list[Counter[str]]]]:
    """What `rank` finds in the tokens: [step][micro-batch][sequence] -> the places that its text names."""
    inputs = RunInputs(tokenizer, data, horizon(plan, len(data.train)))
    group: Any = SimpleNamespace(rank=rank)
    batches = training_batches(plan, group, inputs, RunState())
    steps = [batches.take(plan.batch.accumulation) for _ in range(STEPS)]
    return [[[named(row, tokenizer) for row in batch.tokens.tolist()] for batch in step] for step in steps]


def named(tokens: list[int], tokenizer: Any) -> Counter[str]:
    return Counter(re.findall(r"([ab]\.jsonl:\d+)\?", tokenizer.decode(tokens)))


@pytest.mark.parametrize(
    "way", ["never", "step", "window", "packed", "mixed", "mixed and packed", "fewer than a micro-batch"]
)
@pytest.mark.parametrize("degrees", [{}, {"tensor": 2}], ids=["ddp", "tensor"])
def test_they_are_what_every_rank_takes(tokenizer: Any, tmp_path: Path, way: str, degrees: dict[str, int]) -> None:
    data = written(tmp_path, 3 if "fewer" in way else 150)
    data = mixed(data) if "mixed" in way else data
    data |= {"packing": "packed" in way, "group_by_length": way if way in ("never", "step", "window") else "step"}
    settings: dict[str, Any] = {"parallel": {"name": "p", "zero_stage": 0, **degrees}, "micro_batch": 4}
    plan = tiny_plan(tmp_path, "llama", ranks=4, data=data, global_batch=32, sequence_length=LENGTH, **settings)
    prepared = prepare(plan.config.data, tokenizer, LENGTH)
    for rank in range(plan.layout.world_size):
        actual = [
            [
                [Counter(Path(place).name for place in places) for _, places in micro_batch.rows]
                for micro_batch in step_rows.of_step(plan, prepared.train, step * plan.batch.total)
                if rank in micro_batch.ranks
            ]
            for step in range(STEPS)
        ]
        assert actual == taken(plan, prepared, rank, tokenizer)
        assert sum(map(Counter.total, actual[0][0])) >= 4
