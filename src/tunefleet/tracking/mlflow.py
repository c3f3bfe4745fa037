"""MLflow: a run of its client, at its server or in a SQLite file beside the runs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefleet.base import secrets
from tunefleet.config.load import dump, leaves
from tunefleet.plan.plan import Plan
from tunefleet.tracking import artifacts
from tunefleet.tracking.fingerprints import fingerprints
from tunefleet.tracking.series import is_number

SECONDS_TO_FINISH = 60.0
"""A new SQLite file takes ten seconds on a busy machine; a server that does not answer is given up before."""
_URI = "MLFLOW_TRACKING_URI"
_RUN_TAG = "tunefleet.run"
_BATCH = 100  # parameters of one call: MLflow's own limit
_LONGEST = 6000  # characters of a parameter: MLflow's own limit
_SECONDS_BETWEEN_CALLS = 1.0
_NO_METRICS = ("step", "final")
_ENDS = {"finished": "FINISHED", "paused": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
_ENVIRONMENT = {  # its own patience is minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class MlflowRun:
    """One run of MLflow over all starts, known by a tag. Of a step that it has already, it keeps what it has."""

    def __init__(self, plan: Plan) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._plan = plan
        self._metrics: list[Any] = []
        self._sent = time.monotonic()
        self._last_steps: dict[str, int] = {}
        with _lock(plan):
            self._client = _client(plan)
            self._id, self._is_new = self._run()
        if self._is_new:
            self._send_settings()

    def log(self, record: dict[str, Any]) -> None:
        """Every number of a record; they are sent together, once a second at most."""
        from mlflow.entities import Metric

        at = int(record.get("time", time.time()) * 1000)
        for key, value in record.items():
            if key not in _NO_METRICS and is_number(value) and record["step"] > self._last_step(key):
                self._metrics.append(Metric(key, float(value), at, record["step"]))
                self._last_steps[key] = record["step"]
        if time.monotonic() - self._sent > _SECONDS_BETWEEN_CALLS:
            self._send()

    def samples(self, step: int, samples: Sequence[Mapping[str, str]]) -> None:
        """Adds rows to the table `samples.json`."""
        table = {key: [sample[key] for sample in samples] for key in samples[0]}
        self._client.log_table(self._id, {"step": [step] * len(samples), **table}, "samples.json")

    def rewind(self, step: int) -> None:
        """Nothing: MLflow takes no number back."""

    def finish(self, summary: dict[str, Any]) -> None:
        """Sends what is left, how the run ended, and the files that are asked for."""
        self._send()
        state = str(summary.get("state", ""))
        self._client.set_tag(self._id, "tunefleet.state", state)
        if reason := summary.get("reason"):
            self._client.set_tag(self._id, "tunefleet.reason", secrets.redacted(str(reason)))
        for name, _, path in artifacts.of_run(self._plan) if state == "finished" else ():
            send = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
            send(self._id, str(path), name)
        self._client.set_terminated(self._id, _ENDS.get(state, "KILLED"))

    def _run(self) -> tuple[str, bool]:
        """(the run's id, whether it is new)."""
        tracking, folder = self._plan.config.tracking, Path(self._plan.config.output_dir).expanduser().resolve()
        experiment = self._client.get_experiment_by_name(tracking.project)
        location = None if store(self._plan).startswith("http") else str(folder / "mlruns")
        number = experiment.experiment_id if experiment else self._client.create_experiment(tracking.project, location)
        name = f"{self._plan.trajectory or self._plan.identity}/{self._plan.name}"
        for earlier in self._client.search_runs([number], f"tags.`{_RUN_TAG}` = '{name}'"):
            self._client.update_run(earlier.info.run_id, status="RUNNING")
            return earlier.info.run_id, False
        tags = {_RUN_TAG: name, **dict.fromkeys(tracking.tags, "")}
        if tracking.group:
            tags["tunefleet.group"] = tracking.group
        created = self._client.create_run(number, tags=tags, run_name=tracking.run_name or self._plan.name)
        return created.info.run_id, True

    def _send_settings(self) -> None:
        from mlflow.entities import Param

        settings = secrets.redacted_values({**dump(self._plan.config), "fingerprints": fingerprints(self._plan)})
        self._client.log_dict(self._id, settings, "config.json")
        values = [Param(key, str(value)[:_LONGEST]) for key, value in leaves(dump(self._plan.config))]
        for start in range(0, len(values), _BATCH):
            self._client.log_batch(self._id, params=values[start : start + _BATCH])

    def _send(self) -> None:
        for start in range(0, len(self._metrics), 10 * _BATCH):
            self._client.log_batch(self._id, metrics=self._metrics[start : start + 10 * _BATCH])
        self._metrics, self._sent = [], time.monotonic()

    def _last_step(self, key: str) -> int:
        """The last step of which MLflow has `key`, from an earlier start too."""
        if key not in self._last_steps:
            history = [] if self._is_new else self._client.get_metric_history(self._id, key)
            self._last_steps[key] = max((metric.step for metric in history), default=-1)
        return self._last_steps[key]


def store(plan: Plan) -> str:
    """The address of the server or the file."""
    folder = Path(plan.config.output_dir).expanduser().resolve()
    return plan.config.tracking.mlflow_uri or os.environ.get(_URI) or f"sqlite:///{folder / 'mlflow.db'}"


def _client(plan: Plan) -> Any:
    from mlflow.tracking import MlflowClient  # seconds: only in its thread

    return MlflowClient(store(plan))


def _lock(plan: Plan) -> Any:
    """Held while the store is opened: runs that start at once would all make the tables of a new file."""
    from filelock import FileLock

    return FileLock(Path(plan.config.output_dir).expanduser() / ".mlflow.lock", timeout=SECONDS_TO_FINISH)
