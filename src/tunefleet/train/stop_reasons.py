"""Reasons for which a run stops, in the order in which they count where ranks have different ones."""

from __future__ import annotations

from enum import IntEnum

from tunefleet.base.status import Cause


class Reason(IntEnum):
    """Why a run stops; the largest of all ranks' reasons counts. CONTINUE is none.

    A run at its last step is complete, as is one that gets no better, whatever its sweep asks. Ctrl-C is the user's
    alone, and a launcher that got it too may send SIGTERM after it: INTERRUPT is larger. What a rank could not write is
    said, whatever else there is.
    """

    CONTINUE = 0
    RUNG = 1
    PRUNED = 2
    NO_BETTER = 3
    COMPLETE = 4
    STOP_FILE = 5
    TIME_LIMIT = 6
    TERMINATED = 7
    INTERRUPT = 8
    DISK = 9

    @property
    def cause(self) -> Cause:
        """The same, as status.json has it."""
        return Cause.NONE if self in (Reason.COMPLETE, Reason.NO_BETTER) else Cause[self.name]
