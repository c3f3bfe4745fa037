"""SLURM jobs of planned runs: one batch script, written by submitit, and one call of sbatch."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from submitit.core.utils import CommandFunction, FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from tunefleet.base import files, modes, status
from tunefleet.base.status import Cause, State, Status
from tunefleet.config.launch import LaunchConfig
from tunefleet.launch import queue, submission
from tunefleet.launch.queue import QueueError
from tunefleet.launch.submission import Submission
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.slurm_job import Job

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_LIMIT = re.compile(
    r"SubmitJobs?|job submit limit|Invalid job array specification|temporarily un|MaxJobCount", re.IGNORECASE
)  # SLURM's messages where a site takes no more jobs of a user, or no array so large
_OTHER_LIMIT = re.compile(r"(Assoc|QOS)(?!\w*SubmitJob)\w*Limit|^QOSMin")  # which no smaller array would meet
_UNSURE = re.compile(
    r"timed out|contact|connect|communication|transmitted|endpoint|unexpected message|receiving", re.IGNORECASE
)
LOOKS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each look for a job that may have been accepted
_REFUSED_CODE = 3


class SiteLimitError(QueueError):
    """The site takes no more jobs of this user now, or no array of so many."""


@dataclass(frozen=True)
class Batch:
    """Runs that ask for the same, and so can be one array; `code` is what goes in front of PYTHONPATH."""

    job: Job
    launch: LaunchConfig
    plans: tuple[Plan, ...]
    code: Path

    def script(self, submitted: Submission) -> str:
        """The text of the batch script."""
        return _script(self, submitted)

    def part(self, plans: Sequence[Plan], after: str | None) -> Batch:
        """Some of its runs; with `launch.array_limit` they start when the job `after` has ended."""
        if after is None or self.launch.array_limit is None:
            return replace(self, plans=tuple(plans))
        dependencies = self.job.options.get("dependency")
        dependency = f"{dependencies},afterany:{after}" if dependencies else f"afterany:{after}"
        job = replace(self.job, options={**self.job.options, "dependency": dependency})
        return replace(self, plans=tuple(plans), job=job)


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: the parts that SLURM has, the runs that wait because of a limit or that are refused.

    `message` is SLURM's about those that it does not have.
    """

    submitted: tuple[tuple[Batch, Submission], ...]
    waiting: tuple[Plan, ...] = ()
    message: str = ""
    refused: tuple[Plan, ...] = ()


def batches(plans: Sequence[Plan], code: Path) -> list[Batch]:
    """Plans for SLURM, those with equal requests together, in the order in which they came."""
    groups: dict[str, list[Plan]] = {}
    for plan in plans:
        groups.setdefault(repr((plan.job, _shared(plan.config.launch))), []).append(plan)
    return [
        Batch(_job(plans_alike[0]), plans_alike[0].config.launch, tuple(plans_alike), code)
        for plans_alike in groups.values()
    ]


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


class _Executor(SlurmExecutor):
    """submitit's, whose tasks run the saved plan instead of a pickled function."""

    task = ""

    @classmethod
    def affinity(cls) -> int:
        """Works without SLURM as far as the script; sbatch itself says that it is missing."""
        return 2

    def text(self) -> str:
        """The batch script."""
        return self._make_submission_file_text(self.task, "")


def _send(batch: Batch, submitted: Submission) -> str:
    """Submits; returns SLURM's number of the job. Raises `FailedJobError` with what sbatch said.

    Every option stands in the script, to be read, and on the command line, which goes before all else that sbatch
    reads. The shell's own variables for SLURM are not passed on.
    """
    script = _slurm_folder(submitted) / "job.sh"
    files.write_text(script, batch.script(submitted))
    lines = [line for line in batch.script(submitted).splitlines() if line.startswith("#SBATCH --")]
    options = [shlex.split(line)[1] for line in lines]
    output = f"--output={_output(submitted, len(batch.plans) > 1)}"
    shown_options = [option for option in options if not option.startswith("--output=")]
    arguments = ["sbatch", *shown_options, output, "--export=ALL", str(script)]
    try:
        with redirect_stderr(StringIO()):  # the exception has the same text
            answer = CommandFunction(arguments, verbose=False, env=queue.submission_environment())()
    except FileNotFoundError:
        raise FailedJobError("sbatch is not on this machine; submit from a login machine of the cluster") from None
    return str(SlurmExecutor._get_job_id_from_submission_command(answer))


def _slurm_folder(submitted: Submission) -> Path:
    return Path(submitted.folder) / "slurm"


def _output(submitted: Submission, array: bool) -> str:
    """SLURM's pattern for the file of output. Where a path has a backslash, SLURM fills in nothing at all."""
    folder = str(_slurm_folder(submitted))
    if "\\" in folder:
        return folder.replace("\\", "\\\\") + f"/{submission.BATCH_LOG}"
    return folder.replace("%", "%%") + ("/%A_%a_0_log.out" if array else "/%j_0_log.out")


def _script(batch: Batch, submitted: Submission) -> str:
    folder = Path(submitted.folder)
    python = batch.launch.python or sys.executable
    output = _output(submitted, len(batch.plans) > 1)
    executor = _Executor(folder="/", python=shlex.quote(python))
    executor.update_parameters(
        job_name=_CONTROL.sub(" ", _name(batch)),
        comment=submitted.key,
        signal_delay_s=batch.launch.signal_before,
        setup=_setup(batch, folder, python),
        teardown=[f"{shlex.quote(python)} -P -m tunefleet.launch.attempt end {shlex.quote(str(folder))} $?"],
        use_srun=False,  # submitit's line for it takes names of folders for patterns
        stderr_to_stdout=True,
        wckey=None,  # submitit's own is refused by clusters that know none of that name
        additional_parameters={
            **batch.job.options,  # not as submitit's own parameters, some of which are shell
            "output": "/dev/null" if _CONTROL.search(output) else output,  # such a path fits on the command line only
        },
    )
    if len(batch.plans) > 1:
        executor.parameters["map_count"] = len(batch.plans)
        executor.parameters["array_parallelism"] = batch.launch.array_limit or len(batch.plans)
    srun = ["srun", "--unbuffered", "--kill-on-bad-exit=1", *batch.launch.srun_args]
    executor.task = shlex.join([*srun, python, "-P", "-m", "tunefleet.launch.task"])
    return executor.text()


def _setup(batch: Batch, folder: Path, python: str) -> list[str]:
    """Shell of the first machine before srun; the trap lets the last line run when the job is told to end.

    Python's -P keeps it from the code in the folder where the job was submitted.
    """
    begin = f"{shlex.quote(python)} -P -m tunefleet.launch.attempt begin {shlex.quote(str(folder))}"
    code = shlex.quote(str(batch.code))
    return [
        *modes.shell(batch.launch.access.value),
        "trap : TERM",
        '[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK',
        *batch.launch.setup,
        *_expect_code(batch, folder),
        f"export PYTHONPATH={code}${{PYTHONPATH:+:$PYTHONPATH}} TUNEFLEET_CODE={code}",
        f'eval "$({begin})"',
        '[ -n "${TUNEFLEET_RUN:-}" ] || exit 2',
    ]


def _expect_code(batch: Batch, folder: Path) -> list[str]:
    """Shell that refuses to run without the code: Python would go on with any other that is installed."""
    message = shlex.quote(
        f"the code that this job was to run is gone: {batch.code}. Submit the run again, with the code as it is now: "
        "tunefleet resume"
    )
    refusal = f'{shlex.quote(str(folder))}/{submission.REFUSAL}."${{SLURM_ARRAY_TASK_ID:-0}}"'
    return [
        f"if [ ! -f {shlex.quote(str(batch.code / 'tunefleet/__init__.py'))} ]; then",
        f"  echo tunefleet: {message} >&2; printf %s {message} >{refusal}; exit {_REFUSED_CODE}",
        "fi",
    ]


def _job(plan: Plan) -> Job:
    assert plan.job is not None, "only runs with launch=slurm come here"
    return plan.job


def _shared(launch: LaunchConfig) -> tuple[object, ...]:
    """What the batch script holds of the settings beside the job's options."""
    code = launch.snapshot, launch.snapshot_untracked
    return launch.setup, launch.srun_args, launch.python, launch.array_limit, launch.signal_before, launch.access, code


def _name(batch: Batch) -> str:
    first = batch.plans[0].name
    return first if len(batch.plans) == 1 else f"{first} and {len(batch.plans) - 1} more"


def _queue_up(plan: Plan) -> None:
    for request in (plan.paths.cancelled, plan.paths.stop):
        request.unlink(missing_ok=True)
    earlier = status.read(plan.paths.status) or Status(State.QUEUED)
    queued = earlier.moved(state=State.QUEUED, cause=Cause.NONE, reason="", job="", restarts=0)
    status.write(plan.paths.status, queued)


def _refused(plan: Plan, reason: str) -> None:
    run_status = status.read(plan.paths.status) or Status(State.QUEUED)
    status.write(plan.paths.status, run_status.moved(state=State.FAILED, cause=Cause.USER_ERROR, reason=reason))
