"""Do the lines of the console say what was measured, in the words of the field?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.runs import run_summary
from tunefleet.runs.validation import Sample

RECORD = {
    "evaluation/new_words/loss": 1.25,
    "evaluation/new_words/perplexity": 3.4903,
    "evaluation/new_words/exact_match": 0.5,
    "evaluation/new_words/answers": 8,
    "evaluation/seen/loss": 0.5,
    "evaluation/seen/perplexity": 1.6487,
}


def test_results_have_a_line_for_each_split() -> None:
    assert run_summary.results({**RECORD, "step": 3}) == {
        "new words": "loss 1.2500, perplexity 3.49, exact match 50.0% of 8 answers",
        "seen": "loss 0.5000, perplexity 1.649",
    }


def test_status_gets_the_numbers_by_split() -> None:
    metrics = run_summary.split_metrics({**RECORD, "step": 3})
    assert metrics["seen/loss"] == 0.5
    assert len(metrics) == len(RECORD)


def test_samples_show_the_datas_answer_where_the_models_is_another(tmp_path: Path) -> None:
    answered = [("a\nb?", "yes", " yes "), ("c?", "no", "maybe"), ("d", "", "")]
    samples = [Sample("seen", *texts) for texts in answered]
    plan = tiny_plan(tmp_path, evaluation={"samples": 2})
    assert run_summary.sample_lines(plan, samples) == ["  a b?", "    -> yes", "  c?", "    -> maybe", "    != no"]


def test_long_texts_are_cut_to_one_line() -> None:
    line = run_summary.on_one_line("word " * 100)
    assert len(line) == 110
    assert line.endswith("...")


@pytest.mark.parametrize(("limit", "shown"), [(None, "1,000"), (2000, "1,000"), (10, "10 of 1,000, drawn evenly")])
def test_an_evaluation_says_of_how_many_rows_it_is(tmp_path: Path, limit: int | None, shown: str) -> None:
    plan = tiny_plan(tmp_path, evaluation={"max_rows": limit})
    splits: Any = {"new_words": range(1000)}
    facts = run_summary.evaluation_facts(plan, splits)
    assert facts["new words rows"] == shown
    assert facts["precision"] == "fp32, as in training"


def test_memory_that_ran_out_is_told_with_the_numbers_and_the_next_setting(tmp_path: Path) -> None:
    plan = replace(tiny_plan(tmp_path), expected=None)
    message = run_summary.out_of_memory(plan, RuntimeError("no memory left\nat all"), 1.5)
    assert "of 48 tokens: this process held up to 1.50 GiB. no memory left Next: " in message
