"""Task of a SLURM job: becomes a rank of the run. srun starts `python -m tunefleet.launch.task`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tunefleet.base import disk, failures, files, modes
from tunefleet.base.errors import DiskError, RunError
from tunefleet.base.failures import Failure
from tunefleet.base.paths import RunPaths
from tunefleet.launch import snapshot

_RANK_MODULE = "tunefleet.doors.rank"


def main() -> None:
    """Replaces this process, so that SLURM's signals reach the rank itself."""
    modes.keep()
    run = RunPaths(Path(os.environ["TUNEFLEET_RUN"]))
    _write_to(run.log(int(os.environ["SLURM_PROCID"])))
    _expect_code(run)
    os.environ.update(ranks(dict(os.environ)))
    os.execv(sys.executable, [sys.executable, "-P", "-m", _RANK_MODULE, str(run.root)])


def _expect_code(run: RunPaths) -> None:
    """Ends where this machine does not see the job's code, and would run another."""
    try:
        snapshot.expect_imported(os.environ.get("TUNEFLEET_CODE", ""))
    except RunError as error:
        failures.write(run, Failure.from_error(int(os.environ["SLURM_PROCID"]), error))
        print(f"tunefleet: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def ranks(slurm: dict[str, str]) -> dict[str, str]:
    """What torch.distributed and DeepSpeed read, from what srun says; address and port come from `begin`."""
    per_node = slurm.get("SLURM_STEP_TASKS_PER_NODE", slurm["SLURM_STEP_NUM_TASKS"]).split("(")[0].split(",")[0]
    return {
        "RANK": slurm["SLURM_PROCID"],
        "WORLD_SIZE": slurm["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": slurm["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": per_node,
    }


def _write_to(log: Path) -> None:
    """Both streams to the rank's own log, after what earlier attempts wrote; on a full disk they stay srun's."""
    try:
        with disk.writing(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            file = files.no_link(os.fspath(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    except DiskError as error:
        print(f"tunefleet: {error}", file=sys.stderr)
        return
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())


if __name__ == "__main__":
    main()
