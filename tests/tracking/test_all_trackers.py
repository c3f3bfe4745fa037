"""Do all trackers at once hold what metrics.jsonl holds, value by value, as their own packages read it?"""

from __future__ import annotations

import csv
import json
import struct
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import pytest

from tests.ranks import ROOT
from tests.tracking.all_trackers import SAMPLES, planned
from tests.tracking.offline_runs import OfflineRun, offline_runs
from tunefleet.plan.plan import Plan
from tunefleet.tracking import metrics

Values = dict[tuple[int, str], float]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Of a run that failed once and resumed, with csv, tensorboard, mlflow (mlflow_uri is null), W&B and artifacts."""
    folder = tmp_path_factory.mktemp("trackers")
    command = [sys.executable, "-m", "tests.tracking.all_trackers", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    assert "stopped" not in done.stderr, done.stderr
    return planned(folder)


@pytest.fixture(scope="module")
def starts(plan: Plan) -> list[OfflineRun]:
    """The offline files of W&B."""
    return offline_runs(plan.paths.root)


def truth(plan: Plan) -> Values:
    """{(step, key): value} of metrics.jsonl, without its axis."""
    return numbers(metrics.read(plan.paths.metrics))


def numbers(records: list[dict[str, Any]]) -> Values:
    return {(record["step"], key): value for record in records for key, value in record.items() if key != "step"}


def single(value: float) -> float:
    """To single precision, in which TensorBoard keeps scalars."""
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


def test_the_run_is_whole(plan: Plan) -> None:
    assert {step for step, _ in truth(plan)} == {1, 2, 3, 4, 5, 6}
    assert len(truth(plan)) == 6 * 10 + 3 * 2


def test_csv_holds_every_value(plan: Plan) -> None:
    with open(plan.paths.csv, newline="") as stream:
        rows = [{key: json.loads(text) for key, text in row.items() if text} for row in csv.DictReader(stream)]
    assert rows == metrics.read(plan.paths.metrics)


def test_tensorboard_reads_every_value(plan: Plan) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(plan.paths.tensorboard))
    events.Reload()
    scalars = {(e.step, tag): e.value for tag in events.Tags()["scalars"] for e in events.Scalars(tag)}
    assert scalars == {key: single(value) for key, value in truth(plan).items() if key[1] != "time"}
    assert [e.step for e in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]  # each once, over both starts
    assert [e.wall_time for e in events.Scalars("train/loss")] == [1e9 + step for step in range(1, 7)]
    texts = events.Tensors("samples/text_summary")
    assert sorted({text.step for text in texts}) == [2, 4, 6]
    assert r"| seen | a \| b | c | d 1 |" in texts[-1].tensor_proto.string_val[0].decode()


def test_weights_and_biases_gets_every_value(plan: Plan, starts: list[OfflineRun]) -> None:
    history: dict[int, dict[str, Any]] = {}
    for start in starts:
        for number, values in zip(start.steps, start.history, strict=True):
            history[number] = {**values, **history.get(number, {})}  # the server keeps what it has of a step
    logged = {(step, key): value for step, values in history.items() for key, value in values.items()}
    wanted = truth(plan)
    assert {key: logged[key] for key in wanted} == wanted
    axes = {f"by_{axis}/{name}": key for axis in ("tokens", "seconds") for name, key in LOSSES.items()}
    copies = {(step, name): value for (step, key), value in wanted.items() for name, of in axes.items() if of == key}
    assert {key: value for key, value in logged.items() if key[1].startswith("by_")} == copies


LOSSES = {"loss": "train/loss", "seen/loss": "evaluation/seen/loss", "unseen/loss": "evaluation/unseen/loss"}


def test_weights_and_biases_knows_what_the_run_is(plan: Plan, starts: list[OfflineRun]) -> None:
    assert len({start.id for start in starts}) == 1
    assert [start.name for start in starts] == ["mine", "mine"]
    config: Mapping[str, Any] = starts[0].config
    assert config["optimizer"]["lr"] == plan.config.optimizer.lr
    assert config["fingerprints"]["identity"] == plan.identity
    assert config["fingerprints"]["files"] == {"data": {"rows.jsonl": "ab" * 32}}


def test_weights_and_biases_is_alerted_where_the_run_fails_and_only_there(plan: Plan, starts: list[OfflineRun]) -> None:
    assert [start.alerts for start in starts] == [[f"ERROR {plan.name} failed: the loss became nan"], []]


def test_the_samples_of_weights_and_biases_are_a_table_that_grows(plan: Plan, starts: list[OfflineRun]) -> None:
    rows = []
    for path in plan.paths.root.glob("wandb/offline-run-*/files/media/table/*.json"):
        rows += json.loads(path.read_text())["data"]
    assert [row for row in rows if row[0] == 6] == [[6, *sample.values()] for sample in SAMPLES]
    assert {row[0] for row in rows} == {2, 4, 6}


def test_an_artifact_that_is_asked_for_is_kept_at_the_end(plan: Plan, starts: list[OfflineRun]) -> None:
    assert [start.artifacts for start in starts] == [[], [f"{starts[0].id}-plan"]]


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is an extra: pip install mlflow")
def test_mlflow_reads_every_value_of_one_run(plan: Plan) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{plan.paths.root.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("voices")
    (run,) = client.search_runs([experiment.experiment_id])
    history = [m for key in run.data.metrics for m in client.get_metric_history(run.info.run_id, key)]
    assert {(m.step, m.key): m.value for m in history} == truth(plan)
    assert len(history) == len(truth(plan))  # each once, over both starts
    assert (run.info.status, run.info.run_name) == ("FINISHED", "mine")
    assert run.data.params["optimizer.lr"] == str(plan.config.optimizer.lr)
    assert (plan.paths.root.parent / "mlruns").is_dir()
