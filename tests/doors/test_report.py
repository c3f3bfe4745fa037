"""Is the page of `tunefleet report` whole, offline, and true to the files of the runs?"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.doors.browser import Browser, needs_browser
from tunefleet.base import files, status
from tunefleet.base.errors import ConfigError
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.doors.report import report
from tunefleet.launch.register import Run
from tunefleet.report import compare_page, run_page, run_view

READY = "return document.documentElement.dataset.ready === 'yes'"
EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
STEPS = 40


def trained(outputs: Path, name: str, lr: float, evil: str = "") -> Run:
    """A run directory as a finished run leaves it: its loss falls from 4 by `lr` a step."""
    paths = RunPaths(outputs / name)
    paths.root.mkdir(parents=True)
    config = {"name": name, "model": {"name": "opt-tiny"}, "optimizer": {"name": "adamw", "lr": lr}}
    files.write_json(paths.plan, {"name": name, "config": config, "layout": {"world_size": 2}})
    current = Status(State.FINISHED, STEPS, STEPS, STEPS, reason=evil, tokens=100 * STEPS, seconds=61.0)
    status.write(paths.status, current)
    records = [
        {"step": n, "tokens": 100 * n, "train/loss": 4 - lr * n, "train/seconds": 0.5, "memory/peak_gib": 1.5}
        for n in range(1, STEPS + 1)
    ]
    records.append({"step": STEPS, "tokens": 100 * STEPS, "final": True, "evaluation/rows/loss": 1.25})
    files.write_lines(paths.metrics, [json.dumps(record) + "\n" for record in records])
    answer = {"split": "rows", "question": f"play {evil}", "reference": "music", "answer": "noise"}
    files.write_lines(paths.samples, [json.dumps(answer) + "\n"])
    return Run(paths)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@needs_browser
def test_a_page_shows_one_run_offline_and_runs_no_text(browser: Browser, tmp_path: Path) -> None:
    run = trained(tmp_path, "music", 0.05, EVIL)
    report([run], None, tmp_path)
    browser.complaints(), browser.requests()
    browser.open(run.paths.report, READY)
    assert browser.run("return document.querySelector('#facts').textContent").count("40 of 40") == 1
    assert browser.run("return document.querySelector('#reason').textContent") == f"finished {EVIL}"
    drawn = "return document.getElementById('loss').data.map((trace) => [trace.name, trace.y.length])"
    assert browser.run(drawn) == [["training loss", STEPS], ["training loss", STEPS], ["rows", 1]]
    assert browser.run("return window.hacked ?? null") is None
    assert browser.complaints() == []
    assert browser.requests() == []


@needs_browser
def test_the_smoothing_slider_and_the_filters_answer(browser: Browser, tmp_path: Path) -> None:
    run = trained(tmp_path, "music", 0.05)
    report([run], None, tmp_path)
    browser.open(run.paths.report, READY)
    move = (
        "const s = document.getElementById('smoothing'); s.value = arguments[0]; s.dispatchEvent(new Event('input'));"
    )
    browser.run(move, "0")
    raw, smooth = browser.run("return document.getElementById('loss').data.slice(0, 2).map((trace) => trace.y)")
    assert smooth == pytest.approx(raw)
    _type(browser, "smoothing", "0.9")
    smooth = browser.run("return document.getElementById('loss').data[1].y")
    assert smooth[-1] > raw[-1]
    assert smooth[0] == pytest.approx(raw[0])
    rows = "return document.querySelectorAll('#settings tbody tr').length"
    assert browser.run(rows) == 4
    type_in = (
        "const f = document.getElementById('settings-filter'); f.value = 'lr'; f.dispatchEvent(new Event('input'));"
    )
    browser.run(type_in)
    assert browser.run(rows) == 1


def _type(browser: Browser, element: str, value: str) -> None:
    """As a user who moves a slider or fills in a field."""
    act = (
        "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('input'));"
    )
    browser.run(act, element, value)


@needs_browser
def test_several_runs_stand_beside_each_other(browser: Browser, tmp_path: Path) -> None:
    runs = [trained(tmp_path, "slow", 0.01), trained(tmp_path, "fast", 0.05)]
    report(runs, None, tmp_path)
    browser.open(tmp_path / "report.html", READY)
    heads = "return [...document.querySelectorAll('#differing th, #differing td')].map((cell) => cell.textContent)"
    assert browser.run(heads) == ["", "slow", "fast", "optimizer.lr", "0.01", "0.05"]
    names = browser.run("return document.getElementById('loss').data.map((trace) => trace.name)")
    assert {"slow: training loss", "fast: training loss", "slow: rows", "fast: rows"} <= set(names)


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """A run directory of which only the plan is there, and one whose files are torn."""
    bare, torn = trained(tmp_path, "bare", 0.05), trained(tmp_path, "torn", 0.05)
    for path in (bare.paths.status, bare.paths.metrics, bare.paths.samples):
        path.unlink()
    for path in (torn.paths.status, torn.paths.samples, torn.paths.provenance, torn.paths.data):
        path.write_bytes(b'{"\xff')
    view = run_view.view(bare)
    assert (view.state, view.curves, view.samples) == ("unknown", {}, [])
    assert "optimizer.lr" in view.settings
    assert run_view.view(torn).results == {"rows/loss": 1.25}
    assert run_page.filled([bare, torn])


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    """A pipe would keep a reader waiting for ever, and a folder has no lines."""
    run = trained(tmp_path, "piped", 0.05)
    for path in (run.paths.samples, run.paths.metrics):
        path.unlink()
    os.mkfifo(run.paths.samples)
    run.paths.metrics.mkdir()
    view = run_view.view(run)
    assert (view.curves, view.samples, view.state) == ({}, [], "finished")


def test_numbers_that_are_none_are_left_out(tmp_path: Path) -> None:
    run = trained(tmp_path, "edited", 0.05)
    rows = [
        {"step": 1, "train/loss": 3.0, "seconds": "a", "train/seconds": "b", "tokens": None},
        {"step": 2, "train/loss": "low", "memory/peak_gib": [1]},
        {"step": 3, "train/loss": float("nan"), "evaluation/rows/loss": {}},
        {"step": 4, "train/loss": 2.0, "train/seconds": 0.5, "tokens": 400},
    ]
    run.paths.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    view = run_view.view(run)
    assert view.curves["train/loss"].values == [3.0, 2.0]
    assert view.curves["train/loss"].seconds == [0.0, 2.0]
    assert view.results == {}


def test_values_are_those_of_the_metrics(tmp_path: Path) -> None:
    view = run_view.view(trained(tmp_path, "music", 0.05))
    loss = view.curves["train/loss"]
    assert (loss.steps[0], loss.steps[-1], loss.values[-1]) == (1, STEPS, pytest.approx(2.0))
    assert loss.seconds[-1] == pytest.approx(0.5 * STEPS)
    assert view.facts["speed"] == "200 tokens/s"
    assert view.facts["peak memory"] == "1.50 GiB"
    assert view.facts["cost"] == "1m 01s of 2 processes"


def test_a_failure_says_why(tmp_path: Path) -> None:
    run = trained(tmp_path, "lost", 0.05)
    status.write(run.paths.status, Status(State.FAILED, 3, STEPS, cause=Cause.KILLED))
    assert asdict(run_view.view(run))["reason"] == "killed"


def test_only_a_page_of_ours_is_replaced(tmp_path: Path) -> None:
    run = trained(tmp_path, "music", 0.05)
    page, mine = tmp_path / "page.html", tmp_path / "thesis.html"
    report([run], page, tmp_path)
    report([run], page, tmp_path)
    assert run_page.is_ours(page)
    mine.write_text("<html>my thesis</html>")
    with pytest.raises(ConfigError, match="no page of `tunefleet report`"):
        report([run], mine, tmp_path)
    assert mine.read_text() == "<html>my thesis</html>"


@needs_browser
def test_answers_stand_side_by_side_on_the_page_of_a_comparison(browser: Browser, tmp_path: Path) -> None:
    question = {"split": "rows", "question": f"play {EVIL}", "reference": "music"}
    answers = [
        {**question, "first": "music", "base": EVIL},
        {**question, "question": "stop", "first": "a", "base": "a"},
    ]
    tables = {"rows": {"heads": ["model", "loss"], "rows": [["first", "1.0"], ["base", "2.0"]]}}
    page = tmp_path / "compare.html"
    page.write_text(compare_page.filled(["first", "base"], tables, answers, seed=3), encoding="utf-8")
    browser.complaints(), browser.requests()
    browser.open(page, READY)
    shown = (
        "return [...document.querySelectorAll('#answers tr')].map((row) => [...row.cells].map((c) => c.textContent))"
    )
    heads, *rows = browser.run(shown)
    assert heads == ["split", "question", "reference", "first", "base"]
    assert rows == [list(row.values()) for row in answers]
    assert browser.run("return document.querySelector('#tables table').rows[2].cells[1].textContent") == "2.0"
    browser.run("document.getElementById('answers-differing').click()")
    assert [row[4] for row in browser.run(shown)[1:]] == [EVIL]
    _type(browser, "answers-filter", "nothing has this")
    assert browser.run(shown)[1:] == []
    assert browser.run("return window.hacked ?? null") is None
    assert browser.complaints() == []
    assert browser.requests() == []
