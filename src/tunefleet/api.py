"""From Python and notebooks: the acts of the commands as functions, and a run as an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunefleet.base import status
from tunefleet.base.errors import DONE, INTERRUPTED, ConfigError, RunError, TunefleetError
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Status
from tunefleet.config import RunConfig
from tunefleet.launch import register
from tunefleet.launch.run_state import StatusReader
from tunefleet.plan import Machine, Plan, machine_for, make

if TYPE_CHECKING:
    import pandas

    from tunefleet.tracking.curve_figure import CurveFigure

OUTPUTS = "outputs"
__all__ = ["Plan", "Run", "RunConfig", "TunefleetError", "compose", "plan", "runs", "sweep", "train"]


@dataclass(frozen=True)
class Run:
    """A run directory: how it stands, what it measured, and the model that it trained."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name, which is its directory's."""
        return self.path.name

    @property
    def status(self) -> Status | None:
        """How it stands now (state, step, loss, reason, ...); None for a run that never started."""
        return StatusReader().status(RunPaths(self.path))

    @property
    def plan(self) -> Plan:
        """What was decided before it started. Raises `RunError` where plan.json cannot be read."""
        return Plan.read(self.path)

    def metrics(self) -> pandas.DataFrame:
        """metrics.jsonl, a row a record, by `step`; NaN where a record has no such column."""
        import pandas

        from tunefleet.tracking import metrics

        records = metrics.read(RunPaths(self.path).metrics)
        return pandas.DataFrame.from_records(records, index="step" if records else None)

    def curve(self) -> CurveFigure:
        """The losses against optimizer steps, as in loss.png."""
        from tunefleet.tracking import metrics, plots

        return plots.figure(metrics.read(RunPaths(self.path).metrics), self.name)

    def export(self, folder: str | Path | None = None, checkpoint: str = "last") -> Path:
        """Writes the model of a checkpoint (`last`, `best` or a step) in Hugging Face form; returns the folder.

        Raises `RunError` where there is no such checkpoint, or `folder` holds something else.
        """
        from tunefleet.doors import exported

        request = exported.ExportRequest(to=Path(folder) if folder else None, checkpoint=checkpoint)
        return exported.export(self._registered, request)

    def chat(self, message: str, checkpoint: str = "last", max_tokens: int | None = None) -> str:
        """What the trained model answers to one message, greedily; as `tunefleet chat` answers a pipe.

        `max_tokens` is the length at most, by default that of the run's evaluation. Raises `RunError` where there is no
        model, and `TunefleetError` where the message is too long for it.
        """
        from tunefleet.doors.named_model import NamedModel

        opened = NamedModel(self.name, run=self._registered).open(checkpoint)
        from tunefleet.evaluation.streamed_answer import Sampling  # after what libraries read is set
        from tunefleet.runs.chat_session import ChatSession

        limit = max_tokens or self.plan.config.evaluation.max_new_tokens
        session = ChatSession({self.name: opened}, Sampling(max_tokens=limit))
        return session.answer(message, lambda label, piece: None)[self.name].text.strip()

    @property
    def _registered(self) -> register.Run:
        return register.Run(RunPaths(self.path))


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of `python train.py OVERRIDES`; `dataclasses.replace` changes it further.

    Raises `ConfigError` with every complaint at once.
    """
    from tunefleet.doors import compose as composing

    return composing.from_overrides(_as_list(overrides))


def plan(config: RunConfig) -> Plan:
    """Everything that is decided before a run starts, as `tunefleet plan` shows it; `summary()` is its card.

    Raises `ConfigError` with every complaint at once.
    """
    return _planned(config, machine_for(config))


def train(config: RunConfig) -> Run:
    """Trains here until the end, or submits the job that `launch=slurm` asks for; as `python train.py` does.

    A run that was interrupted is returned as it stands, and the same call resumes it. Raises `ConfigError` and
    `RunError` where it cannot start, and `RunError` with the reason where it failed.
    """
    from tunefleet.doors.train import begin

    machine = machine_for(config)
    planned = _planned(config, machine)
    code = begin(planned, machine)
    if code not in (DONE, INTERRUPTED):
        last = status.read(planned.paths.status)
        raise RunError(f"{planned.name}: {last.reason if last else f'ended with exit code {code}'}")
    return Run(planned.paths.root)


def sweep(overrides: Sequence[str]) -> list[Run]:
    """The runs of a grid or a search, after they have run here or were submitted; as `python train.py -m OVERRIDES`.

    A run that failed stops no other: look at its `status`. Raises `ConfigError` where a point cannot be planned.
    """
    from tunefleet.doors.multirun import multirun

    return [Run(folder) for folder in multirun(_as_list(overrides))]


def runs(outputs: str | Path = OUTPUTS) -> list[Run]:
    """Every run directly below `outputs`, by name."""
    return [Run(run.paths.root.resolve()) for run in register.runs(Path(outputs))]


def _planned(config: RunConfig, machine: Machine) -> Plan:
    from tunefleet.doors.typed_overrides import typed

    return make(config, machine, typed(config))


def _as_list(overrides: Sequence[str]) -> list[str]:
    """Raises `ConfigError` for one text, of which every letter would be an override."""
    if isinstance(overrides, str):
        raise ConfigError(f"overrides: a list of texts is wanted: {overrides.split()!r}")
    return list(overrides)
