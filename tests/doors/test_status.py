"""Does a person see how runs stand?"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.doors.runs import later, moves, run_directory
from tests.launch.fakes import FakeSlurm, installed, queued
from tunefleet.base import files
from tunefleet.base.errors import DONE, FAILED, INTERRUPTED
from tunefleet.base.status import Cause, State
from tunefleet.doors import status as status_door

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setattr(status_door, "INTERVAL", 0.05)
    monkeypatch.chdir(tmp_path)
    return installed(tmp_path / "bin", monkeypatch)


# Cards and tables


def test_a_card_tells_what_is_known_and_nothing_else(capsys: Capture) -> None:
    more: dict[str, Any] = {"step": 7, "total_steps": 40, "saved_step": 5, "loss": 1.25, "tokens_per_second": 8125.0}
    status_door.status([run_directory("a", State.RUNNING, seconds_left=125.0, job="12", restarts=2, host="n1", **more)])
    lines = capsys.readouterr().out.splitlines()
    update = next(i for i, line in enumerate(lines) if line.startswith("last update"))
    lines[update] = re.sub(r" \(\d{4}-\d\d-\d\d \d\d:\d\d\)", " (TODAY)", lines[update])
    assert [line.split(maxsplit=1) for line in lines] == [
        ["run", "a"],
        ["state", "running"],
        ["step", "7 of 40, saved at 5"],
        ["loss", "1.2500"],
        ["speed", "8.12k tokens/s"],
        ["left", "2m 05s"],
        ["job", "12"],
        ["restarts", "2"],
        ["last", "update  0s ago (TODAY), from n1"],
        ["saved", "to     outputs/a"],
    ]


def test_a_card_of_a_run_that_ended_has_nothing_left(capsys: Capture) -> None:
    status_door.status(
        [run_directory("a", State.FAILED, seconds_left=125.0, cause=Cause.OUT_OF_MEMORY, reason="rank 1 failed: why")]
    )
    output = capsys.readouterr().out
    assert "left" not in output
    assert "reason       out of memory: rank 1 failed: why" in output


def test_a_card_counts_updates_that_were_left_out(capsys: Capture) -> None:
    run = run_directory("a", State.RUNNING, refused=1)
    run.paths.batches.write_text('{"position": 8, "act": "skip", "kind": "spike"}\n')
    status_door.status([run])
    assert "refused      1 update left out: 1 spike; rows in batches.jsonl\n" in capsys.readouterr().out


def test_a_run_that_never_started(capsys: Capture) -> None:
    status_door.status([run_directory("a", None)])
    assert capsys.readouterr().out == "run    a\nstate  planned, never started\n"


def test_a_table_for_several_has_no_column_that_says_nothing(capsys: Capture) -> None:
    done = run_directory("a", State.FINISHED, step=40, total_steps=40, loss=0.5, evaluation={"unseen/loss": 0.75})
    status_door.status([done, run_directory("long-name", None), run_directory("b", State.QUEUED)])
    lines = capsys.readouterr().out.splitlines()
    today = time.strftime("%Y-%m-%d")
    assert [line.replace(today, "TODAY").split() for line in lines[:2]] == [
        ["run", "state", "step", "loss", "evaluation", "updated"],
        ["a", "finished", "40/40", "0.5000", "0.7500", "TODAY", lines[1].split()[-1]],
    ]
    assert [line.split()[:4] for line in lines[2:]] == [["long-name", "planned", "-", "-"], ["b", "queued", "-", "-"]]
    assert {line.find(word) for line, word in zip(lines, ("state", "fin", "plan", "que"), strict=True)} == {11}


def test_the_last_evaluation_is_shown_in_a_table_and_on_a_card(capsys: Capture) -> None:
    measured = {"unseen_values/loss": 0.25, "unseen_values/exact_match": 0.861, "unseen_words/loss": 0.5}
    runs = [run_directory(name, State.FINISHED, evaluation=measured) for name in ("a", "b")]
    status_door.ls(runs)
    assert capsys.readouterr().out.count("0.2500 86%") == 2
    status_door.status(runs[:1])
    card = capsys.readouterr().out
    assert "unseen values  0.2500 86%" in card
    assert "unseen words   0.5000\n" in card


def test_a_table_says_what_differs_between_the_runs(capsys: Capture) -> None:
    for name, lr in (("a", 0.001), ("b", 0.003)):
        files.write_json(run_directory(name).paths.plan, {"config": {"optimizer": {"lr": lr, "name": "adamw"}}})
    status_door.ls([run_directory("a"), run_directory("b")])
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["differs", "lr=0.001", "lr=0.003"]


@pytest.mark.parametrize("width", [60, 80])
def test_a_table_fits_the_terminal(capsys: Capture, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(status_door.fitting, "terminal_width", lambda: width)
    more = {"step": 40, "total_steps": 40, "loss": 0.5, "reason": "x" * 200}
    runs = [run_directory(f"demo_opt-tiny_ddp-0268db9{i}", State.FAILED, **more) for i in "12"]
    status_door.ls(runs)
    status_door.status(runs[:1])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[1].startswith("demo_opt-tiny_ddp-0268db91  failed")


def test_a_damaged_status_is_not_a_run_that_never_started(capsys: Capture) -> None:
    run = run_directory("a")
    run.paths.status.write_text("{")
    status_door.status([run])
    assert f"unknown: {run.paths.status} is damaged" in capsys.readouterr().out


def test_a_long_reason_does_not_break_the_table(capsys: Capture) -> None:
    status_door.ls([run_directory("a", State.FAILED, reason="x" * 500)])
    assert max(map(len, capsys.readouterr().out.splitlines())) < 160


def test_no_runs(capsys: Capture) -> None:
    status_door.status([])
    status_door.ls([])
    status_door.ls([run_directory("a", State.FINISHED)], [State.FAILED])
    assert capsys.readouterr().out == "no runs\n" * 3


def test_ls_of_some_states(capsys: Capture) -> None:
    status_door.ls(
        [run_directory("a", State.FINISHED), run_directory("b", State.FAILED), run_directory("c", None)],
        [State.FAILED, State.QUEUED],
    )
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["run", "b"]


def test_a_silent_slurm_is_told(fake: FakeSlurm, capsys: Capture) -> None:
    fake.lacks("squeue")
    run = run_directory("a", State.QUEUED)
    queued(Path("outputs").resolve(), [run.paths])
    status_door.status([run])
    assert capsys.readouterr().out.endswith("SLURM did not answer: this is what the runs' own files say.\n")


# Waiting


def test_waiting_ends_with_the_last_run(capsys: Capture) -> None:
    runs = [run_directory("a"), run_directory("b")]
    thread = later(lambda: moves(runs[0], State.FINISHED), lambda: moves(runs[1], State.FINISHED, step=40))
    assert status_door.wait([run.paths for run in runs]) == DONE
    thread.join()
    assert capsys.readouterr().out.count("finished") == 2


@pytest.mark.parametrize("reason", ["[Errno 28] no space", "[/tmp/x] is full", "[bold]:smile:[/bold]", "[/]"])
def test_waiting_shows_a_reason_as_it_is_and_ends_with_a_failure(capsys: Capture, reason: str) -> None:
    assert (
        status_door.wait(
            [run_directory("a", State.FINISHED).paths, run_directory("b", State.FAILED, reason=reason).paths]
        )
        == FAILED
    )
    assert reason in " ".join(capsys.readouterr().out.split())


def test_leaving_leaves_the_jobs_alone(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status_door.time, "sleep", leave)
    run = run_directory("a")
    assert status_door.wait([run.paths]) == INTERRUPTED
    assert "The jobs keep running. Come back with: tunefleet status outputs/a" in capsys.readouterr().out
    assert not run.paths.cancelled.exists()
