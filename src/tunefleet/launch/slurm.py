"""SLURM jobs of planned runs: submitted by one call of sbatch each, and what follows where that is refused."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from submitit.core.utils import CommandFunction, FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from tunefleet.base import files, status
from tunefleet.base.status import Cause, State, Status
from tunefleet.launch import batch_script, queue, submission
from tunefleet.launch.job_batch import Batch
from tunefleet.launch.queue import QueueError
from tunefleet.launch.submission import Submission
from tunefleet.plan.plan import Plan

_LIMIT = re.compile(
    r"SubmitJobs?|job submit limit|Invalid job array specification|temporarily un|MaxJobCount", re.IGNORECASE
)  # SLURM's messages where a site takes no more jobs of a user, or no array so large
_OTHER_LIMIT = re.compile(r"(Assoc|QOS)(?!\w*SubmitJob)\w*Limit|^QOSMin")  # which no smaller array would meet
_UNSURE = re.compile(
    r"timed out|contact|connect|communication|transmitted|endpoint|unexpected message|receiving", re.IGNORECASE
)
LOOKS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each look for a job that may have been accepted


class SiteLimitError(QueueError):
    """The site takes no more jobs of this user now, or no array of so many."""


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: the parts that SLURM has, the runs that wait because of a limit or that are refused.

    `message` is SLURM's about those that it does not have.
    """

    submitted: tuple[tuple[Batch, Submission], ...]
    waiting: tuple[Plan, ...] = ()
    message: str = ""
    refused: tuple[Plan, ...] = ()


def submit_what_fits(batch: Batch, outputs: Path) -> Outcome:
    """Submits a batch in arrays that the cluster and the site's limits allow; the runs that do not fit wait.

    The limits of an account or a QOS have many owners, so they are not looked up: a refused array is halved.
    """
    done: list[tuple[Batch, Submission]] = []
    waiting = batch.plans
    size = min(len(waiting), queue.largest_array()) if len(waiting) > 1 else 1
    message = ""
    while waiting and size:
        part = batch.part(waiting[:size], done[-1][1].job if done else None)
        try:
            done.append((part, submit(part, outputs)))
        except SiteLimitError as error:
            message, size = str(error), size // 2
        except QueueError as error:
            for plan in waiting[size:]:
                _refused(plan, str(error))
            return Outcome(tuple(done), (), str(error), waiting)
        else:
            waiting = waiting[size:]
            size = min(size, len(waiting))
    return Outcome(tuple(done), waiting, message if waiting else "")


def submit(batch: Batch, outputs: Path) -> Submission:
    """Hands one batch to SLURM; returns what was submitted. Raises `QueueError` with sbatch's own message.

    Everything is written down first: the submission, its place in every run, the state `queued`. Raises
    `SiteLimitError`, and leaves the runs as they were, where a limit of the site is the reason.
    """
    earlier = [Earlier.read(plan) for plan in batch.plans]
    for plan in batch.plans:
        _queue_up(plan)
    submitted = submission.intend(outputs, [plan.paths for plan in batch.plans])
    try:
        submitted.accepted(_send(batch, submitted))
    except FailedJobError as error:
        reason = _reason(error)
        if not reason or _UNSURE.search(reason):
            return _looked_for(submitted, reason or "sbatch was killed")
        if _is_limit(reason):
            for old in earlier:
                old.restore()
            shutil.rmtree(submitted.folder, ignore_errors=True)  # nothing has its name
            raise SiteLimitError(reason) from None
        for plan in batch.plans:
            _refused(plan, reason)
        raise QueueError(f"sbatch refused the job: {reason}") from None
    except FailedSubmissionError as error:  # there may be a job; then it is found by its comment
        return _looked_for(submitted, str(error).splitlines()[0])
    return submitted


@dataclass(frozen=True)
class Earlier:
    """How a run stood before it was to be submitted; `restore` puts that back."""

    plan: Plan
    status: Status | None
    place: str | None

    @staticmethod
    def read(plan: Plan) -> Earlier:
        """How `plan` stands."""
        path = plan.paths.submission
        return Earlier(plan, status.read(plan.paths.status), files.read_text(path) if path.exists() else None)

    def restore(self) -> None:
        """As if it had never been submitted."""
        paths = self.plan.paths
        if self.status:
            status.write(paths.status, self.status)
        else:
            paths.status.unlink(missing_ok=True)
        if self.place is not None:
            files.write_text(paths.submission, self.place)
        else:
            paths.submission.unlink(missing_ok=True)


def _looked_for(submitted: Submission, reason: str) -> Submission:
    """The submission, if SLURM has its job although sbatch did not report it. Raises `QueueError` where it has none.

    The runs stay queued then: who looks at them later finds the job, or says that there is none.
    """
    for seconds in LOOKS:
        time.sleep(seconds)
        with suppress(QueueError):
            if job := queue.numbered(submitted.key):
                submitted.accepted(job)
                return submitted
    raise QueueError(f"sbatch: {reason}. Whether SLURM has the job is not known yet: tunefleet status shows it.")


def _reason(error: FailedJobError) -> str:
    """What sbatch complained of, in one line."""
    lines = [line.partition("sbatch: error:")[2] or line for line in str(error).splitlines()]
    return "; ".join(" ".join(line.split()) for line in lines if line.strip())


def _is_limit(reason: str) -> bool:
    return bool(_LIMIT.search(reason)) and not _OTHER_LIMIT.search(reason)


def _send(batch: Batch, submitted: Submission) -> str:
    """Submits; returns SLURM's number of the job. Raises `FailedJobError` with what sbatch said.

    Every option stands in the script, to be read, and on the command line, which goes before all else that sbatch
    reads. The shell's own variables for SLURM are not passed on.
    """
    script, text = batch_script.slurm_folder(submitted) / "job.sh", batch_script.text(batch, submitted)
    files.write_text(script, text)
    lines = [line for line in text.splitlines() if line.startswith("#SBATCH --")]
    options = [shlex.split(line)[1] for line in lines]
    output = f"--output={batch_script.output_pattern(batch, submitted)}"
    shown_options = [option for option in options if not option.startswith("--output=")]
    arguments = ["sbatch", *shown_options, output, "--export=ALL", str(script)]
    try:
        with redirect_stderr(StringIO()):  # the exception has the same text
            answer = CommandFunction(arguments, verbose=False, env=queue.submission_environment())()
    except FileNotFoundError:
        raise FailedJobError("sbatch is not on this machine; submit from a login machine of the cluster") from None
    return str(SlurmExecutor._get_job_id_from_submission_command(answer))


def _queue_up(plan: Plan) -> None:
    for request in (plan.paths.cancelled, plan.paths.stop):
        request.unlink(missing_ok=True)
    earlier = status.read(plan.paths.status) or Status(State.QUEUED)
    queued = earlier.moved(state=State.QUEUED, cause=Cause.NONE, reason="", job="", restarts=0)
    status.write(plan.paths.status, queued)


def _refused(plan: Plan, reason: str) -> None:
    run_status = status.read(plan.paths.status) or Status(State.QUEUED)
    status.write(plan.paths.status, run_status.moved(state=State.FAILED, cause=Cause.USER_ERROR, reason=reason))
