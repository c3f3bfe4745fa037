"""Submissions to SLURM: written down before the job exists, so that no job is unaccounted for."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tunefleet.base import files, processes
from tunefleet.base.paths import RunPaths, lies_in
from tunefleet.launch.queue import Entry

BATCH_LOG = "batch.out"  # where the path of outputs keeps SLURM from naming it by the job
REFUSAL = "refused"
_FOLDER = "submissions"
_INTENT = "submission.json"
_JOB = "job.json"
_MARK = "tunefleet:"
_WINDOW = 120.0  # seconds in which a job that was accepted shows up in the queue


@dataclass(frozen=True)
class Submission:
    """One call of sbatch for one run, or for several as an array. `created` is in seconds since 1970."""

    folder: str
    runs: tuple[str, ...]
    created: float
    host: str
    pid: int

    @property
    def key(self) -> str:
        """What marks the job in the queue, before we know its number."""
        return f"{_MARK}{Path(self.folder).name}"

    @property
    def job(self) -> str | None:
        """SLURM's number; None until it is written down."""
        try:
            job = str(files.read_json(Path(self.folder) / _JOB)["job"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return job if job.isdecimal() and job.isascii() else None  # scancel would take a word for an option

    @property
    def open(self) -> bool:
        """Whether the submitter may still be about to submit."""
        is_local = self.host == socket.gethostname()
        return processes.is_alive(self.pid) if is_local else time.time() - self.created < _WINDOW

    def accepted(self, job: str) -> None:
        """Writes the number down."""
        files.write_json(Path(self.folder) / _JOB, {"job": job})

    def job_of(self, index: int) -> str | None:
        """The number of one run's job."""
        return self.numbered(self.job, index)

    def numbered(self, job: str | None, index: int) -> str | None:
        """What SLURM calls the run at `index` of the submission that it calls `job`."""
        return job and (f"{job}_{index}" if len(self.runs) > 1 else job)

    def find(self, queue: Mapping[str, Entry]) -> str | None:
        """The number, from the queue where the submitter ended before it could write it down."""
        number = self.job
        if number is None:
            job = next((entry.job for entry in queue.values() if entry.comment == self.key), None)
            number = job and job.split("_")[0]
            if number:
                self.accepted(number)
        return number


@dataclass(frozen=True)
class Place:
    """Where one run stands in a submission."""

    submission: Submission
    index: int

    @property
    def job(self) -> str | None:
        """SLURM's number of the run's job, where it is known."""
        return self.submission.job_of(self.index)

    @property
    def batch_log(self) -> Path:
        """What the batch script of the run's job prints."""
        folder = Path(self.submission.folder) / "slurm"
        named = folder / f"{self.job}_0_log.out"
        return named if named.exists() else folder / BATCH_LOG

    @property
    def refusal(self) -> str:
        """Why the job's script did not start the run; empty where it did, or has yet to."""
        try:
            return files.read_text(Path(self.submission.folder) / f"{REFUSAL}.{self.index}", "replace")
        except OSError:
            return ""

    def find(self, queue: Mapping[str, Entry]) -> str | None:
        """The same, where need be from the queue."""
        return self.submission.numbered(self.submission.find(queue), self.index)


def intend(outputs: Path, runs: Sequence[RunPaths]) -> Submission:
    """Writes down what is about to be submitted: first the submission, then in every run where it is."""
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
    folder = outputs / _FOLDER / name
    submitted = Submission(
        str(folder), tuple(str(run.root) for run in runs), time.time(), socket.gethostname(), os.getpid()
    )
    files.write_json(folder / _INTENT, asdict(submitted))
    for index, run in enumerate(runs):
        files.write_json(run.submission, {"folder": str(folder), "index": index})
    return submitted


def read(folder: Path) -> Submission:
    """The submission in `folder`. Raises `OSError` or `KeyError` where it cannot be read."""
    record = files.read_json(folder / _INTENT)
    return replace(Submission(**record), runs=tuple(record["runs"]), folder=str(folder))


def place(run: RunPaths, reader: Callable[[Path], Submission] = read) -> Place | None:
    """Where a run was submitted last; None for a run that never was. `reader` may remember what it has read.

    A submission lies beside its runs: one elsewhere is that of a run of which this one is a copy.
    """
    try:
        link = files.read_json(run.submission)
        folder = Path(link["folder"])
        is_beside = lies_in(folder, run.root.resolve().parent / _FOLDER)
        return Place(reader(folder), int(link["index"])) if is_beside else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
