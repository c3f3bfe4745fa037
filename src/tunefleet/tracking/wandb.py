"""Weights & Biases: logged to from a thread of its own, so that nothing it does can slow or stop a run."""

from __future__ import annotations

import logging
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from tunefleet.base import files, secrets
from tunefleet.config.load import dump
from tunefleet.plan.plan import Plan
from tunefleet.tracking import artifacts, metrics, wandb_file, wandb_server
from tunefleet.tracking.background import SECONDS_TO_FINISH, BackgroundTracker, first_line
from tunefleet.tracking.fingerprints import fingerprints

log = logging.getLogger(__name__)

_SECONDS_TO_CLOSE = 3.0
INIT_TIMEOUT = 10  # seconds; its own default of 90 would be the wait for an unreachable server


class WandbSink(BackgroundTracker):
    """A W&B run that resumes under the same id when the run resumes; without `resumes` it replaces what is there.

    Where the server cannot be reached, the run is saved offline. `announce` gets one line with the run's address, or
    the reason why there is none, and a last one with the command that sends what is on this disk. The end waits
    `finish_seconds` at most. The summary holds the lowest loss of each split over all starts, as `best/SPLIT/loss`.
    """

    def __init__(
        self,
        plan: Plan,
        mode: str,
        announce: Callable[[str], None],
        finish_seconds: float = SECONDS_TO_FINISH,
        resumes: bool = True,
    ) -> None:
        self._plan = plan
        self._announce = announce
        self._run = _WandbRun(plan, mode, announce, resumes)
        super().__init__("Weights & Biases", self._run.begin, finish_seconds, log)

    @property
    def unsent_folder(self) -> Path | None:
        """What `wandb sync` takes; None before the run has started, and where the server has it all."""
        return self._run.unsent_folder

    @property
    def address(self) -> str:
        """The run's page at its server; empty where it is not there."""
        return self._run.address

    def finish(self, summary: dict[str, Any]) -> None:
        """Waits for the thread, and says how to send what is not at the server."""
        super().finish(summary)
        if self.unsent_folder or self.has_stopped:
            self._announce(f"Weights & Biases: send the run with: {self.command}")

    @property
    def command(self) -> str:
        """What sends the run later."""
        return f"tunefleet sync {shlex.quote(os.path.relpath(self._plan.run_dir))}"


class _WandbRun:
    """The run of the package: all of it in one thread."""

    def __init__(self, plan: Plan, mode: str, announce: Callable[[str], None], resumes: bool) -> None:
        self._plan = plan
        self._mode = mode
        self._announce = announce
        self._resumes = resumes
        self._table: Any = None
        self.unsent_folder: Path | None = None
        self.address = ""

    def begin(self) -> _WandbRun:
        """Starts it. Raises whatever the package raises where it can be neither online nor offline."""
        self._run = self._start()
        return self

    def log(self, record: dict[str, Any]) -> None:
        """A record, with its losses against tokens and seconds besides."""
        self._run.log(_with_axes(record), step=record["step"])

    def rewind(self, step: int) -> None:
        """Nothing: W&B keeps what it has of a step, and takes the steps after those that it knows."""

    def samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """Adds rows to the table `samples`."""
        import wandb

        if self._table is None:
            self._table = wandb.Table(columns=["step", *samples[0]], log_mode="INCREMENTAL")
        for sample in samples:
            self._table.add_data(step, *sample.values())
        self._run.log({"samples": self._table}, step=step)

    def finish(self, summary: dict[str, Any]) -> None:
        """Sends the summary, an alert where the run has failed, and the artifacts that are asked for.

        Raises `OSError` where the file of an offline run is not whole.
        """
        self._run.summary.update({**metrics.best_losses(self._plan.paths.metrics), **summary})
        if summary.get("state") == "failed":
            self._run.alert(f"{self._plan.name} failed", str(summary.get("reason") or "see its logs"), "ERROR")
        for name, kind, path in artifacts.of_run(self._plan) if summary.get("state") == "finished" else ():
            self._send_artifact(name, kind, path)
        self._run.finish()
        self._look_at_file(Path(self._run.settings.sync_file))

    def _send_artifact(self, name: str, kind: str, path: Path) -> None:
        import wandb

        artifact = wandb.Artifact(f"{self._run.id}-{name}", type=kind)
        artifact.add_dir(str(path)) if path.is_dir() else artifact.add_file(str(path))
        self._run.log_artifact(artifact)

    def _look_at_file(self, path: Path) -> None:
        """Marks the file of a run that the server has, as `wandb sync` does; of another one, whether it is whole."""
        if self._mode == "online":
            self.unsent_folder = None
            files.touch(path.with_name(f"{path.name}.synced"))
        elif not _is_whole(path):
            raise OSError(f"{os.path.relpath(path)} is not whole (is the disk full?)")

    def _start(self) -> Any:
        """The run of wandb, online where that is set and works, else offline."""
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its reports hold the process ten seconds at its end
        try:
            if self._mode == "online" and (obstacle := wandb_server.obstacle()):
                return self._offline(obstacle)
            return self._init()
        except Exception as error:
            if self._mode == "offline":
                raise
            self._release_run_id()
            return self._offline(first_line(error))

    def _offline(self, reason: str) -> Any:
        self._announce(f"Weights & Biases: {secrets.redacted(reason)}; the run is saved offline")
        self._mode = "offline"
        return self._init()

    def _release_run_id(self) -> None:
        """Its service still holds the id of the run that could not be started."""
        import wandb

        wandb.teardown()

    def _init(self) -> Any:
        import wandb  # 1.3 s: only in this thread

        tracking = self._plan.config.tracking
        run = wandb.init(
            project=tracking.project,
            entity=tracking.entity,
            group=tracking.group or f"{self._plan.config.data.name}/{self._plan.config.model.name}",
            name=tracking.run_name or self._plan.name,
            id=sha256(f"{self._plan.trajectory or self._plan.identity} {self._plan.name}".encode()).hexdigest()[:16],
            resume="allow" if self._resumes else None,
            tags=tracking.tags,
            config=secrets.redacted_values({**dump(self._plan.config), "fingerprints": fingerprints(self._plan)}),
            dir=str(self._plan.paths.wandb),
            mode=self._mode,  # type: ignore[arg-type]
            settings=wandb.Settings(init_timeout=INIT_TIMEOUT, silent=True, console="off"),
        )
        for axis in ("tokens", "seconds"):
            run.define_metric(f"by_{axis}/*", step_metric=axis)
        self.unsent_folder = Path(run.settings.sync_dir)
        if self._mode == "online":
            self.address = str(run.url)
            self._announce(f"Weights & Biases: {self.address}")
        return run


def _is_whole(path: Path) -> bool:
    """Whether a file has its end, which the package's other process may write a little later."""
    deadline = time.monotonic() + _SECONDS_TO_CLOSE
    while wandb_file.steps(path) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _with_axes(record: dict[str, Any]) -> dict[str, Any]:
    """The record, with each loss once more to be drawn against tokens, and against seconds where it has them."""
    losses = {key: value for key, value in record.items() if key.endswith("/loss")}
    names = {key: key.removeprefix("train/").removeprefix("evaluation/") for key in losses}
    axes = [axis for axis in ("tokens", "seconds") if axis in record or axis == "tokens"]
    copies = {f"by_{axis}/{names[key]}": value for axis in axes for key, value in losses.items()}
    return {**{key: value for key, value in record.items() if key != "step"}, **copies}
