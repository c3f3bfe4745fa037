"""Failures of ranks: what a rank writes down before it leaves, and which of several came first."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tunefleet.base import files, reserve, secrets
from tunefleet.base.errors import (
    DiskError,
    ExportError,
    Hang,
    LossSpike,
    NonFiniteLoss,
    OutOfMemory,
    ReplicaDrift,
    TunefleetError,
    UserError,
    exit_code_of,
)
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause

_SIGNS = (
    (Cause.DISK, ("No space left on device", "Disk quota exceeded", "Read-only file system", "Input/output error")),
    (Cause.OUT_OF_MEMORY, ("out of memory", "not enough memory", "cannot allocate memory", "MemoryError")),
    (
        Cause.OUT_OF_MEMORY,
        ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "cublasCreate"),
    ),  # as cuBLAS says it
    (Cause.ERROR, ("device-side assert",)),  # an index out of range: another machine would raise the same
    (Cause.ERROR, ("Duplicate GPU", "ncclInvalidUsage", "ncclInvalidArgument", "unhandled cuda error")),
    (Cause.LOST_PEER, ("closed by peer", "reset by peer", "Broken pipe", "NCCL", "DistNetworkError", "DistStoreError")),
    (Cause.LOST_PEER, ("recvValue failed", "failed to recv", "Timed out waiting")),  # gloo and torch's key store
    (Cause.NODE_FAILURE, ("CUDA error", "ECC error", "uncorrectable", "Stale file handle")),
)


@dataclass(frozen=True)
class Failure:
    """How one rank ended. A rank that only lost its peers is not the one to blame."""

    rank: int
    message: str
    cause: Cause
    exit_code: int
    traceback: str = ""

    @staticmethod
    def from_error(rank: int, error: BaseException) -> Failure:
        """The failure that `error` is; call it where the error is caught."""
        text = str(error) if isinstance(error, TunefleetError) else f"{type(error).__name__}: {error}"
        return Failure(rank, text, cause_of(error), exit_code_of(error), traceback.format_exc())


_AT_EXIT: list[Callable[[str], object]] = []


def at_exit(act: Callable[[str], object]) -> None:
    """Has `act` called with the reason when this process leaves because of a failure, once that is written down."""
    _AT_EXIT[:] = [act]


def run_at_exit(reason: str) -> None:
    """Calls what `at_exit` has got, once; what it raises is dropped, for the process leaves anyway."""
    acts, _AT_EXIT[:] = list(_AT_EXIT), []
    for act in acts:
        with suppress(Exception):
            act(reason)


def cause_of(error: BaseException) -> Cause:
    """What kind of trouble an exception is; torch and NCCL tell by their texts alone."""
    if isinstance(error, UserError):
        return Cause.USER_ERROR
    if isinstance(error, LossSpike):
        return Cause.SPIKE
    if isinstance(error, NonFiniteLoss):
        return Cause.NON_FINITE
    if isinstance(error, Hang):
        return Cause.HANG
    if isinstance(error, DiskError):
        return Cause.DISK
    if isinstance(error, ReplicaDrift):
        return Cause.DRIFT
    if isinstance(error, ExportError):
        return Cause.EXPORT
    if isinstance(error, OutOfMemory):
        return Cause.OUT_OF_MEMORY
    text = f"{type(error).__name__}: {error}".lower()
    return next((cause for cause, signs in _SIGNS if any(sign.lower() in text for sign in signs)), Cause.ERROR)


def write(paths: RunPaths, failure: Failure) -> None:
    """Leaves a failure in the run directory, without secrets, for whoever started the rank; on a full disk too.

    Raises `DiskError`.
    """
    record = secrets.redacted_values({**asdict(failure), "cause": failure.cause.value})
    reserve.spend(paths.root, lambda: files.write_json(paths.failure(failure.rank), record))


def read(path: Path) -> Failure | None:
    """The failure in `path`, or None where there is none that can be read."""
    try:
        record = files.read_json(path)
        return Failure(**{**record, "cause": Cause(record["cause"])})
    except (OSError, KeyError, TypeError, ValueError):
        return None


def read_all(paths: RunPaths) -> list[Failure]:
    """What the ranks of the last attempt left, by rank."""
    failures = (read(path) for path in (paths.root / "logs").glob("rank*.failure.json"))
    return sorted((failure for failure in failures if failure), key=lambda failure: failure.rank)


def first(failures: Sequence[Failure]) -> Failure | None:
    """The one to blame: a failure of a rank's own before one of a rank that lost its peers."""
    first_hand = [failure for failure in failures if failure.cause is not Cause.LOST_PEER]
    return next(iter([*first_hand, *failures]), None)


def forget(paths: RunPaths) -> None:
    """Forgets why the last attempt ended. What living ranks have written of this one stays."""
    for path in (paths.hang, *paths.hang.parent.glob("rank*.failure.json")):
        path.unlink(missing_ok=True)


_RECORDS = ("rank*.failure.json", "rank*.pulse.json", "rank*.pulse.place", "rank*.stacks.txt")


def clear(paths: RunPaths) -> None:
    """Forgets the last attempt."""
    logs = paths.hang.parent
    for path in (paths.hang, *(path for name in _RECORDS for path in logs.glob(name))):
        path.unlink(missing_ok=True)
