"""Advance of a sweep: the last act of a job, once its run has a final state, so that no process has to stay alive.

What goes wrong in it is written to the sweep's `advance.log`, and changes neither the run's state nor the job's code.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

from tunefleet.base import files, status, sweep_requests
from tunefleet.base.paths import RunPaths
from tunefleet.launch import project, queue

PATIENCE = 600.0  # seconds
LOG = "advance.log"
_COMMAND = (sys.executable, "-P", "-m", "tunefleet", "sweep", "advance")


def after_job(run: RunPaths, command: Sequence[str] = _COMMAND, patience: float = PATIENCE) -> None:
    """Advances the sweep that the run belongs to, where there is one and the run has ended."""
    run_status = status.read(run.status)
    folder = sweep_requests.sweep_folder(run)
    if folder is None or run_status is None or not run_status.state.final:
        return
    with suppress(OSError), open(folder / LOG, "ab", 0, opener=files.no_link) as log:
        _write(log, f"after {run.root.name}, {run_status.state.value}")
        try:
            ended = subprocess.run(
                [*command, str(folder)],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=patience,
                check=False,
            )
            _write(log, f"exit code {ended.returncode}")
        except subprocess.TimeoutExpired:
            _write(log, f"ended by force: it took more than {patience:g} s")
        except OSError as error:
            _write(log, f"not started: {error}")


def _write(log: BinaryIO, message: str) -> None:
    log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} job {os.environ.get('SLURM_JOB_ID', '-')}: {message}\n".encode())


def _environment() -> dict[str, str]:
    """What a shell on a login machine would have: none of this job's variables, which sbatch would take for orders.

    Its code is the job's own.
    """
    environment = queue.submission_environment()
    paths = [str(project.IMPORTED_FROM), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    return environment | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
