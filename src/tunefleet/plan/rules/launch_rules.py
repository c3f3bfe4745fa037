"""Rules of the launch: who starts the processes of a run, and who starts them again."""

from __future__ import annotations

from tunefleet.config import RunConfig
from tunefleet.plan.processes.slurm_job import expected
from tunefleet.plan.rules.request import Request


def restarts(request: Request) -> list[str]:
    """Who has started the processes starts them again."""
    count = request.config.launch.restarts
    if not count:
        return []
    if expected(request.config.launch):
        return [f"launch.restarts: of runs on this machine. A SLURM job has launch.max_restarts={count}."]
    return started_elsewhere(request.config, request.launcher)


def started_elsewhere(config: RunConfig, launcher: str) -> list[str]:
    """`launcher` is who has started the processes already; empty where we do."""
    if not (config.launch.restarts and launcher):
        return []
    option = f": torchrun --max-restarts={config.launch.restarts}" if launcher == "torchrun" else ""
    return [
        f"launch.restarts: {launcher} has started the processes, and must start them again itself{option}. "
        "Use launch.restarts=0."
    ]
