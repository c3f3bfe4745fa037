"""Does every pattern of other tools' files become what it must, or is it refused by its options' names?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.imports.patterns import PATTERNS, Pattern
from tunefleet.doors import compose, plan
from tunefleet.doors.import_check import MACHINE
from tunefleet.doors.import_file import Wish, drafted
from tunefleet.imports.draft import Draft
from tunefleet.imports.experiment_text import experiment_text

ALL = PATTERNS
CONVERTED = {name: pattern for name, pattern in ALL.items() if not pattern.refused}
TINY = {"model_type": "llama", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4}
TINY |= {"num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 4096}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, their list of sets, a DeepSpeed configuration, and a model whose files a plan takes for its own."""
    made = tmp_path_factory.mktemp("foreign")
    (made / "data").mkdir()
    (made / "data" / "letters.json").write_text(json.dumps([{"instruction": "a", "input": "b", "output": "c"}]))
    sets: dict[str, Any] = {
        "letters": {"file_name": "letters.json"},
        "digits": {
            "hf_hub_url": "example/digits",
            "formatting": "sharegpt",
            "split": "small",
            "columns": {"messages": "messages"},
            "tags": {"role_tag": "role", "content_tag": "content"},
        },
        "photos": {"file_name": "letters.json", "formatting": "sharegpt", "columns": {"images": "images"}},
    }
    (made / "data" / "dataset_info.json").write_text(json.dumps(sets))
    sources = {"digits": {"path": "example/digits", "source": "hf_hub", "converter": "alpaca", "size": 40}}
    (made / "sources.yaml").write_text(yaml.safe_dump(sources))
    (made / "own.json").write_text(
        json.dumps({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}})
    )
    model = made / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(TINY))
    for name in ("model.safetensors", "tokenizer.json"):
        (model / name).touch()
    return made


def written(pattern: Pattern, folder: Path) -> Path:
    """The pattern as its tool's users keep it: YAML, or a shell line."""
    if pattern.tool != "DeepSpeed-Chat":
        path = folder / "foreign.yaml"
        path.write_text(yaml.safe_dump(pattern.values))
        return path
    path = folder / "run.sh"
    words = [word for name, value in pattern.values.items() for word in _option(name, value)]
    path.write_text("#!/bin/bash\nOUTPUT=$1\ndeepspeed main.py \\\n  " + " \\\n  ".join(words) + " &> $OUTPUT/log\n")
    return path


def _option(name: str, value: Any) -> list[str]:
    return [f"--{name}"] if value is True else [f"--{name} {' '.join(value) if isinstance(value, list) else value}"]


def draft_of(pattern: Pattern, folder: Path) -> Draft:
    return drafted(written(pattern, folder), Wish())


@pytest.mark.parametrize("name", ALL)
def test_a_file_is_known_by_its_content(name: str, folder: Path) -> None:
    assert draft_of(ALL[name], folder).title == ALL[name].tool


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_taken_commented_or_refused(name: str, folder: Path) -> None:
    draft = draft_of(ALL[name], folder)
    becomes = json.loads(json.dumps(ALL[name].becomes).replace("ROOT", str(folder)))
    assert {key: draft.value(key) for key in becomes} == becomes
    assert {remark.option for remark in draft.refusals} == set(ALL[name].refused)
    assert {remark.option for remark in draft.remarks} >= set(ALL[name].commented)


PLANNED = [  # composing takes 0.2 s: every fourth in `make test`
    name if number % 4 == 0 else pytest.param(name, marks=pytest.mark.exhaustive)
    for number, name in enumerate(CONVERTED)
]


@pytest.mark.parametrize("name", PLANNED)
def test_what_is_written_composes_and_plans(name: str, folder: Path) -> None:
    draft = draft_of(CONVERTED[name], folder)
    experiment = folder / "conf" / "experiment" / "imported.yaml"
    experiment.parent.mkdir(parents=True, exist_ok=True)
    text = experiment_text(draft, "foreign.yaml", "")
    experiment.write_text(text)
    for remark in draft.remarks:
        assert remark.option.split("=")[0] in text
    model = folder / "model"
    words = [
        f"--config-dir={folder / 'conf'}",
        "experiment=imported",
        f"model.path={model}",
        f"model.tokenizer={model}",
    ]
    config = compose.from_overrides(words, with_project_conf=False)
    assert config.seed == draft.value("seed")
    needs_package = draft.value("adapter") in ("qlora", "lora_8bit") or draft.value("optimizer") == "adamw_8bit"
    if not needs_package:
        assert isinstance(plan.shortfalls(config, MACHINE), str)
