"""Are test rows measured at the end and by the command alone, alike with any number of ranks and any batch?"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.doors.browser import Browser, needs_browser
from tests.ranks import run_in_ranks
from tests.runs import evaluations
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.doors.evaluate_models import Options, evaluate
from tunefleet.plan.paths import validation_splits

VALUES = {"loss", "perplexity", "exact_match", "accuracy", "macro_f1", "answers"}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Path, dict[str, Any]]]:
    """Of a run in one rank, and of one in two under ZeRO-3."""
    made = {}
    for ranks, overrides in ((1, []), (2, ["parallel=zero3", "train.micro_batch=1"])):
        folder = tmp_path_factory.mktemp(f"{ranks}-ranks")
        evaluations.files(folder)
        made[ranks] = folder, run_in_ranks("tests.runs.evaluations:measured", ranks, folder, overrides)[0]
    return made


def final(report: dict[str, Any]) -> dict[str, Any]:
    """{"SPLIT/VALUE": ...} of the last record."""
    [record] = [record for record in report["metrics"] if record.get("final")]
    return {key: value for key, value in record.items() if key.startswith("evaluation/")}


def test_test_rows_are_measured_at_the_end_beside_validation_rows(reports: Any) -> None:
    for _, report in reports.values():
        assert report["code"] == 0
        assert set(final(report)) == {f"evaluation/{split}/{v}" for split in ("validation", "test") for v in VALUES}
        assert final(report)["evaluation/test/answers"] == 11
        earlier = [record for record in report["metrics"] if not record.get("final")]
        assert not [key for record in earlier for key in record if key.startswith("evaluation/test")]


def test_the_same_numbers_for_ranks_and_batches(reports: Any) -> None:
    expected = final(reports[1][1])
    assert final(reports[2][1]) == pytest.approx(expected, rel=1e-5, abs=2e-5)
    for _, report in reports.values():
        for way in {"again", "batch 1", "batch 7"} & set(report):
            assert report[way] == pytest.approx(final(report), rel=1e-5, abs=2e-5), way
    of_test = {key: value for key, value in expected.items() if key.startswith("evaluation/test")}
    assert reports[1][1]["test alone"] == pytest.approx(of_test, rel=1e-5, abs=2e-5)


def test_the_command_measures_a_file_a_run_and_an_export(reports: Any) -> None:
    _, report = reports[1]
    expected = {key.rpartition("/")[2]: value for key, value in report["test alone"].items()}
    assert report["on file"]["splits"]["test"] == pytest.approx(expected, rel=1e-5, abs=2e-5)
    limited = report["without training data"]["splits"]["test"]
    assert limited["answers"] == 5
    exported = report["export"]
    assert exported["splits"]["test"]["loss"] == pytest.approx(expected["loss"], rel=1e-5, abs=2e-5)
    rows = [json.loads(line) for line in Path(exported["predictions"]).read_text().splitlines()]
    assert [row["question"] for row in rows] == [f"test row {n}" for n in range(11)]
    assert all(row["prompt"].count(row["question"]) == 1 and row["log_probability"] < 0 for row in rows)
    assert exported["splits"]["test"]["exact_match"] == sum(row["exact_match"] for row in rows) / 11
    assert [row["reference"] for row in rows] == [evaluations.LABELS[n % 4] for n in range(11)]


def test_a_run_and_its_export_compare_as_one_model(reports: Any) -> None:
    """Every difference is 0 to the rounding, no interval is sure, and all questions are on the page."""
    folder, report = reports[1]
    lines = [line.split("  ") for line in report["compared"].splitlines() if line.startswith("run -> ")]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert [row[2] for row in cells] == ["loss", "exact_match", "accuracy", "macro_f1"]
    assert {row[3].lstrip("+-") for row in cells} == {"0.0000"}
    page = (folder / "compared.html").read_text()
    assert page.count('"question":') == 6
    assert "seed 0" in page


def test_prompts_are_answered_side_by_side(reports: Any) -> None:
    folder, report = reports[1]
    assert "no references, no scores" in report["answered"]
    assert report["answered"].splitlines()[0].strip() == "a question"
    assert "another \\u003cb\\u003e" in (folder / "compare.html").read_text()  # as text, never as HTML


@needs_browser
def test_the_pages_of_compare_open_offline(reports: Any, tmp_path: Path) -> None:
    folder, _ = reports[1]
    browser = Browser(tmp_path)
    try:
        shown = (
            "return [...document.querySelectorAll('#answers tr')].map((r) => [...r.cells].map((c) => c.textContent))"
        )
        for page, questions in (("compared.html", 6), ("compare.html", 2)):
            browser.open(folder / page, "return document.documentElement.dataset.ready === 'yes'")
            heads, *rows = browser.run(shown)
            assert [head[:3] for head in heads[-2:]] == ["1. ", "2. "]
            assert len(rows) == questions
            assert all(row[-1] == row[-2] for row in rows)  # one model, twice
        assert [row[heads.index("question")] for row in rows] == ["a question", "another <b>"]
        assert (browser.complaints(), browser.requests()) == ([], [])
    finally:
        browser.close()


def test_labels_are_what_is_answered(reports: Any) -> None:
    folder, _ = reports[2]
    rows = [json.loads(line) for line in (folder / "run" / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 23
    assert {row["answer"] for row in rows} <= set(evaluations.LABELS)


def test_test_rows_decide_nothing(tmp_path: Path) -> None:
    """Neither a metric that decides nor the run's identity knows them; a mixture's source cannot take their name."""
    evaluations.files(tmp_path)
    plan = evaluations.planned(tmp_path)
    assert plan.identity == evaluations.planned(tmp_path, "data.test_path=null").identity
    assert not [name for name in validation_splits.metrics(plan.config) if name.startswith("test")]
    with pytest.raises(ConfigError, match=r"checkpoint\.metric: 'test/loss' is measured by no evaluation"):
        evaluations.planned(tmp_path, "checkpoint.keep_best=1", "checkpoint.metric=test/loss")
    with pytest.raises(ConfigError, match=r"data\.test_path: .*no file"):
        evaluations.planned(tmp_path, "data.test_path=nowhere.jsonl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(pass_at=(1,)), "Allow it with --run-generated-code"),
        (Options(pass_at=(1, 10), answers=5, runs_code=True), "5 answers give no pass@10"),
        (Options(pass_at=(1,), runs_code=True), "Set evaluation.decoding=sampling"),
        (Options(limit=0), "--limit: 0 is not allowed"),
        (Options(overrides=("optimizer.lr=1",)), "only settings of evaluation can be changed"),
        (Options(overrides=("evaluation.beams=3",)), "evaluation.beams=3: not used"),
        (Options(overrides=("evaluation.decodin=beam",)), "evaluation.decodin"),
        (Options(on="nosplit"), "nosplit is no file, and no split. There are: validation, test"),
        (Options(on="./nowhere.jsonl"), "nowhere.jsonl is no file"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    tmp_path: Path, options: Options, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    evaluations.files(tmp_path)
    plan = evaluations.planned(tmp_path)
    plan.save()
    plan.paths.checkpoints.mkdir()
    with pytest.raises(ConfigError, match=message):
        evaluate("run", tmp_path, options)


def test_labels_and_thresholds_are_not_read_from_the_rows_that_are_measured(tmp_path: Path) -> None:
    evaluations.files(tmp_path)
    rows = ("data.format=labelled", "data.tokenizer=demo", f"data.cache={tmp_path}/cache")
    for setting, message in (("answers=labels", "List evaluation.labels"), ("threshold=auto", "Give a number")):
        options = Options(on=str(tmp_path / "test.jsonl"), overrides=(*rows, f"evaluation.{setting}"))
        with pytest.raises(ConfigError, match=message):
            evaluate("opt-tiny", tmp_path, options)


def test_a_model_needs_rows_and_nothing_else_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="is a model without rows of its own"):
        evaluate(str(tmp_path), tmp_path, Options())
    with pytest.raises(RunError, match="nothing-here"):
        evaluate("nothing-here", tmp_path, Options(on="demo"))
