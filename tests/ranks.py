"""How a test runs a function in several real gloo ranks: one process each, results as JSON."""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tunefleet.launch.local import free_port

_SECONDS = 500  # for the slowest function of all tests on a busy machine
ROOT = Path(__file__).parents[1]


def run_in_ranks(function: str, ranks: int, folder: Path, argument: Any = None) -> list[Any]:
    """What `module:function(rank_folder, argument)` returns in each of `ranks` processes, in rank order."""
    port = free_port()
    processes = [_start(function, rank, ranks, port, folder, argument) for rank in range(ranks)]
    try:
        codes = [process.wait(timeout=_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    failed = [rank for rank, code in enumerate(codes) if code]
    assert not failed, "\n".join((folder / f"log-{rank}.txt").read_text()[-4000:] for rank in failed)
    return [json.loads((folder / f"result-{rank}.json").read_text()) for rank in range(ranks)]


def _start(function: str, rank: int, ranks: int, port: int, folder: Path, argument: Any) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "tests.ranks", function, str(folder), json.dumps(argument)]
    with open(folder / f"log-{rank}.txt", "wb") as log:  # a pipe that nobody reads would stop a rank
        return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def _main() -> None:
    name, folder, argument = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    module, function = name.split(":")
    imported = importlib.import_module(module)
    gc.freeze()  # what is imported stays: every engine that closes collects, a quarter of a second with all of torch
    result = getattr(imported, function)(folder, argument)
    (folder / f"result-{os.environ['RANK']}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    _main()
