"""Does `tunefleet serve` listen on loopback alone, answer, end cleanly at Ctrl-C, and hide its key? And vLLM's?"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from tests import scripted_model
from tunefleet.doors import cli

KEY = "sk-not-for-the-process-list"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripted_model.write(tmp_path_factory.mktemp("model") / "tiny", {"a": "Hi you."}, {"z": "xq"})


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tunefleet", "serve", str(folder), "--port", "0", "--max-tokens", "4000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TUNEFLEET_API_KEY": KEY},
        start_new_session=True,
    )
    assert process.stdout
    line = process.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+/v1", line)
    assert address, (line, process.stderr and process.stderr.read())
    yield process, address[0]
    process.kill()
    process.communicate()


def test_a_server_answers_who_has_the_key_and_ends_at_ctrl_c(server: tuple[subprocess.Popen[str], str]) -> None:
    """One process for all of it: its start takes seconds. A client still reads when it is told to end."""
    process, address = server
    command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert KEY.encode() not in command
    sockets = [used for used in psutil.Process(process.pid).net_connections("inet") if used.status == "LISTEN"]
    assert [used.laddr[0] for used in sockets] == ["127.0.0.1"]
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=address, api_key="other", max_retries=0).models.list()
    client = openai.OpenAI(base_url=address, api_key=KEY, max_retries=0, timeout=120)
    messages: Any = [{"role": "user", "content": "a"}]
    reply: Any = client.chat.completions.create(model="tiny", messages=messages)
    assert reply.choices[0].message.content == "Hi you."
    stream: Any = client.completions.create(model="tiny", prompt="z", stream=True)
    assert next(iter(stream)).choices[0].text
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert time.monotonic() - began < 40  # 3 s are meant; the machine may be busy
    output, complaint = process.communicate()
    assert "Traceback" not in output + complaint
    assert "stopped" in complaint


def ends(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", *arguments])
    return int(ended.value.code or 0), capsys.readouterr().err


def test_what_cannot_be_served_is_refused_before_the_model_is_read(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, complaint = ends([str(folder), "--port", port], capsys)
    assert (code, "cannot be listened at: Address already in use" in complaint) == (2, True)
    (tmp_path / "key").write_text("\n")
    for arguments, message in (
        ([str(folder), "--api-key-file", str(tmp_path / "key")], "is empty. Write the key into it."),
        ([str(folder), "--api-key-file", str(tmp_path / "no")], "No such file"),
        ([str(folder), "--host", "no such host"], "cannot be listened at"),
        ([str(folder), "--port", "70000"], "'70000' is not allowed. Allowed: a port from 0 to 65535."),
        (["nothing"], "no run, no folder of a model"),
        ([str(folder), "--engine", "vllm"], "vLLM is not installed"),
    ):
        code, complaint = ends(arguments, capsys)
        assert (code, message in complaint) == (2, True), complaint
        assert "Traceback" not in complaint


def test_vllm_is_given_the_folder_and_the_key_in_its_environment(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "vllm"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    started: list[Any] = []

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        started.append((path, command, environment))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TUNEFLEET_API_KEY", KEY)
    assert ends([str(folder), "--engine", "vllm", "--port", "9"], capsys)[0] == 0
    [(path, command, environment)] = started
    assert path == str(program)
    assert command[1:] == ["serve", str(folder), "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", "9"]
    assert (environment["VLLM_API_KEY"], environment["HF_HUB_OFFLINE"]) == (KEY, "1")
    (folder.with_name("adapter")).mkdir()
    (folder.with_name("adapter") / "adapter_config.json").write_text("{}")
    code, complaint = ends([str(folder.with_name("adapter")), "--engine", "vllm"], capsys)
    assert (code, "is an adapter alone" in complaint) == (2, True)
