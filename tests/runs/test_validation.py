"""Are losses and exact matches those of each split, and do answers end where they ended in training?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plans import tiny_plan
from tests.shared import dataset_of, tiny_model, tiny_tokenizer
from tunefleet.contracts import Group
from tunefleet.data import prepare
from tunefleet.data.encode.template import find
from tunefleet.data.store.dataset import Example
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.evaluation.generation import Limits
from tunefleet.model.learner import Learner
from tunefleet.runs import validation
from tunefleet.runs.validation import Sample


def example(number: int) -> Example:
    return Example([{"role": "user", "content": f"question {number}"}], f"prompt {number}", f"answer {number}")


def inputs(template: str = "plain", examples: int = 4) -> Any:
    """Two splits, one of them without rows and examples."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    tokenizer.chat_template = find(template, None)
    split = dataset_of([([5, 6, 7], [False, True, True]), ([8, 9], [False, True])])
    split.examples.extend(example(number) for number in range(examples))
    data = SimpleNamespace(validation={"seen": split, "none": _Empty()}, template=prepare.own_template(tokenizer))
    return SimpleNamespace(data=data, tokenizer=tokenizer)


class _Empty:
    examples: tuple[Example, ...] = ()

    def __len__(self) -> int:
        return 0


def test_every_split_with_rows_has_a_loss_and_a_perplexity(tmp_path: Path) -> None:
    model = PlainModel(Learner(tiny_model("llama")))
    record = validation.losses(tiny_plan(tmp_path), model, SingleProcess(), inputs())
    assert set(record) == {"evaluation/seen/loss", "evaluation/seen/perplexity"}
    assert 0 < record["evaluation/seen/loss"] < 20


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the model is asked; it answers all but the second question as the data do."""
    calls: list[Any] = []

    def answers(model: Any, group: Group, tokenizer: Any, prompts: list[str], limits: Limits) -> list[str]:
        calls.append((prompts, limits))
        return [f" {prompt.replace('prompt', 'answer')}\n" if "1" not in prompt else "no" for prompt in prompts]

    monkeypatch.setattr(validation, "answers", answers)
    return calls


def matched(folder: Path, **changes: Any) -> tuple[dict[str, Any], list[Sample]]:
    model: Any = None
    return validation.of_answers(tiny_plan(folder, **changes), model, SingleProcess(), inputs())


def test_exact_match_is_the_fraction_of_answers_that_are_the_datas(tmp_path: Path, calls: list[Any]) -> None:
    record, samples = matched(tmp_path)
    assert record == {"evaluation/seen/exact_match": 0.75, "evaluation/seen/answers": 4}
    assert [sample.is_exact_match for sample in samples] == [True, False, True, True]
    assert samples[1] == Sample("seen", "question 1", "answer 1", "no")


def test_as_many_questions_as_wanted_are_asked_evenly_spaced(tmp_path: Path, calls: list[Any]) -> None:
    matched(tmp_path, evaluation={"generate_rows": 2})
    [(prompts, _)] = calls
    assert prompts == ["prompt 1", "prompt 3"]


def test_no_questions_are_no_record(tmp_path: Path, calls: list[Any]) -> None:
    assert matched(tmp_path, evaluation={"generate_rows": 0}) == ({}, [])
    assert calls == []


def test_answers_stop_at_the_end_of_the_turn_and_of_the_sequence(tmp_path: Path, calls: list[Any]) -> None:
    model: Any = None
    validation.of_answers(tiny_plan(tmp_path), model, SingleProcess(), inputs("gemma"))
    [(_, limits)] = calls
    assert limits.stops == (2, 320)
