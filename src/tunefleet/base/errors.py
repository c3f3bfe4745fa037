"""Errors: every exception that tunefleet raises on purpose, and the exit code of each.

    TunefleetError                1   something failed; the message says what, where and the next move
    ├── UserError                 2   a user error: no traceback is shown
    │   ├── ConfigError           2   a key, a value or a combination of them
    │   ├── DataError             2   a file or a row, named as file:line
    │   └── RunError              2   a run directory that is missing, foreign or damaged
    ├── NonFiniteLoss             3   training reached NaN or infinity; weights were left as they were before it
    │   └── LossSpike             3   the loss or the gradient norm spiked, and train.on_spike=stop
    ├── Hang                      4   no progress for as long as launch.start_limit or launch.step_limit
    ├── DiskError                 5   a disk is full, over a quota, read-only or failing; what was saved stays
    ├── ReplicaDrift              6   processes that hold the same weights hold different ones
    ├── ExportError               1   the model is trained and saved, and its export is not what was trained
    ├── OutOfMemory               1   a device or a host had no room for what was asked for
    ├── RankFailure               1   one process of a run ended; the others were ended with it
    └── WorkerFailure             1   a process that prepares micro-batches for a rank ended

Besides these, a run that is interrupted (SIGINT, SIGTERM) saves a checkpoint and ends with 130.
"""

from __future__ import annotations

from collections.abc import Sequence

DONE = 0
FAILED = 1
USER_ERROR = 2
NON_FINITE = 3
HUNG = 4
DISK = 5
DRIFTED = 6
INTERRUPTED = 130


class TunefleetError(Exception):
    """Base of all errors raised on purpose. `exit_code` is what the process ends with."""

    exit_code = FAILED


class UserError(TunefleetError):
    """A mistake of the user's. `complaints` holds one message for each."""

    exit_code = USER_ERROR

    def __init__(self, *complaints: str) -> None:
        self.complaints: Sequence[str] = complaints
        super().__init__("\n".join(complaints))


class ConfigError(UserError):
    """A key, a value, or a combination of them that cannot work."""


class DataError(UserError):
    """A data file or a row of it that cannot be used."""


class RunError(UserError):
    """A run directory that is missing, belongs to another configuration, or is damaged."""


class NonFiniteLoss(TunefleetError):
    """A loss or a gradient norm became NaN or infinite."""

    exit_code = NON_FINITE


class Hang(TunefleetError):
    """A process made no progress for as long as its limit."""

    exit_code = HUNG


class DiskError(TunefleetError, OSError):
    """Something could not be written. `errno` is the system's number; `agreed` says that every rank raises the same."""

    exit_code = DISK

    def __init__(self, message: str, number: int, agreed: bool = False) -> None:
        super().__init__(message)
        self.errno = number
        self.agreed = agreed


class LossSpike(NonFiniteLoss):
    """A loss or a gradient norm was far above those before it (`train.spike_sigma`)."""


class ReplicaDrift(TunefleetError):
    """Weights that several processes hold alike differ: a bit was flipped, or a process computes wrongly."""

    exit_code = DRIFTED


class ExportError(TunefleetError):
    """An export failed, or is not what was trained. What was trained is saved."""


class OutOfMemory(TunefleetError):
    """A device or a host had no room for what was asked for."""


class RankFailure(TunefleetError):
    """A process of a run ended before the run was over."""


class WorkerFailure(TunefleetError):
    """A process that prepares micro-batches ended before the run was over."""


def exit_code_of(error: BaseException) -> int:
    """The exit code for `error`: its own if it is one of ours, else `FAILED`."""
    return error.exit_code if isinstance(error, TunefleetError) else FAILED
