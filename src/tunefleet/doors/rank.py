"""Rank of a run: `python -m tunefleet.doors.rank RUN_DIRECTORY` reads the saved plan and trains it."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path

from tunefleet.base import disk, failures, heap, modes, ownership, pulse, reserve, secrets, status, stdio
from tunefleet.base.errors import FAILED, INTERRUPTED, DiskError, RunError, TunefleetError, UserError, exit_code_of
from tunefleet.base.failures import Failure
from tunefleet.base.status import Cause
from tunefleet.doors import unchanged
from tunefleet.launch import rank_signals, rank_watch, run_lock
from tunefleet.launch.ending import Ending, of_stop
from tunefleet.launch.signals import CAUSES
from tunefleet.libraries.heavy_imports import heavy_imports
from tunefleet.plan.plan import Plan

_ALLOCATOR, _OLD_ALLOCATOR = "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"


def main() -> None:
    """Ends with the run's exit code, in every case."""
    stdio.protect()
    modes.keep()
    end_with_launcher()
    plan = Plan.read(Path(sys.argv[1]))
    modes.keep(plan.config.launch.access.value)
    try:
        if complaint := ownership.complaint(plan.paths.root):
            raise RunError(f"{complaint}.")
        with _lock(plan):
            sys.exit(run(plan))
    except (RunError, DiskError) as error:  # the directory is another start's, and what stands in it; or it is full
        print(f"tunefleet: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _lock(plan: Plan) -> AbstractContextManager[object]:
    """That of the run directory: our launcher has it, or in a SLURM job rank 0."""
    number = int(os.environ["RANK"])
    if start := os.environ.get(run_lock.START):
        return run_lock.join(plan.paths, start, number)
    if plan.job:
        return run_lock.of_rank(plan.paths, number, run_lock.start_of_job(os.environ), run_lock.JOB_PATIENCE)
    return nullcontext()


def run(plan: Plan) -> int:
    """Trains the plan in this rank; returns the exit code."""
    _leave_at_signals(plan)
    prepare_environment(plan)
    if os.environ["RANK"] == "0":
        status.start_heartbeat(plan.paths.heartbeat)
    watch = rank_watch.begin(plan, int(os.environ["RANK"]), plan.layout.world_size)
    code = guarded(plan, lambda: train_plan(plan))
    watch.stop()
    return code


def _leave_at_signals(plan: Plan) -> None:
    """A signal ends this rank where there is nothing to save, and a second one of the kind always.

    Rank 0 writes that down, and any rank for a launcher of ours. In a SLURM job the batch script does so, from how its
    processes end.
    """
    is_first = os.environ["RANK"] == "0"

    def leave(number: int, reason: str) -> None:
        if plan.job:
            os._exit(128 + number)
        cause = CAUSES[signal.Signals(number)]
        with suppress(OSError):
            earlier = [failure for failure in failures.read_all(plan.paths) if failure.exit_code == INTERRUPTED]
            cause = earlier[0].cause if earlier else cause  # ours is the launcher's answer to that rank's
            failures.write(plan.paths, Failure(int(os.environ["RANK"]), f"left {reason}", cause, INTERRUPTED))
            if is_first:
                _settle(plan, Ending(cause, f"left {reason}"))
        os._exit(INTERRUPTED)

    rank_signals.listen(leave)


def _settle(plan: Plan, outcome: Ending) -> None:
    """The final state, where there is none yet."""
    with status.UPDATES:
        run_status = status.read(plan.paths.status)
        if run_status and not run_status.state.final:
            stopped = of_stop(outcome, plan.paths.cancelled.exists())
            status.write(plan.paths.status, stopped.final_status(run_status))


def train_plan(plan: Plan) -> int:
    """Rank 0 looks for all: a job may have waited for days."""
    if os.environ["RANK"] == "0":
        reserve.keep(plan.paths.root)
        with pulse.solo_work("comparing files"):
            unchanged.expect(plan)
            unchanged.expect_whole_export(plan)
    pulse.enter("importing")
    with heavy_imports():
        from tunefleet.runs.train import train  # torch starts here

    return train(plan)


def guarded(plan: Plan, act: Callable[[], int]) -> int:
    """What `act` returns; a failure is written down and does not return."""
    rank = int(os.environ["RANK"])
    try:
        return act()
    except BaseException as unexpected:
        error = disk.recognised(unexpected, plan.paths.root)
        failure = Failure.from_error(rank, error)
        with suppress(OSError):  # of a disk that fails: the exit code and the line below say it
            failures.write(plan.paths, failure)
            if isinstance(error, DiskError) and rank == 0 and not plan.job:  # a job's end writes its final state
                _settle(plan, Ending(Cause.DISK, str(error)))
        _report(rank, error)
        failures.run_at_exit(failure.message)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code_of(error))  # a barrier at exit would wait for ranks that are gone


def end_with_parent() -> None:
    """Asks Linux for SIGTERM when the parent dies: the run saves and stops instead of running on unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def end_with_launcher() -> None:
    """As `end_with_parent`, for our own launcher, which may be dead by now."""
    end_with_parent()
    if os.environ.get("TUNEFLEET_LAUNCHER_PID") not in (None, str(os.getppid())):
        sys.exit(FAILED)


def prepare_environment(plan: Plan) -> None:
    """Sets what torch, transformers and DeepSpeed read once; call it before they are imported.

    On a CPU the process keeps the memory that it frees.
    """
    secrets.forget_slurms()
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TQDM_DISABLE="1")
    if plan.layout.device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # GPUs that are there all the same are not the plan's
        heap.keep_freed_memory()
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads are three times slower on a busy CPU
    elif not {_ALLOCATOR, _OLD_ALLOCATOR} & os.environ.keys():
        os.environ[_allocator_variable(version("torch"))] = (
            "expandable_segments:True"  # or widths that vary leave holes
        )
    os.environ.setdefault("OMP_NUM_THREADS", str(_threads(plan, len(os.sched_getaffinity(0)))))
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DS_LOG_LEVEL", "warning")
    warnings.filterwarnings("ignore", "`torch.distributed.", FutureWarning)  # DeepSpeed's calls, twice a step
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")


def _allocator_variable(torch: str) -> str:
    """The variable that this version reads without a warning."""
    major, minor = (int(number) for number in torch.split(".")[:2])
    return _ALLOCATOR if (major, minor) >= (2, 9) else _OLD_ALLOCATOR


def _threads(plan: Plan, cores: int) -> int:
    """Of each process. A job that asks for no cores has those that its cluster gives, which nobody knew before."""
    if not plan.job or plan.config.train.threads or plan.config.launch.cpus_per_task:
        return plan.threads
    return max(plan.threads, cores // plan.layout.processes_here)


def _report(rank: int, error: BaseException) -> None:
    """User errors without a traceback, and once; a lost process in one line; bugs with a traceback."""
    if isinstance(error, TunefleetError):
        if rank == 0 or not (isinstance(error, UserError) or (isinstance(error, DiskError) and error.agreed)):
            print(f"tunefleet: {error}", file=sys.stderr)
    elif failures.cause_of(error) is Cause.LOST_PEER:  # whoever started the ranks says which of them went, and why
        print(f"tunefleet: rank {rank} lost another process of the run: {str(error).splitlines()[0]}", file=sys.stderr)
    else:
        traceback.print_exc()


if __name__ == "__main__":
    main()
