"""TensorBoard: its event files, written by its own package through torch's SummaryWriter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tunefleet.base import disk, secrets
from tunefleet.config.load import dump
from tunefleet.plan.plan import Plan
from tunefleet.tracking.fingerprints import fingerprints
from tunefleet.tracking.series import is_number

_SECONDS_TO_FLUSH = 10
_LEAST_ROOM = 1 << 16  # bytes that may wait to be written
_NO_SCALARS = ("step", "time", "final")


class TensorboardFiles:
    """Numbers as scalars of steps, samples and settings as text; a start that resumes hides what it will do again."""

    def __init__(self, plan: Plan, resumed_from: int) -> None:
        self._folder = plan.paths.tensorboard / "events"
        disk.expect_room(self._folder, _LEAST_ROOM)
        self._writer = self._open(resumed_from + 1)
        settings = secrets.redacted_values({**dump(plan.config), "fingerprints": fingerprints(plan)})
        self._writer.add_text("config", f"```json\n{json.dumps(settings, indent=2)}\n```", resumed_from)

    def log(self, record: dict[str, Any]) -> None:
        """Every number of a record. Raises `DiskError` where there is no room: its writer would wait for ever then."""
        disk.expect_room(self._folder, _LEAST_ROOM)
        for key, value in record.items():
            if key not in _NO_SCALARS and is_number(value):
                self._writer.add_scalar(key, value, record["step"], record.get("time"))

    def samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """A table of all samples of a step."""
        columns = list(samples[0])
        lines = [columns, ["---"] * len(columns), *(list(sample.values()) for sample in samples)]
        table = "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)
        self._writer.add_text("samples", table, step)

    def rewind(self, step: int) -> None:
        """What follows is from after `step`: TensorBoard drops what it has of later steps."""
        self._writer.close()
        self._writer = self._open(step + 1)

    def finish(self, summary: dict[str, Any]) -> None:
        """Writes what is left."""
        self._writer.close()

    def _open(self, first_step: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter  # seconds: only in its thread

        return SummaryWriter(str(self._folder.parent), purge_step=first_step, flush_secs=_SECONDS_TO_FLUSH)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
