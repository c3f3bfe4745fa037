"""Training clock: the seconds of all steps of a run, over all its starts."""

from __future__ import annotations

from pathlib import Path

from tunefleet.contracts import StepResult
from tunefleet.tracking import metrics


class TrainingClock:
    """`seconds` are those of steps and of waiting for their data; pauses, saves and evaluations do not count.

    A run that resumes after `step` goes on from what its metrics have of it.
    """

    def __init__(self, records: Path, step: int) -> None:
        self._records = records
        self.rewind(step)

    def rewind(self, step: int) -> None:
        """Goes on from what the metrics have of the steps up to `step`."""
        earlier = [record.get("seconds") for record in metrics.read(self._records) if record["step"] <= step]
        self.seconds = max((seconds for seconds in earlier if isinstance(seconds, (int, float))), default=0.0)

    def add(self, result: StepResult) -> None:
        """One more step."""
        self.seconds += result.seconds + result.data_seconds
