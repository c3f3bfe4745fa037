"""Are models paired row by row, and refused where rows or tokens differ?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tunefleet.base.errors import ConfigError, DataError
from tunefleet.doors.compare import compare
from tunefleet.doors.evaluate_models import Options
from tunefleet.evaluation.metrics.row_statistics import RowStatistics, ratio
from tunefleet.runs.comparison import Side, compared
from tunefleet.runs.validation import Sample


def side(label: str, right: list[int], tokens: float = 5.0, question: str = "q") -> Side:
    samples = [Sample("test", f"{question}{n}", "yes", "yes" if one else "no") for n, one in enumerate(right)]
    statistics: dict[str, RowStatistics] = {
        "loss": ratio([1.0] * len(right), [tokens] * len(right)),
        "exact_match": ratio(right, [1] * len(right)),
    }
    return Side(label, {"test": samples}, {"test": statistics})


def test_every_pair_is_compared_by_every_value() -> None:
    comparison = compared([side("a", [1, 0] * 50), side("b", [1, 1] * 50), side("base", [0, 0] * 50)], seed=0)
    pairs = {(pair.first, pair.second, pair.value): pair.difference for pair in comparison.pairs}
    assert len(pairs) == 6
    assert pairs[0, 1, "exact_match"].value == 0.5
    assert pairs[0, 1, "exact_match"].is_sure
    assert pairs[0, 2, "exact_match"].value == -0.5
    assert not pairs[0, 1, "loss"].is_sure


def test_losses_over_other_tokens_are_not_compared() -> None:
    comparison = compared([side("a", [1]), side("b", [1], tokens=7)], seed=0)
    assert [pair.value for pair in comparison.pairs] == ["exact_match"]
    assert comparison.notes == ["a and b have other tokens: their losses do not compare."]


def test_other_questions_are_refused() -> None:
    with pytest.raises(DataError, match="a and b did not read the same rows"):
        compared([side("a", [1]), side("b", [1], question="other")], seed=0)


def test_what_cannot_be_compared_is_refused_before_a_model_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name the rows, --on DATA, or the questions"):
        compare(["a", "b"], tmp_path, Options())
    with pytest.raises(ConfigError, match="name the rows, --on DATA, or the questions"):
        compare(["a", "b"], tmp_path, Options(on="x"), tmp_path / "prompts.txt")
    with pytest.raises(ConfigError, match="a alone"):
        compare(["a"], tmp_path, Options(on="x"))
    (tmp_path / "compare.html").write_text("mine")
    with pytest.raises(ConfigError, match=r"compare\.html: is there already"):
        compare(["a", "b"], tmp_path, Options(on="x"))
    (tmp_path / "compare.html").unlink()
    for content, message in (("", "holds no question"), ('{"question": 1}', "a line of")):
        (tmp_path / "p.jsonl").write_text(content)
        with pytest.raises(ConfigError, match=message):
            compare(["a", "b"], tmp_path, Options(), tmp_path / "p.jsonl")
