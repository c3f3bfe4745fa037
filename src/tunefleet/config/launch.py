"""Group `launch`: which processes run it, here or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tunefleet.config.fields import ranged


class Launcher(Enum):
    """Who starts the processes of a run."""

    LOCAL = "local"
    SLURM = "slurm"


class Access(Enum):
    """Who may read and write what a run leaves; never may everybody write it."""

    UMASK = "umask"
    PRIVATE = "private"
    GROUP = "group"


@dataclass(frozen=True)
class LaunchConfig:
    """Processes on this machine, or a SLURM job."""

    name: Launcher = Launcher.LOCAL
    """local: here and now. slurm: a job, submitted through submitit; the prompt returns."""
    processes: int | None = ranged(None, at_least=1)
    """Processes (ranks) of a run on each machine; null is one per GPU, or one where there is none."""
    port: int | None = ranged(None, at_least=1024, at_most=65535)
    """Port of rank 0; null takes a free one, anew at every start."""
    restarts: int = ranged(0, at_least=0)
    """How often a run on this machine starts again by itself, from its newest checkpoint, after a killed process, a
    lost machine or a hang; not after an error of its own, or two starts that saved no new step."""
    parallel_runs: int | None = ranged(None, at_least=1)
    """Points of a grid that run here side by side; null is as many as their GPUs allow, or one without GPUs."""
    gpus_per_run: int | None = ranged(None, at_least=1)
    """GPUs of this machine for each point of a grid; null gives every point all of them."""

    start_limit: int = ranged(1800, at_least=0)
    """Seconds without any progress, from the start to the end of the first step, after which a run is ended as hanging;
    0 is none. Reading weights, preparing data and other long work count as progress while they get on."""
    step_limit: int | None = ranged(None, at_least=0)
    """The same from the second step on; null is 600, and 20 times the median step where that is more. 0 is none."""

    grace: int | None = ranged(None, at_least=1)
    """Seconds from SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2 to the end of the processes, such as 30 or 120 of spot machines;
    null is unknown. A save that would take longer, as the last one did, is not begun: the last checkpoint counts."""

    access: Access = Access.UMASK
    """Modes of the files and folders that are made: umask as yours has it; private for you alone, 0600 and 0700; group
    for your group to read and write, 0660 and 2770. Folders that are there already keep theirs."""

    nodes: int = ranged(1, at_least=1)
    """SLURM: machines of the job."""
    gpus_per_node: int = ranged(0, at_least=0)
    """SLURM: GPUs of each machine, and processes on it unless `processes` says otherwise."""
    cpus_per_task: int | None = ranged(None, at_least=1)
    """SLURM: CPU cores of each process; null leaves it to the cluster."""
    memory: str | None = None
    """SLURM: memory of each machine, such as 64G; 0 is all of it; null leaves it to the cluster."""
    time: str = "1h"
    """SLURM: time limit of one job, such as 30m, 4h, 2d or 1-12:00:00. A longer run resumes in further jobs."""
    partition: str | None = None
    """SLURM: partition, or several with commas."""
    account: str | None = None
    """SLURM: account that pays."""
    qos: str | None = None
    """SLURM: quality of service."""
    constraint: str | None = None
    """SLURM: features that the machines must have, such as a100&ib."""
    gres: str | None = None
    """SLURM: generic resources of each machine, such as gpu:a100:8; replaces the request of `gpus_per_node`."""
    nodelist: str | None = None
    """SLURM: machines that the job must have."""
    exclude: str | None = None
    """SLURM: machines that the job must not have."""
    exclusive: bool = False
    """SLURM: no other job on the same machines."""
    reservation: str | None = None
    """SLURM: reservation to run in."""
    dependency: str | None = None
    """SLURM: jobs to wait for, such as afterok:1234."""
    mail_type: str | None = None
    """SLURM: events to mail about, such as END,FAIL."""
    mail_user: str | None = None
    """SLURM: where to mail to."""
    extra: dict[str, str] = field(default_factory=dict)
    """SLURM: any further options of sbatch, by their long name without dashes."""
    setup: tuple[str, ...] = ()
    """SLURM: shell lines before the start on the first machine, such as module load cuda/12.4."""
    srun_args: tuple[str, ...] = ()
    """SLURM: further arguments of srun, such as --container-image=..., one item each."""
    python: str | None = None
    """SLURM: Python of the machines; null is this one. It must lie on a shared disk."""

    signal_before: int = ranged(90, at_least=0)
    """SLURM: seconds before the time limit at which the run saves and goes back into the queue."""
    max_restarts: int = ranged(10, at_least=0)
    """SLURM: how often a run may start again by itself after a time limit, preemption or failure of a machine."""
    array_limit: int | None = ranged(None, at_least=1)
    """SLURM: points of a grid that run at once; null is no limit of our own."""
    wait: bool = False
    """SLURM: stay and show the jobs until they end. Ctrl-C leaves them running."""
    dry_run: bool = False
    """SLURM: show the batch script and the GPU-hours, and submit nothing."""
    snapshot: bool = True
    """SLURM: run a copy of the code as it is now; false runs the code as it will be when the job starts."""
    snapshot_untracked: tuple[str, ...] = ()
    """SLURM: files that git does not track to copy too, as patterns of their paths, such as src or *.json; files of
    secrets (.env, *.pem) are never copied."""
