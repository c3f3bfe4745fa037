"""Deadline of this start, as far as it is known: how long its processes have, and whether a save fits into that."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping

from tunefleet.config.launch import LaunchConfig
from tunefleet.train.stop_reasons import Reason

_MARGIN = 1.2  # of the last save: the next may take a little longer
_END = "SLURM_JOB_END_TIME"  # in seconds since 1970
_NOTICES = (Reason.TERMINATED, Reason.TIME_LIMIT)


class Deadline:
    """`save_seconds` is what the last save took, 0 where there was none; `step_seconds` the last step."""

    def __init__(
        self,
        launch: LaunchConfig,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._launch = launch
        self._clock = clock
        end = environment.get(_END, "")
        self._end = float(end) if end.isdigit() else math.inf
        self._signalled = math.inf
        self.save_seconds = 0.0
        self.step_seconds = 0.0

    def signalled(self) -> None:
        """A signal has come: from the first on, `launch.grace` runs."""
        self._signalled = min(self._signalled, self._clock())

    @property
    def is_near(self) -> bool:
        """Whether a save must begin now to be done when the time of the job is over."""
        needed = _MARGIN * self.save_seconds + 2 * self.step_seconds
        return self.save_seconds > 0 and self._end - self._clock() < needed

    def seconds_left(self, reason: Reason) -> float:
        """Seconds until this process is killed, where it was asked to stop for `reason`; infinite if nobody knows."""
        ends = [self._end]
        if reason in _NOTICES and self._launch.grace:
            ends.append(self._signalled + self._launch.grace)
        if reason is Reason.TIME_LIMIT and math.isinf(self._end) and not self._launch.grace:
            ends.append(self._signalled + self._launch.signal_before)
        return min(ends) - self._clock()

    def fits(self, reason: Reason) -> bool:
        """Whether a save is done before; also where nobody knows."""
        return self.seconds_left(reason) >= _MARGIN * self.save_seconds
