"""Boards that tests look at: run directories made in a moment, and `tunefleet board` as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State, Status

TOKEN_HEADER = "X-Tunefleet-Token"
PATIENCE = 60.0


def made(outputs: Path, name: str, state: State = State.FINISHED, lr: float = 1e-3, **facts: Any) -> RunPaths:
    """A run directory of one plan and one status, without metrics."""
    paths = RunPaths(outputs / name)
    paths.root.mkdir(parents=True)
    config = {"name": name, "model": {"name": "opt-tiny"}, "optimizer": {"name": "adamw", "lr": lr}}
    plan = {"name": name, "config": config, "layout": {"world_size": 2}}
    paths.plan.write_text(json.dumps(plan))
    stand(paths, Status(**{"state": state, "step": 40, "total_steps": 40, "loss": 1.5, **facts}))
    return paths


def stand(paths: RunPaths, now: Status) -> None:
    """Replaces status.json as a run does, but for the wait until it is on the disk."""
    record = {**asdict(now), "state": now.state.value, "cause": now.cause.value}
    files.rewrite(paths.status, json.dumps(record).encode())


def logged(paths: RunPaths, first: int, last: int) -> None:
    """Appends the rows of these steps to metrics.jsonl; their loss is 4 - step / 20."""
    rows = [
        {"step": n, "tokens": 100 * n, "train/loss": 4 - n / 20, "train/seconds": 0.5} for n in range(first, last + 1)
    ]
    with open(paths.metrics, "a") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in rows))


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Waits until it is true, and returns it."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:.0f} s"
        time.sleep(0.05)
    return value


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """Its content."""
        return json.loads(self.body)


@dataclass(frozen=True)
class ServedBoard:
    """A board in another process."""

    process: subprocess.Popen[str]
    line: str

    @property
    def url(self) -> str:
        """The address that it printed, with its token."""
        match = re.search(r"http://\S+", self.line)
        assert match, self.line
        return match[0]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.split("/")[2].rpartition(":")[2])

    @property
    def token(self) -> str:
        """What acts need."""
        return self.url.partition("#token=")[2]

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str | None) -> Answer:
        """One request, its path sent as it is; a header is named with _ for -, and None leaves one out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        sent: dict[str, str | None] = {TOKEN_HEADER: self.token, "Host": f"127.0.0.1:{self.port}"}
        content = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        if content is not None:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(content)
        response = connection.getresponse()
        answer = Answer(response.status, response.msg, response.read())
        connection.close()
        return answer

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Ends it; its exit code, and what it printed meanwhile."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output


def started(outputs: Path, *arguments: str) -> ServedBoard:
    """`tunefleet board` on a port that is free, once it has printed its line."""
    command = [sys.executable, "-m", "tunefleet", "board", str(outputs), "--port", "0", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )
    assert process.stdout
    return ServedBoard(process, process.stdout.readline())


@contextmanager
def served(outputs: Path, *arguments: str) -> Iterator[ServedBoard]:
    """The same, ended afterwards."""
    board = started(outputs, *arguments)
    try:
        yield board
    finally:
        if board.process.poll() is None:
            board.end()


def going(outputs: Path, name: str) -> subprocess.Popen[bytes]:
    """A process that is a run: its curve grows ten times a second, and it ends when it is asked to."""
    paths = made(outputs, name, State.QUEUED)
    process = subprocess.Popen([sys.executable, "-m", "tests.board.going_run", str(paths.root)])
    wait_until(lambda: paths.metrics.exists(), "the first row")
    return process


def total(paths: RunPaths) -> int:
    """The rows of metrics.jsonl."""
    return len(files.read_records(paths.metrics))
