"""How does a test serve a model? In a thread of its own process, at a free port, and gone afterwards."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from tunefleet.base import loopback
from tunefleet.evaluation.streamed_answer import Sampling
from tunefleet.serving.openai_api import Served, application


@contextmanager
def serving(model: Any, key: str = "", max_tokens: int = 512, hosts: Sequence[str] = loopback.NAMES) -> Iterator[str]:
    """The address of the server, with /v1."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    app = application(Served(model, "tiny", Sampling(max_tokens=max_tokens), key), hosts)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
    assert not thread.is_alive()
