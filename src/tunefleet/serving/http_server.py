"""HTTP server: uvicorn around the application, which ends its answers first when it is told to end."""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn
from starlette.applications import Starlette

_GRACE = 5  # seconds that connections have to take the end of their answers


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """At Ctrl-C or SIGTERM answers end where they are: nobody waits for the longest of them."""
        self.config.app.state.end_answers()  # type: ignore[union-attr]
        super().handle_exit(sig, frame)


def run(app: Starlette, listener: socket.socket) -> None:
    """Serves `app` at `listener` until a signal comes. Ctrl-C is no error."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE)
    try:
        _Server(config).run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises it again when all is closed
        return
