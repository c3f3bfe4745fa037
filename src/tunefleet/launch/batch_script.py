"""Batch script of a SLURM job: written by submitit, with the shell around the ranks."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from submitit.slurm.slurm import SlurmExecutor

from tunefleet.base import modes
from tunefleet.launch import submission
from tunefleet.launch.job_batch import Batch
from tunefleet.launch.submission import Submission

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_REFUSED_CODE = 3


def text(batch: Batch, submitted: Submission) -> str:
    """The script that sbatch gets."""
    folder = Path(submitted.folder)
    python = batch.launch.python or sys.executable
    output = output_pattern(batch, submitted)
    executor = _Executor(folder="/", python=shlex.quote(python))
    executor.update_parameters(
        job_name=_CONTROL.sub(" ", batch.name),
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
    if batch.is_array:
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


def slurm_folder(submitted: Submission) -> Path:
    """Where the script is, and what SLURM writes."""
    return Path(submitted.folder) / "slurm"


def output_pattern(batch: Batch, submitted: Submission) -> str:
    """SLURM's pattern for the file of output. Where a path has a backslash, SLURM fills in nothing at all."""
    folder = str(slurm_folder(submitted))
    if "\\" in folder:
        return folder.replace("\\", "\\\\") + f"/{submission.BATCH_LOG}"
    return folder.replace("%", "%%") + ("/%A_%a_0_log.out" if batch.is_array else "/%j_0_log.out")
