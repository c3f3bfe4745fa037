"""Are the labels of a run its training answers, or the listed ones, token by token as it was trained?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.plans import OPT, tiny_plan
from tests.shared import tiny_tokenizer
from tunefleet.base.errors import ConfigError
from tunefleet.data.prepare import prepare
from tunefleet.evaluation.decoding import Decoding, Sampling
from tunefleet.plan import Plan
from tunefleet.runs.decoding_rules import decoding_of
from tunefleet.runs.inputs import RunInputs

LONG = {"name": "long", "init": "random", "architecture": {**OPT, "max_position_embeddings": 256}}
LABELS = ["play music", "set alarm", "out_of_scope"]


def prepared(folder: Path, template: str = "chatml", **evaluation: Any) -> tuple[Plan, RunInputs]:
    rows = [{"prompt": f"question {n}", "completion": LABELS[n % 3]} for n in range(9)]
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"path": str(path), "validation_rows": 0, "cache": str(folder / "cache"), "template": template}
    data["tokenizer"] = str(folder / "tokenizer")
    evaluation = {"answers": "labels", **evaluation}
    (folder / "tokenizer").mkdir(exist_ok=True)
    (folder / "tokenizer" / "tokenizer.json").touch()
    plan = tiny_plan(folder, data=data, evaluation=evaluation, sequence_length=256, model=LONG)
    inputs: Any = RunInputs(tiny_tokenizer(), prepare(plan.config.data, tiny_tokenizer(), 256), None)  # type: ignore[arg-type]
    return plan, inputs


@pytest.mark.parametrize("template", ["chatml", "plain"])
def test_the_answers_of_the_training_data_are_the_labels(tmp_path: Path, template: str) -> None:
    """Listed or not, they are the same tokens, and they read as the labels."""
    plan, inputs = prepared(tmp_path, template)
    trie = decoding_of(plan, inputs).allowed
    assert trie
    texts = [inputs.tokenizer.decode(answer, skip_special_tokens=True).strip() for answer in trie.answers]
    assert {text.removesuffix("<|im_end|>").removesuffix("<end_of_turn>").strip() for text in texts} >= set(LABELS)
    assert len(trie.answers) == 3
    listed = decoding_of(*prepared(tmp_path, template, labels=LABELS)).allowed
    assert listed
    assert listed.answers == trie.answers


def test_a_label_is_shorter_than_an_answer_may_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the longest label has \d+ tokens.*Set evaluation.max_new_tokens="):
        decoding_of(*prepared(tmp_path, max_new_tokens=2))


def test_every_setting_reaches_the_decoding(tmp_path: Path) -> None:
    drawn = {"decoding": "sampling", "temperature": 0.5, "top_p": 0.9, "top_k": 7, "seed": 4, "stop_texts": ["x"]}
    assert decoding_of(*prepared(tmp_path, answers="any", **drawn)) == Decoding(Sampling(0.5, 0.9, 7, 4), 1, ("x",))
    assert decoding_of(*prepared(tmp_path, answers="any", decoding="beam", beams=2)) == Decoding(beams=2)
