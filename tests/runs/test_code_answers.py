"""Are the programs of answers run with the tests of their rows, and pass@k taken over them?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.data.store.dataset import Example
from tunefleet.evaluation.generation import Answer
from tunefleet.runs import code_answers, validation

RIGHT = "Here it is:\n```python\ndef double(x):\n    return 2 * x\n```\nDone."
WRONG = "def double(x):\n    return x"


def test_the_first_block_is_the_code() -> None:
    assert code_answers.code_of(RIGHT) == "def double(x):\n    return 2 * x\n"
    assert code_answers.code_of(WRONG) == WRONG
    assert code_answers.code_of("```\nx = 1") == "x = 1"


def test_half_of_the_answers_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four answers to each of two questions, two and none are right."""
    examples = [Example([], f"prompt {n}", f"assert double({n}) == {2 * n}") for n in (1, 2)]
    texts = [RIGHT, WRONG, RIGHT, WRONG, *[WRONG] * 4]
    asked: list[Any] = []

    def answering(*inputs: Any) -> Any:
        return lambda examples: asked.append(examples) or [Answer(text, 0.0) for text in texts]

    monkeypatch.setattr(validation, "answering", answering)
    plan = tiny_plan(tmp_path, evaluation={"generate_rows": "all"})
    opened: Any = SimpleNamespace(
        plan=plan, model=None, inputs=None, splits={"test": SimpleNamespace(examples=examples)}
    )
    assert code_answers.pass_rates(opened, (1, 2), 4) == {
        "evaluation/test/pass@1": pytest.approx(0.25),
        "evaluation/test/pass@2": pytest.approx((1 - 1 / 6) / 2),  # C(2, 2) / C(4, 2) of the first has none
    }
    assert [example.prompt for example in asked[0]] == ["prompt 1"] * 4 + ["prompt 2"] * 4
