"""Does a card hold the run's numbers, no path and no secret, and does one that was edited stay as it is?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plans import tiny_plan, tokenizer_folder
from tunefleet.base import files
from tunefleet.config.adapter import AdapterConfig, AdapterName
from tunefleet.config.data import MixedSource
from tunefleet.doors.compose import from_overrides
from tunefleet.plan import Machine, Plan, make
from tunefleet.runs import model_card

MEASURED = {
    "step": 7,
    "evaluation/validation/loss": 1.25,
    "evaluation/validation/perplexity": 3.49,
    "evaluation/validation/exact_match": 0.5,
    "evaluation/validation/answers": 4,
}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "private").mkdir()
    rows = tmp_path / "private" / "notes.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n')
    tokenizer = str(tokenizer_folder(tmp_path))
    plan = tiny_plan(tmp_path, data={"name": "notes", "path": str(rows), "tokenizer": tokenizer})
    records = [{"step": 7, "train/loss": 9.0}, {**MEASURED, "step": 3, "evaluation/validation/loss": 2.0}, MEASURED]
    files.write_text(plan.paths.metrics, "".join(json.dumps(record) + "\n" for record in records))
    files.write_json(plan.paths.data, {"conversations": 1200, "tokens": 34567, "loss_tokens": 8910})
    packages = {"commit": "", "branch": "", "dirty": False, "untracked": [], "python": "3", "host": "", "user": ""}
    packages |= {"command": "", "time": "", "packages": {"torch": "2.13.0", "wandb": "1"}}  # type: ignore[dict-item]
    files.write_json(plan.paths.provenance, packages)
    return plan


def card(plan: Plan, folder: Path, step: int = 7) -> str:
    folder.mkdir(exist_ok=True)
    assert model_card.write(plan, folder, step, "bfloat16")
    return (folder / "README.md").read_text()


def front_matter(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text.split("---\n")[1]))


def test_it_holds_what_was_measured_and_how_it_was_trained(plan: Plan, tmp_path: Path) -> None:
    text = card(plan, tmp_path / "export")
    assert "loss 1.2500, perplexity 3.49, exact match 50.0% of 4 answers" in text
    assert "2.0000" not in text  # of another step
    for line in (
        "| conversations | 1,200 |",
        "| tokens in the loss | 8,910 |",
        "| sources | notes.jsonl |",
        "| optimizer steps | 7 |",
        "| torch | 2.13.0 |",
        f"| identity | {plan.identity} |",
        "| data: notes.jsonl | unknown: not stated; say it before you publish this model |",
    ):
        assert line in text
    assert "these weights are bfloat16" in text
    assert str(tmp_path) not in text
    assert "private" not in text
    assert front_matter(text) == {
        "license": "unknown",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tunefleet"],
    }


def test_a_step_that_was_not_measured_has_no_numbers(plan: Plan, tmp_path: Path) -> None:
    assert "Not measured at step 5; `tunefleet evaluate" in card(plan, tmp_path / "export", step=5)


@pytest.mark.parametrize(
    ("merge", "library", "relation"), [(True, "transformers", "finetune"), (False, "peft", "adapter")]
)
def test_base_model_and_its_licence(plan: Plan, tmp_path: Path, merge: bool, library: str, relation: str) -> None:
    base = tmp_path / "base-model"
    base.mkdir()
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Base\n")
    adapter = AdapterConfig(name=AdapterName.LORA, merge=merge)
    model = replace(plan.config.model, path=str(base))
    plan = replace(
        plan,
        config=replace(plan.config, adapter=adapter, model=model),
        sources=replace(plan.sources, weights=str(base)),
    )
    text = card(plan, tmp_path / "export")
    fields = front_matter(text)
    assert (fields["license"], fields["base_model"]) == ("apache-2.0", "base-model")
    assert (fields["library_name"], fields["base_model_relation"]) == (library, relation)
    assert "| base model | apache-2.0 |" in text
    (base / "README.md").write_text("---\nlicense: [&a [*a\n---\n")  # no licence can be read there
    assert front_matter(card(plan, tmp_path / "export"))["license"] == "unknown"


def test_licences_of_data_are_stated_by_the_user_or_by_their_card(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order: what the user says, what the card of a data set of the hub says, unknown."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    made = tmp_path / "hub" / "datasets--example--talks"
    (made / "snapshots" / "abc").mkdir(parents=True)
    (made / "refs").mkdir()
    (made / "refs" / "main").write_text("abc")
    (made / "snapshots" / "abc" / "README.md").write_text("---\nlicense: [cc-by-4.0, mit]\n---\n# Talks\n")
    sources = [
        MixedSource(path=str(tmp_path / "private" / "notes.jsonl"), name="notes", license="cc0-1.0"),
        MixedSource(path="hub:example/talks"),
        MixedSource(path="hub:example/gone"),
        MixedSource(path="other/gone", license="mit"),
        MixedSource(path="demo"),
    ]
    data = replace(plan.config.data, mix=tuple(sources), path=None)
    text = card(replace(plan, config=replace(plan.config, data=data)), tmp_path / "export")
    table = text.partition("## Licences")[2].partition("##")[0]
    assert [line for line in table.splitlines() if line.startswith("| data")] == [
        "| data: notes | cc0-1.0 |",
        "| data: talks | cc-by-4.0, mit |",
        "| data: gone | unknown: not stated; say it before you publish this model |",
        "| data: gone (4) | mit |",
        "| data: demo | apache-2.0 |",
    ]
    assert front_matter(text)["datasets"] == ["example/talks", "example/gone"]
    assert front_matter(text)["license"] == "unknown"  # of the model: that of its data is not its own


def test_a_licence_changes_no_run() -> None:
    config = from_overrides([])
    stated = replace(config, data=replace(config.data, license="mit"))
    assert make(stated, Machine(cores=1)).identity == make(config, Machine(cores=1)).identity


def test_one_that_was_edited_stays(plan: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    first = card(plan, folder)
    assert card(plan, folder, step=3) != first  # ours is written anew
    edited = card(plan, folder).replace("not stated; say it", "CC0; said")
    (folder / "README.md").write_text(edited)
    assert not model_card.write(plan, folder, 3, "float32")
    assert (folder / "README.md").read_text() == edited
    (folder / "README.md").write_bytes(b"\xff")
    assert not model_card.write(plan, folder, 3, "float32")


def test_it_holds_no_secret(plan: Plan, tmp_path: Path) -> None:
    token = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dF3h"
    plan = replace(plan, config=replace(plan.config, data=replace(plan.config.data, name=token)))
    assert token not in card(plan, tmp_path / "export")
