"""Weights & Biases: told from a thread of its own, so that nothing it does can slow or stop a run."""

from __future__ import annotations

import logging
import netrc
import os
import queue
import threading
from hashlib import sha256
from typing import Any

from tunefleet.config.load import dump
from tunefleet.config.tracking import WandbMode
from tunefleet.plan.plan import Plan

log = logging.getLogger(__name__)

_SECONDS_TO_FINISH = 60.0
_INIT_TIMEOUT = 30  # its own default of 90 s would be the wait for an unreachable server


def mode(wanted: WandbMode) -> str:
    """online, offline or disabled: `auto` follows WANDB_MODE, else a key decides."""
    if wanted is not WandbMode.AUTO:
        return str(wanted.value)
    return os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")


class WandbSink:
    """A W&B run that goes on under the same id when the run resumes."""

    def __init__(self, plan: Plan, mode: str) -> None:
        self._plan = plan
        self._mode = mode
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._summary: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    def log(self, record: dict[str, Any]) -> None:
        """Hands a record to the thread."""
        self._queue.put(record)

    def finish(self, summary: dict[str, Any]) -> None:
        """Waits for the thread, at most a minute."""
        self._summary = summary
        self._queue.put(None)
        self._thread.join(_SECONDS_TO_FINISH)
        if self._thread.is_alive():
            log.warning("Weights & Biases did not finish; metrics.jsonl has everything.")

    def _work(self) -> None:
        try:
            run = self._start()
            while (record := self._queue.get()) is not None:
                run.log(_with_token_axis(record), step=record["step"])
            run.summary.update(self._summary)
            run.finish()
        except Exception as error:  # whatever it is, it must not stop the run
            log.warning("Weights & Biases stopped: %s. metrics.jsonl has everything.", error)

    def _start(self) -> Any:
        import wandb  # 1.3 s: only in this thread

        tracking = self._plan.config.tracking
        run = wandb.init(
            project=tracking.project,
            entity=tracking.entity,
            group=tracking.group or f"{self._plan.config.data.name}/{self._plan.config.model.name}",
            name=self._plan.name,
            id=sha256(f"{self._plan.identity} {self._plan.name}".encode()).hexdigest()[:16],
            resume="allow",
            tags=tracking.tags,
            config=dump(self._plan.config),
            dir=str(self._plan.paths.wandb),
            mode=self._mode,  # type: ignore[arg-type]
            settings=wandb.Settings(init_timeout=_INIT_TIMEOUT, silent=True, console="off"),
        )
        run.define_metric("by_tokens/*", step_metric="tokens")
        return run


def _with_token_axis(record: dict[str, Any]) -> dict[str, Any]:
    """The record, with its loss once more to be drawn against tokens."""
    loss = {"by_tokens/loss": record["train/loss"]} if "train/loss" in record else {}
    return {**{k: v for k, v in record.items() if k != "step"}, **loss}


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
