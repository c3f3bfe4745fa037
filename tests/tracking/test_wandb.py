"""Is Weights & Biases told when it can be, and never able to stop a run?"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.config.tracking import WandbMode
from tunefleet.tracking import wandb
from tunefleet.tracking.wandb import WandbSink, mode


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_without_a_key_it_is_offline_and_with_one_online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert mode(WandbMode.AUTO) == "offline"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert mode(WandbMode.AUTO) == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert mode(WandbMode.AUTO) == "disabled"
    assert mode(WandbMode.OFFLINE) == "offline"


def test_a_key_in_the_environment_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "key")
    assert mode(WandbMode.AUTO) == "online"


def test_an_error_in_it_is_said_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(self: WandbSink) -> None:
        raise RuntimeError("server on fire")

    monkeypatch.setattr(WandbSink, "_start", fails)
    sink = WandbSink(tiny_plan(tmp_path), "offline")
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            sink.log({"step": step})
        sink.finish({})
    assert caplog.text.count("server on fire") == 1
    assert "metrics.jsonl has everything" in caplog.text


def test_a_server_that_does_not_answer_does_not_hold_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WandbSink, "_start", lambda self: time.sleep(30))
    monkeypatch.setattr(wandb, "_SECONDS_TO_FINISH", 0.2)
    started = time.monotonic()
    sink = WandbSink(tiny_plan(tmp_path), "online")
    sink.log({"step": 1})
    sink.finish({})
    assert time.monotonic() - started < 5
