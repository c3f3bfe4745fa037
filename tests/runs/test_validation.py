"""Are losses and exact matches those of each split, and do answers end where they ended in training?"""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plans import tiny_plan
from tests.shared import dataset_of, tiny_model, tiny_tokenizer
from tunefleet.contracts import Group
from tunefleet.data import prepare
from tunefleet.data.encode.template_source import find
from tunefleet.data.store.dataset import Example
from tunefleet.engine.plain_model import PlainModel, SingleProcess
from tunefleet.evaluation.decoding import Decoding
from tunefleet.evaluation.generation import Answer, Limits
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
    """What the model is asked; it answers all but the second question as the data do, and is less sure of each."""
    calls: list[Any] = []

    def generate(
        model: Any, group: Group, tokenizer: Any, prompts: list[str], limits: Limits, decoding: Decoding, check: Any
    ) -> list[Answer]:
        calls.append((prompts, limits))
        texts = [f" {prompt.replace('prompt', 'answer')}\n" if "1" not in prompt else "no" for prompt in prompts]
        return [Answer(text, math.log(0.9 - 0.1 * number)) for number, text in enumerate(texts)]

    monkeypatch.setattr(validation, "generate", generate)
    return calls


def matched(folder: Path, **changes: Any) -> tuple[dict[str, Any], list[Sample]]:
    model: Any = None
    return validation.of_answers(tiny_plan(folder, **changes), model, SingleProcess(), inputs())


def test_exact_match_is_the_fraction_of_answers_that_are_the_datas(tmp_path: Path, calls: list[Any]) -> None:
    record, samples = matched(tmp_path)
    assert record == {"evaluation/seen/exact_match": 0.75, "evaluation/seen/answers": 4}
    assert [sample.is_exact_match for sample in samples] == [True, False, True, True]
    assert samples[1] == Sample("seen", "question 1", "answer 1", "no", "prompt 1", math.log(0.8), "no")


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


@pytest.mark.parametrize(("cost", "threshold", "exact"), [(0.0, 0.6, 0.75), (0.3, 0.7, 0.5), (1.0, 0.9, 0.25)])
def test_the_threshold_is_chosen_at_its_cost(
    tmp_path: Path, calls: list[Any], cost: float, threshold: float, exact: float
) -> None:
    """`threshold_cost` 0.3 of four rows is one."""
    settings = {"generate_rows": "all", "threshold": "auto", "threshold_cost": cost}
    record, samples = matched(tmp_path, evaluation=settings)
    assert record["evaluation/seen/threshold"] == pytest.approx(threshold)
    assert record["evaluation/seen/exact_match"] == exact
    changed = [sample for sample in samples if sample.answer == "out_of_scope"]
    assert all(math.exp(sample.log_probability or 0) < threshold - 1e-9 for sample in changed)
    assert all(sample.generated != "out_of_scope" for sample in changed)
