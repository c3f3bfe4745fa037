"""Does Weights & Biases never cost a run more than seconds, whatever fails, and can all of it be sent later?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.small_disk import small_disk
from tests.plans import tiny_plan
from tests.ranks import ROOT
from tests.tracking.offline_runs import OfflineRun, offline_runs
from tests.tracking.wandb_servers import answering, black_hole, dead_port
from tunefleet.base import status
from tunefleet.base.errors import DONE, FAILED, USER_ERROR
from tunefleet.base.status import State, Status
from tunefleet.plan import Plan
from tunefleet.tracking import wandb
from tunefleet.tracking.metrics import MetricsFile

LATER = 15  # seconds that a run may end later than one without tracking
LIMIT = str(wandb.SECONDS_TO_FINISH)
KINDS = {"killed": LIMIT, "mute": LIMIT, "full": LIMIT, "control": "19"}


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What a run said with each fault, and the seconds from its last step to the end of its process; at the same time.

    `killed`: the server, after the start. `mute`: it answers no request but the probe. `full`: the disk of the files.
    `control`: killed, without the limit.
    """
    folder = tmp_path_factory.mktemp("tracking")
    with small_disk(folder / "full"):
        begun, seconds = {}, {}
        for kind, limit in KINDS.items():
            (folder / kind).mkdir(exist_ok=True)
            fault = "killed" if kind == "control" else kind
            command = [sys.executable, "-m", "tests.tracking.wandb_servers", fault, str(folder / kind), limit]
            begun[kind] = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        while len(seconds) < len(begun):
            time.sleep(0.05)
            seconds |= {
                kind: time.time()
                for kind, process in begun.items()
                if kind not in seconds and process.poll() is not None
            }
        reports = {kind: json.loads(process.communicate()[0].splitlines()[-1]) for kind, process in begun.items()}
        assert {process.returncode for process in begun.values()} == {0}
        yield {
            kind: {**report, "later": seconds[kind] - report["ended"] + report["finished"]}
            for kind, report in reports.items()
        }


@pytest.mark.parametrize("kind", ["killed", "mute", "full"])
def test_a_run_ends_seconds_later_at_most_and_says_once_why(endings: dict[str, dict[str, Any]], kind: str) -> None:
    report = endings[kind]
    assert report["later"] < LATER
    assert len(report["warned"]) == 1
    assert report["warned"][0].endswith(" metrics.jsonl has everything.")
    assert [line for line in report["lines"] if "send the run with: tunefleet sync " in line] == report["lines"][-1:]


def test_the_faults_fired(endings: dict[str, dict[str, Any]]) -> None:
    assert endings["killed"]["killed_by"] == 9
    assert "not whole (is the disk full?)" in endings["full"]["warned"][0]
    assert not any(report["sent"] for report in endings.values())


def test_control_without_the_limit_it_would_wait(endings: dict[str, dict[str, Any]]) -> None:
    assert endings["control"]["later"] > 19 > LATER


# Sent later


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A finished run of four steps, of which Weights & Biases knows nothing."""
    plan = tiny_plan(tmp_path, tracking={"run_name": "lr=1e-4", "group": "lr"})
    plan.save()
    metrics = MetricsFile(plan.paths.metrics, 0)
    for step in range(1, 5):
        metrics.log({"step": step, "tokens": 10 * step, "train/loss": 4.0 / step})
    metrics.log({"step": 4, "evaluation/seen/loss": 1.5, "final": True})
    metrics.finish({})
    status.write(plan.paths.status, Status(State.FINISHED, step=4, total_steps=4))
    return plan


def sync(plan: Plan, port: int, **variables: str) -> subprocess.CompletedProcess[str]:
    """`tunefleet sync` of the run, as a user types it."""
    environment = {"WANDB_BASE_URL": f"http://127.0.0.1:{port}", "WANDB_API_KEY": "k" * 40, **variables}
    code = "import sys; from tunefleet.doors.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "sync", plan.run_dir]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def offline(plan: Plan, records: list[dict[str, Any]]) -> Path:
    """The file of a start that was offline and logged these records."""
    code = (
        "import sys, json; from pathlib import Path; from tunefleet.plan import Plan\n"
        "from tunefleet.tracking.wandb import WandbSink\n"
        "s = WandbSink(Plan.read(Path(sys.argv[1])), 'offline', print, 60)\n"
        "for r in json.loads(sys.argv[2]): s.log(r)\ns.finish({'state': 'finished'})"
    )
    before = set(plan.paths.root.glob("wandb/offline-run-*/*.wandb"))
    subprocess.run([sys.executable, "-c", code, plan.run_dir, json.dumps(records)], check=True, timeout=120)
    (path,) = set(plan.paths.root.glob("wandb/offline-run-*/*.wandb")) - before
    return path


def history(server: Any) -> list[int]:
    """The steps that the server was sent, in their order."""
    steps = []
    for body in server.bodies:
        files = json.loads(body).get("files", {}) if body[:1] == b"{" else {}
        for line in (files or {}).get("wandb-history.jsonl", {}).get("content", []) if isinstance(files, dict) else []:
            steps.append(json.loads(line)["_step"])
    return steps


def test_an_offline_file_is_sent_as_it_is_and_only_once(plan: Plan) -> None:
    server = answering()
    path = offline(plan, [{"step": step, "train/loss": 4.0 / step} for step in range(1, 5)])
    done = sync(plan, server.server_port)
    assert (done.returncode, done.stderr) == (DONE, "")
    assert "4 steps were sent, from its offline files" in done.stdout
    assert history(server) == [1, 2, 3, 4]
    assert path.with_name(f"{path.name}.synced").exists()
    assert "the server has it already" in sync(plan, server.server_port).stdout
    assert history(server) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "fault",
    [
        "torn",
        "empty",
        *(pytest.param(fault, marks=pytest.mark.exhaustive) for fault in ("missing", "of another start")),
    ],
)
def test_a_run_is_made_anew_from_its_metrics_where_the_offline_file_does_not_hold_it(plan: Plan, fault: str) -> None:
    server = answering()
    if fault != "missing":
        path = offline(
            plan,
            [{"step": step, "train/loss": 4.0 / step} for step in range(3 if fault == "of another start" else 1, 5)],
        )
        content = path.read_bytes()
        path.write_bytes({"empty": b"", "torn": content[: len(content) * 2 // 3]}.get(fault, content))
    done = sync(plan, server.server_port)
    assert (done.returncode, done.stderr) == (DONE, "")
    assert "4 steps were sent, from metrics.jsonl" in done.stdout
    assert history(server) == [1, 2, 3, 4]
    if fault != "missing":
        path.unlink()
    (rebuilt,) = offline_runs(plan.paths.root)
    expected = OfflineRun(rebuilt.id, "lr=1e-4", "lr", rebuilt.summary, [1, 2, 3, 4], 0)
    assert rebuilt == replace(expected, history=rebuilt.history, config=rebuilt.config)
    assert [row["train/loss"] for row in rebuilt.history] == [4.0 / step for step in range(1, 5)]
    assert (rebuilt.summary["state"], rebuilt.summary["best/seen/loss"]) == ("finished", 1.5)


def test_without_a_key_or_a_server_one_line_says_what_to_do(plan: Plan, tmp_path: Path) -> None:
    hole = black_hole()
    for port, variables, reason in (
        (dead_port(), {}, "does not answer ([Errno 111] Connection refused)"),
        (hole, {}, "does not answer (timed out)"),
        (
            hole,
            {"WANDB_API_KEY": "", "HOME": str(tmp_path), "NETRC": "/nowhere"},
            "there is no key (wandb login makes one)",
        ),
    ):
        done = sync(plan, port, **variables)
        assert (done.returncode, done.stdout) == (USER_ERROR, "")
        (line,) = done.stderr.splitlines()
        assert reason in line
        assert "Do this on a machine that has a key" in line


def test_a_server_that_refuses_leaves_it_to_be_sent_again(plan: Plan) -> None:
    server = answering(401)
    done = sync(plan, server.server_port)
    assert done.returncode == FAILED
    assert "the server did not take it" in done.stderr
    server.code = 200
    done = sync(plan, server.server_port)
    assert (done.returncode, history(server)) == (DONE, [1, 2, 3, 4])
    assert len(offline_runs(plan.paths.root)) == 1  # what was made anew the first time is sent


def test_a_run_that_is_training_is_not_sent(plan: Plan) -> None:
    plan.paths.heartbeat.touch()
    status.write(plan.paths.status, Status(State.RUNNING, step=2, total_steps=4))
    done = sync(plan, answering().server_port)
    assert done.returncode == USER_ERROR
    assert "is running. Send it when it is over" in done.stderr
