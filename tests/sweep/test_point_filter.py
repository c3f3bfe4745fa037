"""Does a filter compute what it says, and nothing else?"""

from __future__ import annotations

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.sweep.point_filter import Filter, typed_value

SETTINGS = {"optimizer.lr": 0.5, "train.max_steps": 4, "model": "gpt2", "name": None, "train.shuffle": True}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("optimizer.lr * train.max_steps < 3", True),
        ("optimizer.lr * train.max_steps < 2", False),
        ("1 < train.max_steps <= 4", True),
        ("1 < train.max_steps < 4", False),
        ("model in ['gpt2', 'opt-tiny'] and not train.max_steps % 2", True),
        ("model not in ('gpt2',) or train.max_steps // 3 == 1", True),
        ("model == 'opt-tiny'", False),
        ("name == null and train.shuffle == true", True),
        ("-train.max_steps ** 2 + 20 > 3", True),
        ("train.max_steps / optimizer.lr == 8", True),
    ],
)
def test_expressions(text: str, holds: bool) -> None:
    assert (not Filter.parse(text).refusal(SETTINGS.__getitem__)) is holds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__",
        "model.__class__()",
        "[x for x in (1, 2)]",
        "lambda: 1",
        "(x := 3)",
        "train['max_steps']",
        "f'{model}'",
        "b'1' == 1",
        "1 if model else 2",
        "model is None",
        "~train.max_steps",
        "train.max_steps << 9",
        "{1: 2}",
        "1; 2",
        "",
        "1" * 2000,
        "(" * 900,
    ],
)
def test_nothing_else_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match="Allowed: settings, numbers, texts"):
        Filter.parse(text)


@pytest.mark.parametrize("text", ["1 / 0 > 1", "9.0 ** 9999 > 1", "'a' * 3 == 1", "model < 3", "(0 - 2) ** 0.5 > 1"])
def test_what_cannot_be_computed_leaves_the_point_out(text: str) -> None:
    assert "cannot be computed" in Filter.parse(text).refusal(SETTINGS.__getitem__)


def test_drawn_texts_are_numbers_switches_and_texts() -> None:
    assert [typed_value(text) for text in ("1e-5", "3", "true", "null", "'3 %'", "gpt2")] == [
        1e-5, 3, True, None, "3 %", "gpt2",
    ]  # fmt: skip
