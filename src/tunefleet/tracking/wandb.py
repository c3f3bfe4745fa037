"""Weights & Biases: logged to from a thread of its own, so that nothing it does can slow or stop a run."""

from __future__ import annotations

import logging
import os
import queue
import shlex
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from tunefleet.base import files, secrets
from tunefleet.config.load import dump
from tunefleet.plan.plan import Plan
from tunefleet.tracking import metrics, wandb_file, wandb_server

log = logging.getLogger(__name__)

SECONDS_TO_FINISH = 8.0
"""What a run waits for at its end, whatever the server and the disk do; W&B's package takes two to four more."""
_SECONDS_TO_CLOSE = 3.0
INIT_TIMEOUT = 10  # seconds; its own default of 90 would be the wait for an unreachable server


class WandbSink:
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
        self._mode = mode
        self._announce = announce
        self._finish_seconds = finish_seconds
        self._resumes = resumes
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._summary: dict[str, Any] = {}
        self.unsent_folder: Path | None = None
        """What `wandb sync` takes; None before the run has started, and where the server has it all."""
        self._has_stopped = False
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    @property
    def is_working(self) -> bool:
        """Whether the thread still takes records."""
        return self._thread.is_alive()

    def log(self, record: dict[str, Any]) -> None:
        """Passes a record to the thread."""
        self._queue.put(record)

    def rewind(self, step: int) -> None:
        """Nothing: W&B keeps what it has of a step, and takes the steps after those that it knows."""

    def finish(self, summary: dict[str, Any]) -> None:
        """Waits for the thread, `finish_seconds` at most, and says how to send what is not at the server."""
        self._summary = summary
        self._queue.put(None)
        self._thread.join(self._finish_seconds)
        if self.is_working:
            self._warn_once("no answer at the end")
        if self.unsent_folder or self._has_stopped:
            self._announce(f"Weights & Biases: send the run with: {self._command}")

    @property
    def _command(self) -> str:
        return f"tunefleet sync {shlex.quote(os.path.relpath(self._plan.run_dir))}"

    def _work(self) -> None:
        try:
            run = self._start()
            while (record := self._queue.get()) is not None:
                run.log(_with_token_axis(record), step=record["step"])
            run.summary.update({**metrics.best_losses(self._plan.paths.metrics), **self._summary})
            run.finish()
            self._look_at_file(Path(run.settings.sync_file))
        except Exception as error:  # whatever it is, it must not stop the run
            self._warn_once(_first_line(error))

    def _look_at_file(self, path: Path) -> None:
        """Marks the file of a run that the server has, as `wandb sync` does; of another one, whether it is whole."""
        if self._mode == "online":
            self.unsent_folder = None
            files.touch(path.with_name(f"{path.name}.synced"))
        elif not _is_whole(path):
            self._warn_once(f"{os.path.relpath(path)} is not whole (is the disk full?)")

    def _warn_once(self, reason: str) -> None:
        if not self._has_stopped:
            log.warning("Weights & Biases stopped: %s. metrics.jsonl has everything.", reason)
        self._has_stopped = True

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
            return self._offline(_first_line(error))

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
            config=secrets.redacted_values(dump(self._plan.config)),
            dir=str(self._plan.paths.wandb),
            mode=self._mode,  # type: ignore[arg-type]
            settings=wandb.Settings(init_timeout=INIT_TIMEOUT, silent=True, console="off"),
        )
        run.define_metric("by_tokens/*", step_metric="tokens")
        self.unsent_folder = Path(run.settings.sync_dir)
        if self._mode == "online":
            self._announce(f"Weights & Biases: {run.url}")
        return run


def _is_whole(path: Path) -> bool:
    """Whether a file has its end, which the package's other process may write a little later."""
    deadline = time.monotonic() + _SECONDS_TO_CLOSE
    while wandb_file.steps(path) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _with_token_axis(record: dict[str, Any]) -> dict[str, Any]:
    """The record, with its loss once more to be drawn against tokens."""
    loss = {"by_tokens/loss": record["train/loss"]} if "train/loss" in record else {}
    return {**{k: v for k, v in record.items() if k != "step"}, **loss}


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
