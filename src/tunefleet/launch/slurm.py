"""How does a planned run become a job of SLURM? One batch script and one call of sbatch, made by submitit."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from tunefleet.base import status
from tunefleet.base.status import Cause, State, Status
from tunefleet.config.launch import LaunchConfig
from tunefleet.launch import queue, submission
from tunefleet.launch.queue import QueueError
from tunefleet.launch.submission import Submission
from tunefleet.plan.job import Job
from tunefleet.plan.plan import Plan


@dataclass(frozen=True)
class Batch:
    """Runs that ask for the same, and so can be one array; `code` is what goes in front of PYTHONPATH."""

    job: Job
    launch: LaunchConfig
    plans: tuple[Plan, ...]
    code: Path

    def script(self, submitted: Submission) -> str:
        """The text of the batch script."""
        return _executor(self, submitted).text()


def batches(plans: Sequence[Plan], code: Path) -> list[Batch]:
    """Plans for SLURM, those with equal requests together, in the order in which they came."""
    together: dict[str, list[Plan]] = {}
    for plan in plans:
        together.setdefault(repr((plan.job, _shared(plan.config.launch))), []).append(plan)
    return [Batch(_job(same[0]), same[0].config.launch, tuple(same), code) for same in together.values()]


def submit(batch: Batch, outputs: Path) -> Submission:
    """Hands one batch to SLURM; returns what was submitted. Raises `QueueError` with sbatch's own words.

    Everything is written down first: the submission, its place in every run, the state `queued`.
    """
    for plan in batch.plans:
        _queue_up(plan)
    submitted = submission.intend(outputs, [plan.paths for plan in batch.plans])
    try:
        submitted.accepted(_executor(batch, submitted).send())
    except FailedJobError as error:
        reason = "; ".join(" ".join(said.split()) for said in str(error).split("sbatch: error:")[1:]) or str(error)
        for plan in batch.plans:
            _refused(plan, reason)
        raise QueueError(f"sbatch refused the job: {reason}") from None
    except FailedSubmissionError as error:  # there may be a job; then it is found by its comment
        raise QueueError(str(error).splitlines()[0]) from None
    return submitted


class _Executor(SlurmExecutor):
    """submitit's, whose tasks run the saved plan instead of a pickled function."""

    task = ""

    @classmethod
    def affinity(cls) -> int:
        """Works without SLURM as far as the script; sbatch itself says that it is missing."""
        return 2

    def send(self) -> str:
        """Submits; returns SLURM's number of the job. Raises `FailedJobError` with what sbatch said."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with redirect_stderr(StringIO()):  # the exception says the same
            return str(self._submit_command(self.task).job_id)

    def text(self) -> str:
        """The batch script."""
        return self._make_submission_file_text(self.task, "")

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        dropped = sorted(set(os.environ) - set(queue.clean_environment()))
        return [
            "env",
            *(f"--unset={name}" for name in dropped),
            *super()._make_submission_command(submission_file_path),
        ]


def _executor(batch: Batch, submitted: Submission) -> _Executor:
    folder = Path(submitted.folder)
    python = batch.launch.python or sys.executable
    executor = _Executor(folder=folder / "slurm", python=shlex.quote(python))
    executor.update_parameters(
        job_name=_name(batch),
        comment=submitted.key,
        signal_delay_s=batch.launch.signal_before,
        setup=_setup(batch, folder, python),
        teardown=[f"{shlex.quote(python)} -m tunefleet.launch.attempt end {shlex.quote(str(folder))} $?"],
        srun_args=["--kill-on-bad-exit=1", *batch.launch.srun_args],
        stderr_to_stdout=True,
        wckey=None,  # submitit's own is refused by clusters that know none of that name
        additional_parameters=batch.job.options,  # not as submitit's own parameters, some of which are shell
    )
    if len(batch.plans) > 1:
        executor.parameters["map_count"] = len(batch.plans)
        executor.parameters["array_parallelism"] = batch.launch.array_limit or len(batch.plans)
    executor.task = f"{shlex.quote(python)} -m tunefleet.launch.task"
    return executor


def _setup(batch: Batch, folder: Path, python: str) -> list[str]:
    """Shell of the first machine before srun; the trap lets the last line run when the job is told to end."""
    begin = f"{shlex.quote(python)} -m tunefleet.launch.attempt begin {shlex.quote(str(folder))}"
    return [
        "trap : TERM",
        f"export PYTHONPATH={shlex.quote(str(batch.code))}${{PYTHONPATH:+:$PYTHONPATH}}",
        '[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK',
        *batch.launch.setup,
        f'eval "$({begin})"',
        '[ -n "${TUNEFLEET_RUN:-}" ] || exit 2',
    ]


def _job(plan: Plan) -> Job:
    assert plan.job is not None, "only runs with launch=slurm come here"
    return plan.job


def _shared(launch: LaunchConfig) -> tuple[object, ...]:
    """What the batch script holds of the settings beside the job's options."""
    return launch.setup, launch.srun_args, launch.python, launch.array_limit, launch.signal_before, launch.snapshot


def _name(batch: Batch) -> str:
    first = batch.plans[0].name
    return first if len(batch.plans) == 1 else f"{first} and {len(batch.plans) - 1} more"


def _queue_up(plan: Plan) -> None:
    for request in (plan.paths.cancelled, plan.paths.stop):
        request.unlink(missing_ok=True)
    before = status.read(plan.paths.status) or Status(State.QUEUED)
    queued = before.moved(state=State.QUEUED, cause=Cause.NONE, reason="", job="", restarts=0)
    status.write(plan.paths.status, queued)


def _refused(plan: Plan, reason: str) -> None:
    now = status.read(plan.paths.status) or Status(State.QUEUED)
    status.write(plan.paths.status, now.moved(state=State.FAILED, cause=Cause.USER_ERROR, reason=reason))
