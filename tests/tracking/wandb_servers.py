"""A server that answers wandb's client just enough, servers that do not, and a run that meets one of them.

`python -m tests.tracking.wandb_servers KIND FOLDER SECONDS` logs two records through our sink and the real wandb
package, waits SECONDS at the end, and prints a JSON object of what was said and how long it took.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_BUCKET = {"id": "b", "displayName": "d", "config": "{}", "historyLineCount": 0}
_PROJECT = {"id": "p", "name": "tunefleet", "entity": {"id": "e", "name": "team"}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answers at once, also where what is sent gets no answer."""
        self._answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.bodies.append(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)  # type: ignore[attr-defined]
        if self.server.silent.is_set():  # type: ignore[attr-defined]
            threading.Event().wait()
        if b"UpsertBucket" in body:
            name = json.loads(body)["variables"].get("name")
            bucket = {**_BUCKET, "name": name, "project": _PROJECT}
            self._answer({"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}})
        elif b"CreateRunFiles" in body:
            self._answer({"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []}}})
        else:
            self._answer({"data": {}})

    def _answer(self, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(self.server.code)  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


def answering(code: int = 200) -> Any:
    """A server with `bodies` of what was sent; silent once its event `silent` is set."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads, server.silent, server.bodies, server.code = True, threading.Event(), [], code
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def dead_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def black_hole() -> int:
    """The port of a socket that accepts and never answers."""
    hole = socket.socket()
    hole.bind(("127.0.0.1", 0))
    hole.listen(50)
    accepted = []

    def accept() -> None:
        while True:
            accepted.append(hole.accept())

    threading.Thread(target=accept, daemon=True).start()
    return int(hole.getsockname()[1])


def killable() -> tuple[subprocess.Popen[str], int]:
    """A server that answers, in a process of its own, and its port."""
    process = subprocess.Popen([sys.executable, "-m", __spec__.name, "serve"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, int(process.stdout.readline())


def main(kind: str, folder: Path, patience: float) -> None:
    """Prints {"lines", "warned", "begun", "finished", "sent", "killed_by", "ended"}.

    Lines, lines, seconds, seconds, whether steps came, the signal that ended the server, the time when all was done.
    """
    from tests.faults.small_disk import filled
    from tests.plans import tiny_plan
    from tunefleet.tracking import wandb

    server = answering(401 if kind == "refusing" else 200)
    process, process_port = killable() if kind == "killed" else (None, 0)
    server.silent.set() if kind == "mute" else None
    port = process_port or {"dead": dead_port, "hole": black_hole}.get(kind, lambda: server.server_port)()
    os.environ.update(WANDB_BASE_URL=f"http://127.0.0.1:{port}", WANDB_API_KEY="k" * 40, WANDB_MODE="online")
    mode = "offline" if kind == "full" else "online"
    lines: list[str] = []
    warned: list[str] = []
    logging.getLogger("tunefleet.tracking.wandb").addFilter(lambda line: bool(warned.append(line.getMessage())))
    began = time.monotonic()
    sink = wandb.WandbSink(tiny_plan(folder), mode, lines.append, finish_seconds=patience)
    begun = time.monotonic() - began
    sink.log({"step": 1, "train/loss": 1.0})
    while kind != "mute" and sink.unsent_folder is None and sink.is_working:
        time.sleep(0.05)
    if kind == "silent later":
        server.silent.set()
    if process:
        process.kill()
        process.wait()
    if kind == "full":
        filled(folder)
    sink.log({"step": 2, "train/loss": 0.5})
    began = time.monotonic()
    sink.finish({"state": "finished"})
    finished = time.monotonic() - began
    sent = any(b"by_tokens/loss" in body for body in server.bodies)
    report = {"lines": lines, "warned": warned, "begun": begun, "finished": finished, "sent": sent}
    report |= {"killed_by": -process.returncode if process else 0, "ended": time.time()}
    print(json.dumps(report))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        print(answering().server_port, flush=True)
        signal.pause()
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
