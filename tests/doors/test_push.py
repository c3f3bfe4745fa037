"""Is an export pushed only when asked, only its own files, privately, and refused in one line without a network?"""

from __future__ import annotations

import itertools
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base import delivery
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.doors import push


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "export"
    with delivery.staging(target) as staged:
        (staged / "config.json").write_text("{}")
        delivery.deliver(staged, target, {})
    (target / "README.md").write_text("card")
    (target / "diary.txt").write_text("mine")
    return target


def test_only_what_the_export_left_there_is_sent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    def run(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        started.append((command, env))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    push.push(folder, "me/model")
    [(command, environment)] = started
    assert command[1:6] == ["upload", "me/model", str(folder), ".", "--private"]
    included = [name for option, name in itertools.pairwise(command) if option == "--include"]
    assert included == ["config.json", "README.md"]
    assert "HF_HUB_OFFLINE" not in environment


@pytest.mark.parametrize("name", ["model", "me/model/x", "../model", "me/", "--token=x/y", "me/mo del", ""])
def test_a_name_that_no_repository_has_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is no repository\. Name it as OWNER/NAME"):
        push.expect_name(name)


def test_without_a_network_it_is_one_line_and_the_export_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real program, at a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("HF_TOKEN", "none")
    with pytest.raises(RunError, match=r"is written, and was not pushed to me/model: .*refused") as refused:
        push.push(folder, "me/model")
    assert "\n" not in str(refused.value)
    assert delivery.changes(folder) == []
