"""Do the pages of the board work in a browser: list, a run that grows and is stopped, a sweep, hostile names?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.board.boards import ServedBoard, going, logged, made, served, wait_until
from tests.doors.browser import Browser, needs_browser
from tests.sweep.journals import SweepWriter
from tunefleet.base.status import Cause, State, read

EVIL = "<img src=x onerror='window.hacked = 1'>"
MANY = 60
CELLS = "return [...document.querySelectorAll('#runs tbody tr')].map((row) => row.dataset.run)"
TEXT = "return document.querySelector(arguments[0])?.textContent ?? null"
TYPE = "const e = document.querySelector(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('input'));"
CLICK = "document.querySelector(arguments[0]).click()"
POINTS = "return document.getElementById('loss').data?.[1]?.y.length ?? 0"

pytestmark = needs_browser


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("board") / "outputs"
    for number in range(MANY):
        made(outputs, f"run-{number:02}", lr=1e-3 * (1 + number % 3), updated=1.7e9 + number, loss=number / 10)
    logged(made(outputs, EVIL, State.FAILED, cause=Cause.ERROR, reason=EVIL, updated=1.6e9), 1, 9)
    sweep = SweepWriter(outputs, "lr_grid")
    for lr in ("0.1", "0.01"):
        number = sweep.finished({"optimizer.lr": lr, "data.path": EVIL}, float(lr))
        logged(made(outputs, sweep.run_dir(number).name, updated=1.5e9), 1, 20)
    return outputs


@pytest.fixture(scope="module")
def board(outputs: Path) -> Iterator[ServedBoard]:
    with served(outputs) as board:
        yield board


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def browser(window: Browser, board: ServedBoard) -> Iterator[Browser]:
    """At the list of runs; afterwards nothing was wrong, no text ran, and nothing but the board was asked."""
    window.driver.get("about:blank")
    window.complaints(), window.requests()
    window.driver.get(board.url)
    shows(window, "return document.documentElement.dataset.ready")
    yield window
    assert window.run("return window.hacked ?? null") is None
    assert window.complaints() == []
    assert all(url.startswith(board.url.partition("#")[0]) for url in window.requests())


def shows(browser: Browser, script: str, *arguments: Any) -> Any:
    """Waits until a line of JavaScript returns something true."""
    return wait_until(lambda: browser.run(script, *arguments), script)


def test_the_list_is_filtered_sorted_and_cut_into_pages(browser: Browser) -> None:
    assert browser.run(TEXT, "#count") == f"{MANY + 3} runs"
    assert browser.run(CELLS)[0] == "run-59"  # the newest
    browser.run(CLICK, "#later")
    wait_until(lambda: browser.run(CELLS)[-1].startswith("run-"), "the second page")
    wait_until(lambda: len(browser.run(CELLS)) == MANY + 3 - 50, "the rest")
    browser.run(TYPE, "#filter", "optimizer.lr=0.002 loss<2.5")
    wait_until(lambda: browser.run(CELLS) == [f"run-{n:02}" for n in range(22, 0, -3)], "the filter")
    browser.run(CLICK, "th[data-sort=loss]")
    browser.run(CLICK, "th[data-sort=loss]")
    wait_until(lambda: browser.run(CELLS) == [f"run-{n:02}" for n in range(1, 25, 3)], "by loss, the smallest first")
    browser.driver.refresh()
    wait_until(lambda: browser.run(CELLS) == [f"run-{n:02}" for n in range(1, 25, 3)], "the same after a reload")
    browser.run(TYPE, "#filter", "")
    shows(browser, "return document.querySelector('#states [data-value=failed]')")
    browser.run(CLICK, "#states [data-value=failed]")
    wait_until(lambda: browser.run(CELLS) == [EVIL], "what failed")


def test_a_run_grows_and_is_stopped(browser: Browser, outputs: Path) -> None:
    process = going(outputs, "grows")
    try:
        browser.run(TYPE, "#filter", "grows")
        shows(browser, "return document.querySelector('tr[data-run=grows] a')")
        browser.run(CLICK, "tr[data-run=grows] a")
        first = shows(browser, POINTS)
        wait_until(lambda: browser.run(POINTS) > first + 5, "more points")
        wait_until(lambda: f"step {first + 5} of" in browser.run(TEXT, "#log"), "lines of the log")
        assert browser.run("return document.getElementById('loss').data[0].y.slice(0, 3)") == [3.95, 3.9, 3.85]
        assert browser.run(TEXT, "#run-acts") == "cancel"
        browser.run(CLICK, "[data-act=cancel]")
        assert read(outputs / "grows" / "status.json").state is State.RUNNING  # type: ignore[union-attr]
        browser.run(CLICK, "[data-sure=cancel]")
        assert process.wait(60) == 0
        wait_until(lambda: browser.run(TEXT, "#reason") == "cancelled cancelled", "the final state")
        wait_until(lambda: browser.run(TEXT, "#run-acts") == "resume", "what can be done now")
        wait_until(lambda: "saves, then ends" in browser.run(TEXT, "#acts"), "what the command printed")
    finally:
        process.kill()
        process.wait()


def test_texts_are_shown_as_texts(browser: Browser) -> None:
    browser.run(TYPE, "#filter", "state=failed")
    wait_until(lambda: browser.run(CELLS) == [EVIL], "the run")
    assert EVIL in browser.run(TEXT, "#runs tbody")
    browser.run(CLICK, "#runs tbody a")
    wait_until(lambda: browser.run(TEXT, "#title") == EVIL, "its page")
    assert browser.run(TEXT, "#reason") == f"failed {EVIL}"
    assert shows(browser, POINTS) == 9


def test_a_sweep_has_its_leaderboard(browser: Browser) -> None:
    shows(browser, "return document.querySelector('#sweeps a')")
    browser.run(CLICK, "#sweeps a")
    shows(browser, "return document.querySelectorAll('#leaderboard tbody tr').length === 2")
    assert browser.run(TEXT, "#leaderboard tbody tr td:nth-child(2)") == "2"
    browser.run(CLICK, "#leaderboard tbody tr")
    assert EVIL in browser.run(TEXT, "#detail")
    assert browser.run("return document.getElementById('act-trial').value") == "2"
    assert browser.run("return document.querySelector('#detail a').getAttribute('href')") == "/runs/run-2"
    browser.run(CLICK, "[data-act='clone']")
    assert "Try trial 2 with" in browser.run(TEXT, "#clone-acts")


def test_without_the_token_it_asks_for_it(window: Browser, board: ServedBoard) -> None:
    window.driver.get(board.url.partition("#")[0])
    window.run("localStorage.clear()")
    window.driver.get(board.url.partition("#")[0])
    shows(window, "return !document.getElementById('token-section').hidden")
    assert window.run(CELLS) == []
    window.run("document.getElementById('token').value = arguments[0]", board.token)
    window.run(CLICK, "#token-button")
    wait_until(lambda: len(window.run(CELLS)) == 50, "the list")
    assert board.token not in window.run("return location.href")
    window.complaints()
