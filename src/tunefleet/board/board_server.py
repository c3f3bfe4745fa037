"""Board server: the socket, the line that says where the board is, and its end."""

from __future__ import annotations

import errno
import ipaddress
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from tunefleet.base import loopback
from tunefleet.base.errors import ConfigError
from tunefleet.board.board_app import Board
from tunefleet.board.request_guard import Guard

_PATIENCE = 2  # seconds for answers that are on their way when the board ends


@dataclass(frozen=True)
class BoardOptions:
    """Where it listens, and what it allows: `exposed` an address that others reach, `read_only` no act."""

    host: str = "127.0.0.1"
    port: int = 8765
    exposed: bool = False
    read_only: bool = False


def serve(outputs: Path, options: BoardOptions) -> None:
    """Shows `outputs` until Ctrl-C or SIGTERM.

    Raises `ConfigError` for an address that is not loopback's unless it is `exposed`, and for a port that is taken.
    """
    listening = _bound(options)
    board, guard = Board(outputs.resolve(), options.read_only), _guard(options)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # uvicorn ends for them, and raises them again afterwards
    config = uvicorn.Config(
        board.app(guard),
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_PATIENCE,
    )
    print(f"board of {outputs}: {_address(listening, options)}/#token={guard.token}  (Ctrl-C ends it)", flush=True)
    uvicorn.Server(config).run(sockets=[listening])
    for act in board.acts.unfinished():
        print(f"goes on: {act.command}")
    board.acts.close()
    print("the board has ended")


def _bound(options: BoardOptions) -> socket.socket:
    """The socket. Raises `ConfigError`."""
    if not 0 <= options.port <= 65535:
        raise ConfigError(f"--port: {options.port} is not allowed. Allowed: 1 to 65535, or 0 for any that is free.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise ConfigError(f"--host {options.host}: no address of this machine.") from None
    if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback and not options.exposed:
        raise ConfigError(_exposure(options))
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise ConfigError(_unbound(options, error)) from None
    return listening


def _exposure(options: BoardOptions) -> str:
    machine = socket.gethostname()
    return (
        f"--host {options.host}: others could reach the board there; who has its address and token sees all runs, and "
        f"cancels and starts some as you, and nothing is encrypted on the way. From elsewhere, rather: "
        f"ssh -L {options.port}:localhost:{options.port} {machine}. To do it all the same, add --expose."
    )


def _unbound(options: BoardOptions, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {options.port}: is taken, perhaps by another board. --port 0 takes any that is free."
    if error.errno == errno.EACCES:
        return f"--port {options.port}: is not yours to take. Choose one above 1023, or 0 for any that is free."
    return f"--host {options.host}: {error.strerror}. Choose an address of this machine."


def _guard(options: BoardOptions) -> Guard:
    machine = (socket.gethostname(), socket.getfqdn(), options.host) if options.exposed else ()
    return Guard(hosts=frozenset([*loopback.NAMES, *(name.lower() for name in machine)]), exposed=options.exposed)


def _address(listening: socket.socket, options: BoardOptions) -> str:
    """What is typed into a browser: of an address that stands for all, this machine's name."""
    address = listening.getsockname()
    name = socket.gethostname() if ipaddress.ip_address(address[0]).is_unspecified else options.host
    if listening.family is socket.AF_INET6 and ":" in name:
        name = f"[{name}]"
    return f"http://{name}:{address[1]}"
