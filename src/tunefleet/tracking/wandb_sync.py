"""W&B upload, later: the files of a run that was offline, or the run made anew from metrics.jsonl."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tunefleet.base import secrets, status
from tunefleet.base.errors import RunError, TunefleetError
from tunefleet.plan.plan import Plan
from tunefleet.tracking import metrics, wandb_file, wandb_server
from tunefleet.tracking.wandb import WandbSink

_SECONDS_TO_REBUILD = 120.0
_SECONDS_TO_SEND = 300.0  # without an end, `wandb sync` tries again for hours
_OFFLINE = "offline-run-"


def expect_server() -> None:
    """Expects a key and a server that answers. Raises `RunError` with what to do, after seconds at most."""
    if obstacle := wandb_server.obstacle():
        raise RunError(
            f"Weights & Biases: {obstacle}. Do this on a machine that has a key (wandb login, or WANDB_API_KEY) and "
            "reaches the server; WANDB_BASE_URL names one of your own."
        )


def send(plan: Plan) -> str:
    """Sends what the server does not have, as one W&B run over all starts; returns what was done, for the user.

    The offline files are sent where they hold every step of metrics.jsonl; where one is missing, empty or torn, or
    where the server has a part, the run is made anew and replaces it. Raises `RunError` where there are no metrics,
    `TunefleetError` where the server did not take it.
    """
    logged = {record["step"] for record in metrics.read(plan.paths.metrics)}
    if not logged:
        raise RunError(f"{plan.name}: {plan.paths.metrics} has no records, so there is nothing to send.")
    steps_of = {path: wandb_file.steps(path) for path in sorted(plan.paths.wandb.glob("wandb/*run-*/*.wandb"))}
    if _holds(logged, {path: steps for path, steps in steps_of.items() if _is_sent(path)}):
        return f"{plan.name}: the server has it already"
    files = _to_send(logged, steps_of)
    origin = "its offline files" if files else "metrics.jsonl, since its offline files do not hold every step"
    for path in files or [_rebuilt(plan)]:
        _upload(plan, path)
    return f"{plan.name}: {len(logged)} steps were sent, from {origin}"


def _to_send(logged: set[int], steps_of: Mapping[Path, set[int] | None]) -> list[Path]:
    """The offline files that hold every step: one alone, or all in the order of the starts; none where they do not."""
    offline = {path: steps for path, steps in steps_of.items() if path.parent.name.startswith(_OFFLINE)}
    for path, steps in offline.items():
        if _holds(logged, {path: steps}):
            return [path]
    is_whole = len(offline) == len(steps_of) and None not in steps_of.values() and _holds(logged, steps_of)
    return [path for path in steps_of if not _is_sent(path)] if is_whole else []


def _holds(logged: set[int], steps_of: Mapping[Path, set[int] | None]) -> bool:
    return logged <= set().union(*(steps or () for steps in steps_of.values()))


def _is_sent(path: Path) -> bool:
    """Whether `wandb sync`, or the run itself, has marked the file."""
    return path.with_name(f"{path.name}.synced").exists()


def _rebuilt(plan: Plan) -> Path:
    """A new offline file of everything in metrics.jsonl. Raises `TunefleetError` where it cannot be written."""
    lines: list[str] = []
    sink = WandbSink(plan, "offline", lines.append, _SECONDS_TO_REBUILD, resumes=False)
    for record in metrics.read(plan.paths.metrics):
        sink.log(record)
    run_status = status.read(plan.paths.status)
    sink.finish({"state": run_status.state.value if run_status else "unknown"})
    path = next(iter(sink.unsent_folder.glob("*.wandb")), None) if sink.unsent_folder else None
    if path is None or wandb_file.steps(path) is None:
        raise TunefleetError(f"{plan.name}: its W&B file cannot be written below {plan.paths.wandb}: is the disk full?")
    return path


def _upload(plan: Plan, path: Path) -> None:
    """`wandb sync` of one file; its exit code is 0 whatever happens, its mark is not."""
    command = [sys.executable, "-m", "wandb", "sync", "--include-synced", str(path.parent)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_TO_SEND, check=False)
    except subprocess.TimeoutExpired:
        raise TunefleetError(f"{plan.name}: the server stopped answering. Try again later: nothing is lost.") from None
    if not _is_sent(path):
        errors = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        reason = secrets.redacted(errors[-1]).strip() if errors else "is the key valid, and is there such a project?"
        raise TunefleetError(f"{plan.name}: the server did not take it: {reason}")
