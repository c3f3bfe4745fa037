"""Is the report of a sweep a page that answers, opens offline, and comes with files that run?"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from tests.doors.browser import Browser, needs_browser
from tests.sweep.journals import MEASURED, SweepWriter, searched, trained
from tunefleet.base.status import State
from tunefleet.base.sweeps import SweepPaths
from tunefleet.doors import compose, sweep_best, sweep_report
from tunefleet.plan import Machine, Plan, make
from tunefleet.sweep.curves import MOST_CURVES
from tunefleet.sweep.find_sweep import named
from tunefleet.sweep.study import TrialRun
from tunefleet.tracking.series import moving_average

Capture = pytest.CaptureFixture[str]
OUTPUTS = Path("outputs")
READY = "return document.documentElement.dataset.ready === 'yes'"
EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


def opened(browser: Browser, sweep: SweepWriter) -> None:
    """Makes the report and opens it; nothing may be wrong with it, and it may ask for nothing."""
    sweep_report.write(sweep.paths)
    browser.complaints(), browser.requests()
    browser.open(sweep.paths.page, READY)


@needs_browser
def test_the_page_answers_offline(browser: Browser, here: Path) -> None:
    sweep = searched(here / "outputs")
    opened(browser, sweep)
    assert browser.run("return document.querySelector('#answer h2').textContent") == "Best: trial 27"
    for plot in ("curves", "parallel", "settings", "cost", "history"):
        paths = browser.run(f"return document.querySelectorAll('#{plot} .trace path, #{plot} .trace .point').length")
        assert paths >= 4, plot
    rows = "return document.querySelectorAll('#leaderboard tbody tr').length"
    assert browser.run(rows) == 27

    browser.run("document.querySelector('tr[data-trial=\"9\"]').click()")
    wide = (
        "return [...document.querySelectorAll('#curves .js-line')].filter(l => l.style.strokeWidth === '3.5px').length"
    )
    assert browser.run(wide) == 1
    detail = browser.run("return document.querySelector('#detail').innerText")
    assert "Trial 9" in detail
    assert "tunefleet reproduce outputs/run-9" in detail
    assert "outputs/run-9/logs/rank0.log" in detail

    traces = "return document.querySelectorAll('#curves .trace').length"
    assert browser.run(traces) == 27 + 2  # one each, the faint lines together, the evaluations together
    filter_by(browser, "finished schedule=cosine validation/loss<0.7")
    shown = browser.run("return [...document.querySelectorAll('#leaderboard tbody tr')].map(r => r.innerText)")
    assert 0 < len(shown) < 3
    assert all("finished" in row and "cosine" in row for row in shown)
    assert browser.run(traces) == len(shown) + 2
    filter_by(browser, "")

    click_head(browser, "lr")
    numbers = browser.run(
        "return [...document.querySelectorAll('#leaderboard tbody tr td:nth-child(5)')].map(c => +c.innerText)"
    )
    assert numbers == sorted(numbers)
    browser.run("document.querySelector('#x-switch button[data-value=tokens]').click()")
    assert browser.run("return document.querySelector('#curves .xtitle').textContent") == "tokens"
    assert browser.driver.save_screenshot(str(here / "report.png"))
    assert (here / "report.png").stat().st_size > 30_000
    assert browser.complaints() == []
    assert browser.requests() == []
    assert not browser.run("return document.querySelector('[data-title^=Share]')")


def filter_by(browser: Browser, text: str) -> None:
    """Types into the filter box."""
    change = (
        "const box = document.querySelector('#filter'); box.value = arguments[0]; box.dispatchEvent(new Event('input'))"
    )
    browser.run(change, text)


def click_head(browser: Browser, head: str) -> None:
    """Sorts by a column."""
    browser.run(
        "[...document.querySelectorAll('#leaderboard th')].find(h => h.innerText === arguments[0]).click()", head
    )


@needs_browser
def test_control_a_page_that_asks_the_network_is_noticed(browser: Browser, here: Path) -> None:
    page = here / "page.html"
    page.write_text('<!DOCTYPE html><img src="http://127.0.0.1:9/picture.png">')
    browser.complaints(), browser.requests()
    browser.open(page)
    assert browser.requests() == ["http://127.0.0.1:9/picture.png"]
    assert browser.complaints()


@needs_browser
def test_texts_are_shown_and_never_run(browser: Browser, here: Path) -> None:
    sweep = SweepWriter(here / "outputs", question=EVIL, expected="${jndi} $data")
    sweep.finished({"optimizer.lr": EVIL, "model": "a"}, 0.5)
    sweep.finished({"optimizer.lr": "1e-3", "model": EVIL}, 0.6)
    sweep.ended(sweep.drawn({"optimizer.lr": "2", "model": "b"}), "failed", EVIL)
    sweep.add("left_out", values={"model": EVIL}, reason=EVIL)
    opened(browser, sweep)
    browser.run("document.querySelector('#leaderboard tbody tr').click()")
    assert browser.run("return window.hacked") is None
    assert browser.run("return document.querySelector('#question').textContent") == EVIL
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert browser.complaints() == []


@needs_browser
def test_a_sweep_that_has_only_begun_has_a_page(browser: Browser, here: Path) -> None:
    sweep = SweepWriter(here / "outputs")
    opened(browser, sweep)
    assert browser.run("return document.querySelector('#answer').innerText").endswith("No trial has finished yet.")
    running = sweep.drawn({"optimizer.lr": "1e-3"})
    sweep.started(running)
    trained(sweep.run_dir(running), 9, 0.5, State.QUEUED)
    with open(sweep.run_dir(running) / "metrics.jsonl", "a") as stream:
        stream.write('{"step": 10, "train/lo')  # as a run that writes at this moment leaves it
    opened(browser, sweep)
    assert browser.run("return document.querySelectorAll('#curves .js-line').length") == 2
    assert browser.complaints() == []


# Size


def test_a_thousand_trials_stay_below_twenty_megabytes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    sweep = searched(here / "outputs", trials=30, steps=1)
    trained(here / "long", 500, 0.5)
    for number in range(31, 1001):
        directory = sweep.run_dir(sweep.finished({"optimizer.lr": str(number), "model": "opt-tiny"}, 1 / number))
        directory.mkdir()
        os.link(here / "long" / "metrics.jsonl", directory / "metrics.jsonl")
    sweep_report.write(sweep.paths)
    assert sweep.paths.page.stat().st_size < 20e6
    page = sweep.paths.page.read_text()
    assert 190 < page.count('"smooth":') <= MOST_CURVES
    assert len(list(csv.reader(sweep.paths.table.read_text().splitlines()))) == 1001


def test_a_moving_average_begins_at_the_first_value_and_follows() -> None:
    assert moving_average([5.0] * 4, 10) == pytest.approx([5.0] * 4)
    steps = moving_average([0.0] * 50 + [1.0] * 200, 20)
    assert steps[49] == 0
    assert 0.6 < steps[70] < 0.7  # 1 - 1/e after the window
    assert moving_average([1.0, 2.0], 0) == [1.0, 2.0]


# The experiment of the best


WORDS = ["optimizer=lion", "schedule=wsd", "train.max_steps=3", "data.max_rows=900", "model.num_layers=2"]


def planned(here: Path, lr: str, seed: int) -> tuple[Plan, TrialRun]:
    """A run of a trial, planned as the driver plans it."""
    overrides = [*WORDS, f"optimizer.lr={lr}", f"seed={seed}"]
    config = compose.from_overrides(overrides)
    plan = make(config, Machine.this(), overrides)
    plan.save()
    return plan, TrialRun(plan.run_dir, plan.identity, tuple(overrides), seed, 3, 1)


@pytest.fixture
def swept(here: Path) -> tuple[SweepWriter, list[Plan]]:
    """Two trials of two seeds; the second is better by its mean."""
    sweep, winners = SweepWriter(here / "outputs", question="Which lr?"), []
    for number, (lr, loss) in enumerate((("1e-3", 0.5), ("3e-3", 0.4)), 1):
        plans, runs = zip(*(planned(here, lr, seed) for seed in (3, 4)), strict=True)
        facts = {"trial": number, "values": {"optimizer.lr": lr}, "source": "sampler"}
        sweep.add("drawn", runs=[asdict(run) for run in runs], **facts)
        sweep.add("finished", trial=number, means=[loss], spreads=[0.02], measured=MEASURED)
        winners = list(plans)
    return sweep, winners


def test_the_experiment_of_the_best_trains_the_same_run(swept: tuple[SweepWriter, list[Plan]], capsys: Capture) -> None:
    sweep, (winner, _) = swept
    sweep_report.report(named("lr", OUTPUTS))
    folder = "outputs/sweeps/lr-1a2b3c4d"
    assert capsys.readouterr().out.splitlines()[-1] == f"best    {folder}/experiment/best.yaml"
    again = compose.from_overrides([f"--config-dir={folder}", "experiment=best"])
    assert make(again, Machine.this()).identity == winner.identity
    written = yaml.safe_load(sweep.paths.best.read_text())
    assert written["defaults"] == [{"override /optimizer": "lion"}, {"override /schedule": "wsd"}, "_self_"]
    assert (written["optimizer"], written["seed"]) == ({"lr": 3e-3}, 3)  # searched, so it is there, default or not
    assert written["experiment"]["expected"] == "validation/loss 0.4000±0.02, mean ± standard deviation of 2 seeds"
    assert f"# Command: python train.py --config-dir={folder} experiment=best" in sweep.paths.best.read_text()


def test_the_command_of_the_experiment_is_one(swept: tuple[SweepWriter, list[Plan]], capsys: Capture) -> None:
    winner = swept[1][0]
    sweep_report.report(named("lr", OUTPUTS))
    command = [
        sys.executable,
        "-m",
        "tunefleet",
        "plan",
        "--config-dir",
        "outputs/sweeps/lr-1a2b3c4d",
        "experiment=best",
    ]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert winner.name in printed
    assert "trial 2 is the best of 2 of the sweep lr-1a2b3c4d" in printed
    sweep_best.best(named("lr", OUTPUTS))
    assert "experiment=best" in capsys.readouterr().out


def test_commands_are_for_the_folder_where_the_sweep_began(
    swept: tuple[SweepWriter, list[Plan]], here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert sweep_best.best(named("lr", here / "outputs")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"reproduce          tunefleet reproduce outputs/{swept[1][0].name}" in lines
    assert f"typed in           {here}" in lines
    assert lines[-1] == "best    ../outputs/sweeps/lr-1a2b3c4d/experiment/best.yaml"
    assert Path.cwd() == here / "elsewhere"


def test_control_an_experiment_that_would_be_another_run_is_told(
    swept: tuple[SweepWriter, list[Plan]], capsys: Capture
) -> None:
    """As where a config of the winner's has changed since."""
    replace(swept[1][0], identity="0" * 64).save()
    sweep_report.report(named("lr", OUTPUTS))
    assert "best.yaml: is another run on this machine, or a config has changed since" in capsys.readouterr().out


# For whoever advances a sweep


def test_a_report_that_fails_is_one_line(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep_report.write_report(SweepPaths(here / "outputs" / "sweeps" / "gone"))
    line = capsys.readouterr().out
    assert line.startswith("no report was written: ")
    assert line.endswith("Again: tunefleet sweep report gone\n")
    assert line.count("\n") == 1
    sweep = searched(here / "outputs", trials=3, steps=2)
    sweep_report.write_report(sweep.paths)
    assert "report  outputs/sweeps/lr_asha-1a2b3c4d/report.html" in capsys.readouterr().out
