"""Is Weights & Biases told when it can be, and never able to stop a run?"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.plans import tiny_plan
from tests.ranks import ROOT
from tests.tracking.offline_runs import OfflineRun, offline_runs
from tests.tracking.wandb_servers import black_hole
from tunefleet.tracking import wandb_server
from tunefleet.tracking.wandb import WandbSink

KINDS = ("answering", "dead", "hole", "refusing", "silent later")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[dict[str, Any], Path]]]:
    """What a run said with each kind of server, and its folder; with the real package, all at the same time."""
    folders = {kind: tmp_path_factory.mktemp("wandb") for kind in KINDS}
    module = [sys.executable, "-m", "tests.tracking.wandb_servers"]
    begun = {
        kind: subprocess.Popen(
            [*module, kind, str(folder), "3" if kind == "silent later" else "20"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind, folder in folders.items()
    }
    try:
        outputs = {kind: process.communicate(timeout=200)[0] for kind, process in begun.items()}
        assert {process.returncode for process in begun.values()} == {0}
        yield {kind: (json.loads(outputs[kind].splitlines()[-1]), folder) for kind, folder in folders.items()}
    finally:
        for process in begun.values():
            process.kill()
            process.wait()


def test_a_server_that_answers_gets_the_run_and_its_address_is_said(runs: dict[str, Any]) -> None:
    report, folder = runs["answering"]
    assert report["sent"]
    assert [line.split(":", 1)[0] for line in report["lines"]] == ["Weights & Biases"]
    assert "/team/tunefleet/runs/" in report["lines"][0]
    assert not list(folder.glob("*/wandb/offline-run-*"))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("dead", "does not answer ([Errno 111]"), ("hole", "does not answer (timed out)"), ("refusing", "error 401")],
)
def test_without_a_server_the_run_is_kept_offline_with_the_command_that_sends_it(
    runs: dict[str, Any], kind: str, reason: str
) -> None:
    """Also of a firewall that drops everything, and of a key that is refused."""
    report, folder = runs[kind]
    (run_folder,) = folder.glob("*/wandb/offline-run-*")
    assert reason in report["lines"][0]
    assert report["lines"][0].endswith("; the run is saved offline")
    assert report["lines"][1].startswith("Weights & Biases: send the run with: tunefleet sync ")
    assert report["lines"][1].endswith(f"/{run_folder.parent.parent.name}")
    assert b"by_tokens/loss" in next(run_folder.glob("*.wandb")).read_bytes()
    assert report["warned"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_does_not_wait_for_any_server(runs: dict[str, Any], kind: str) -> None:
    assert runs[kind][0]["begun"] < 1  # with all of them started at once; measured alone: 0.02 s


def test_a_black_hole_is_known_in_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ten seconds that wandb.init may take, a run is online or saved offline after thirteen."""
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{black_hole()}")
    monkeypatch.setenv("WANDB_API_KEY", "key")
    began = time.monotonic()
    assert wandb_server.obstacle().endswith("does not answer (timed out)")
    assert time.monotonic() - began < 3 + 1


def test_a_server_that_falls_silent_stops_nothing_and_the_run_can_be_sent_later(runs: dict[str, Any]) -> None:
    report, _ = runs["silent later"]
    assert report["warned"] == ["Weights & Biases stopped: no answer at the end. metrics.jsonl has everything."]
    assert "send the run with: tunefleet sync " in report["lines"][-1]
    assert report["finished"] < 3.0 + 2


def package(init: Any) -> Any:
    """A stand-in for the package of W&B whose runs start as `init` does."""
    return SimpleNamespace(init=init, Settings=lambda **settings: None, teardown=lambda: None)


def test_an_error_in_it_is_said_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(**settings: Any) -> None:
        raise RuntimeError("server on fire")

    monkeypatch.setitem(sys.modules, "wandb", package(fails))
    sink = WandbSink(tiny_plan(tmp_path), "offline", print)
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            sink.log({"step": step})
        sink.finish({})
    assert caplog.text.count("server on fire") == 1
    assert "metrics.jsonl has everything" in caplog.text


def test_a_thread_that_hangs_does_not_hold_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", package(lambda **settings: time.sleep(30)))
    sink = WandbSink(tiny_plan(tmp_path), "offline", print, finish_seconds=0.2)
    sink.log({"step": 1})
    started = time.monotonic()
    sink.finish({})
    assert 0.2 <= time.monotonic() - started < 2


# One run over all its starts


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[OfflineRun], str]:
    """What the starts of one run left for the server, paused, pruned and finished, and what was printed."""
    folder = tmp_path_factory.mktemp("starts")
    command = [sys.executable, "-m", "tests.tracking.wandb_starts", str(folder)]
    printed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=200, check=True).stdout
    (run_dir,) = (path.parent for path in folder.glob("*/metrics.jsonl"))
    return offline_runs(run_dir), printed


def test_all_starts_are_one_run_with_its_name_and_group(starts: tuple[list[OfflineRun], str]) -> None:
    runs, printed = starts
    assert len(runs) == 3
    assert {(run.id, run.name, run.group) for run in runs} == {(runs[0].id, "lr=1e-4", "lr")}
    assert [run.steps for run in runs] == [[1, 2], [3], [4]]
    assert printed.splitlines()[-1].startswith("Weights & Biases: send the run with: tunefleet sync ")


def test_every_start_ends_well_and_says_how_the_run_stands(starts: tuple[list[OfflineRun], str]) -> None:
    assert [(run.summary["state"], run.exit_code) for run in starts[0]] == [
        ("paused", 0),
        ("pruned", 0),
        ("finished", 0),
    ]


def test_the_best_loss_is_that_of_all_starts(starts: tuple[list[OfflineRun], str]) -> None:
    assert [run.summary["best/seen/loss"] for run in starts[0]] == [2.5, 2.0, 2.0]
    assert "best/unseen/loss" not in starts[0][-1].summary  # NaN is never the best
