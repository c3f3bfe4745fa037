"""A server that answers wandb's client just enough, servers that do not, and a run that meets one of them.

`python -m tests.tracking.wandb_servers KIND FOLDER` logs three records through our sink and the real wandb package, and
prints a JSON object of what was said and how many seconds it took.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import socket
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


def main(kind: str, folder: Path) -> None:
    """Prints {"lines", "warned", "begun", "finished", "sent"}: lines, lines, seconds, seconds, whether steps came."""
    from tests.plans import tiny_plan
    from tunefleet.tracking import wandb

    patience = 20.0 if kind != "silent later" else 3.0
    server = answering(401 if kind == "refusing" else 200)
    port = {"dead": dead_port, "hole": black_hole}.get(kind, lambda: server.server_port)()
    os.environ.update(WANDB_BASE_URL=f"http://127.0.0.1:{port}", WANDB_API_KEY="k" * 40, WANDB_MODE="online")
    lines: list[str] = []
    warned: list[str] = []
    logging.getLogger("tunefleet.tracking.wandb").addFilter(lambda line: bool(warned.append(line.getMessage())))
    began = time.monotonic()
    sink = wandb.WandbSink(tiny_plan(folder), "online", lines.append, finish_seconds=patience)
    begun = time.monotonic() - began
    sink.log({"step": 1, "train/loss": 1.0})
    while sink.unsent_folder is None and sink.is_working:
        time.sleep(0.05)
    if kind == "silent later":
        server.silent.set()
    sink.log({"step": 2, "train/loss": 0.5})
    began = time.monotonic()
    sink.finish({"state": "finished"})
    finished = time.monotonic() - began
    sent = any(b"by_tokens/loss" in body for body in server.bodies)
    report = {"lines": lines, "warned": warned, "begun": begun, "finished": finished, "sent": sent}
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
