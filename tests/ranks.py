"""How a test runs a function in several real gloo ranks: one process each, results as JSON.

The ranks are forks of one process for each pytest, which has imported what they need: nothing is imported twice. Tests
of doors, stories and cluster start ranks as users do.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tunefleet.launch.local import free_port

ROOT = Path(__file__).parents[1]
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


def run_in_ranks(function: str, ranks: int, folder: Path, argument: Any = None) -> list[Any]:
    """What `module:function(rank_folder, argument)` returns in each of `ranks` processes, in rank order."""
    port = free_port()
    environments = [{**os.environ, **_ENVIRONMENT, **_rank_environment(rank, ranks, port)} for rank in range(ranks)]
    codes = _ask({"function": function, "folder": str(folder), "argument": argument, "environments": environments})
    failed = {rank: code for rank, code in enumerate(codes) if code}
    logs = (f"rank {rank}, exit code {code}: {_end_of_log(folder, rank)}" for rank, code in failed.items())
    assert not failed, "\n".join(logs)
    return [json.loads((folder / f"result-{rank}.json").read_text()) for rank in range(ranks)]


def _end_of_log(folder: Path, rank: int) -> str:
    return (folder / f"log-{rank}.txt").read_text()[-4000:]


def _rank_environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _ask(request: dict[str, Any]) -> list[int]:
    """The exit codes of the ranks."""
    server = _server()
    assert server.stdin
    assert server.stdout
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    codes: list[int] = json.loads(server.stdout.readline())
    return codes


@functools.cache
def _server() -> subprocess.Popen[str]:
    """It ends when its input does."""
    command, environment = [sys.executable, "-m", "tests.rank_server"], {**os.environ, **_ENVIRONMENT}
    pipe = subprocess.PIPE
    server = subprocess.Popen(command, env=environment, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    atexit.register(server.communicate)
    return server
