"""`tunefleet sync`: sends runs to Weights & Biases that were trained without it, or that it lost."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tunefleet.base import secrets
from tunefleet.base.errors import DONE, RunError, TunefleetError
from tunefleet.launch.register import Run
from tunefleet.launch.run_state import StatusReader
from tunefleet.plan.plan import Plan


def sync(runs: Sequence[Run]) -> int:
    """Sends each of the runs; one that cannot be sent does not stop the others. The exit code.

    Raises `RunError` where there is no key, or no server that answers.
    """
    from tunefleet.tracking import wandb_sync

    wandb_sync.expect_server()
    secrets.forget_slurms()
    reader, code = StatusReader(), DONE
    for run in runs:
        try:
            _expect_over(run, reader)
            print(f"Weights & Biases: {wandb_sync.send(Plan.read(run.paths.root))}", flush=True)
        except TunefleetError as error:
            print(f"tunefleet: {error}", file=sys.stderr)
            code = max(code, error.exit_code)
    return code


def _expect_over(run: Run, reader: StatusReader) -> None:
    run_status = reader.status(run.paths)
    if run_status and not run_status.state.final:
        raise RunError(f"{run.name}: is {run_status.state.value}. Send it when it is over: tunefleet sync {run.name}")
