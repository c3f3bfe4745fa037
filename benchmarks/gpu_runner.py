"""Runner of the lines of benchmarks/gpu.sh: each in processes of its own, and with a limit of time."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

_BESIDE = 5  # lines that run beside each other
LEAST = 20.0  # seconds that a line must have to be begun
_SHOWN = 15  # last lines of a failure's log, in the JSON


@dataclass(frozen=True)
class Line:
    """A command that has `seconds` at most; it writes what it measured, as JSON, to the file that RESULT names.

    `rows` are those of docs/gpus.md. Lines that may run `beside` each other do; `ranks` processes are started, with
    what torch.distributed reads. `needs` are modules, programs and header files without which the line is left out.
    """

    name: str
    seconds: float
    command: Sequence[str]
    spec: Mapping[str, Any] = field(default_factory=dict)
    rows: str = ""
    ranks: int = 0
    beside: bool = False
    needs: str = ""
    decides: bool = False
    """Whether nothing else is begun where it fails."""


@dataclass(frozen=True)
class Outcome:
    """What became of a line: `state` is ok, failed, too slow, or left out, with the reason in `detail`."""

    line: Line
    state: str
    seconds: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""


def run_all(lines: Sequence[Line], out: Path, environment: Mapping[str, str], seconds: float) -> int:
    """Runs the lines within `seconds`; writes OUT/gpu.json after each, prints the table; 1 where one failed.

    PATIENCE in `environment` multiplies every limit: a dry run's, on a machine that has other things to do.
    """
    deadline, outcomes = time.monotonic() + seconds, []
    at_once = 1 if "PATIENCE" in environment else _BESIDE
    for beside, group in groupby(lines, key=lambda line: line.beside):
        with ThreadPoolExecutor(at_once if beside else 1) as pool:
            for outcome in pool.map(lambda line: _run(line, out, environment, deadline), list(group)):
                outcomes.append(outcome)
                print(_row(outcome), flush=True)
                _save(outcomes, out)
        if any(outcome.line.decides and outcome.state != "ok" for outcome in outcomes):
            break
    print("\n" + "\n".join(map(_row, outcomes)) + f"\n{out / 'gpu.json'}")
    return int(any(outcome.state in ("failed", "too slow") for outcome in outcomes))


def _run(line: Line, out: Path, environment: Mapping[str, str], deadline: float) -> Outcome:
    if missing := [need for need in line.needs.split() if not _is_there(need)]:
        return Outcome(line, "left out", detail=f"needs {', '.join(missing)}")
    limit = min(line.seconds * float(environment.get("PATIENCE", 1)), deadline - time.monotonic())
    if limit < LEAST:
        return Outcome(line, "left out", detail="no time")
    name = "".join(letter if letter.isalnum() else "-" for letter in line.name)
    result, log = out / f"{name}.json", out / f"{name}.log"
    result.unlink(missing_ok=True)
    began = time.monotonic()
    with log.open("w") as file:
        ranks = [_start(line, rank, environment, result, file) for rank in _environments(line)]
        codes = _codes(ranks, began + limit)
    took = time.monotonic() - began
    measured = json.loads(result.read_text()) if result.exists() else {}
    if None in codes:
        return Outcome(line, "too slow", took, measured, _end_of(log))
    state = "failed" if any(codes) else "ok"
    return Outcome(line, state, took, measured, _end_of(log) if any(codes) else "")


def _is_there(need: str) -> bool:
    if need.endswith(".h"):
        return any(Path(folder, need).exists() for folder in ("/usr/include", "/usr/local/include"))
    return bool(shutil.which(need) or importlib.util.find_spec(need))


def _environments(line: Line) -> Iterable[dict[str, str]]:
    """Of each rank."""
    if not line.ranks:
        return [{}]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": str(line.ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(line.ranks)]


def _start(line: Line, rank: Mapping[str, str], environment: Mapping[str, str], result: Path, log: Any) -> Any:
    own = {"RESULT": str(result), "SPEC": json.dumps(line.spec)}
    settings: dict[str, Any] = {"stdout": log, "stderr": subprocess.STDOUT, "start_new_session": True}
    return subprocess.Popen(line.command, env={**environment, **own, **rank}, **settings)


def _codes(ranks: Sequence[Any], deadline: float) -> list[int | None]:
    """Exit codes; None for what had to be ended. Where one rank fails, the others are not waited for."""
    while time.monotonic() < deadline and any(rank.poll() is None for rank in ranks):
        if any(rank.poll() for rank in ranks):
            deadline = min(deadline, time.monotonic() + 5)
        time.sleep(0.05)
    codes = [rank.poll() for rank in ranks]
    for rank in ranks:
        if rank.poll() is None:
            os.killpg(rank.pid, signal.SIGKILL)
            rank.wait()
    return [1 if code is None and any(codes) else code for code in codes]


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN:])


def _row(outcome: Outcome) -> str:
    numbers = "  ".join(f"{key} {_text(value)}" for key, value in outcome.result.items() if not isinstance(value, dict))
    reason = outcome.detail.splitlines()[-1] if outcome.detail else ""
    return f"{outcome.line.name:<28} {outcome.state:<9} {outcome.seconds:5.0f} s  {numbers or reason}"


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _save(outcomes: Sequence[Outcome], out: Path) -> None:
    records = [
        {
            "line": outcome.line.name,
            "rows": outcome.line.rows,
            "state": outcome.state,
            "seconds": round(outcome.seconds, 1),
            "result": outcome.result,
            "detail": outcome.detail,
            "command": list(outcome.line.command),
            "spec": outcome.line.spec,
        }
        for outcome in outcomes
    ]
    (out / "gpu.json").write_text(json.dumps(records, indent=1))
