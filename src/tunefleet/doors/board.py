"""`tunefleet board`: pages of all runs and sweeps of a folder, live in a browser."""

from __future__ import annotations

from pathlib import Path

from tunefleet.base.errors import ConfigError

_MISSING = "tunefleet board needs {name}, which is not installed: pip install starlette uvicorn"


def board(outputs: Path, host: str, port: int, exposed: bool, read_only: bool) -> None:
    """Serves the pages until Ctrl-C. Raises `ConfigError` where the web library is not there, or the folder is not."""
    try:
        from tunefleet.board import board_server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise ConfigError(_MISSING.format(name=error.name)) from None
    if not outputs.is_dir():
        raise ConfigError(f"{outputs}: no folder of runs is there. Name it: tunefleet board OUTPUTS.")
    board_server.serve(outputs, board_server.BoardOptions(host, port, exposed, read_only))
