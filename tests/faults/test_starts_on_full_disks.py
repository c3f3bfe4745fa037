"""A start whose disk is full at its first write or a little later: does one line say what is needed and free?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.faults.small_disk import filled, small_disk
from tests.plans import tiny_plan
from tests.ranks import ROOT
from tunefleet.base import reserve, status
from tunefleet.base.errors import DISK
from tunefleet.base.status import Cause, State, Status
from tunefleet.launch import attempt, disk_endings, run_bundle, snapshot, submission
from tunefleet.plan import Plan

LEFT = (0, 1 << 12, 1 << 14)
"""Bytes that are free: none, room for a record of the lock, and for a plan beside it."""
LINE = re.compile(
    r"tunefleet: .*outputs/.*: No space left on device \((.* needed, )?[\d.]+ \w+ free\)\. Make room there\."
)


@pytest.fixture
def outputs(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "outputs") as disk:
        yield disk


def started(module: str, *arguments: str, **variables: str) -> tuple[int, str]:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("SLURM")}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def expect_one_line(code: int, printed: str) -> None:
    lines = [line for line in printed.splitlines() if line.startswith("tunefleet: ")]
    assert (code, len(lines)) == (DISK, 1), printed
    assert LINE.match(lines[0]), printed
    assert "Traceback" not in printed


def interrupted(outputs: Path, **settings: object) -> Plan:
    """A run that was started before, and stopped."""
    plan = tiny_plan(outputs, **settings)
    plan.save()
    status.write(plan.paths.status, Status(State.INTERRUPTED, cause=Cause.INTERRUPT))
    reserve.keep(plan.paths.root)
    return plan


@pytest.mark.parametrize(
    ("left", "ranks"),
    [
        pytest.param(LEFT[0], {}, marks=pytest.mark.exhaustive),
        pytest.param(LEFT[1], {}, marks=pytest.mark.exhaustive),
        (LEFT[2], {}),
        (LEFT[2], {"RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": "29999"}),
    ],
    ids=["0", "4k", "16k", "torchrun"],
)
def test_a_start_says_so_in_one_line_and_leaves_a_final_state(
    outputs: Path, tmp_path: Path, left: int, ranks: dict[str, str]
) -> None:
    plan = interrupted(outputs)
    filled(outputs, left)
    expect_one_line(*started("tests.faults.starter", str(plan.paths.root), **ranks))
    ended = status.read(plan.paths.status)
    assert ended
    assert (ended.state, ended.cause) in ((State.FAILED, Cause.DISK), (State.INTERRUPTED, Cause.INTERRUPT))
    assert left < LEFT[-1] or ended.cause is Cause.DISK, "it was held back by its lock"


@pytest.mark.parametrize("left", [0, pytest.param(LEFT[1], marks=pytest.mark.exhaustive)])
def test_a_job_says_so_and_leaves_a_final_state(outputs: Path, left: int) -> None:
    """The first line of its script, which exports nothing then, so that the job fails."""
    plan = interrupted(outputs, launch={"name": "slurm"})
    status.write(plan.paths.status, Status(State.QUEUED))
    folder = submission.intend(outputs, [plan.paths]).folder
    filled(outputs, left)
    code, printed = started("tunefleet.launch.attempt", "begin", folder, SLURM_JOB_ID="12")
    expect_one_line(code, printed)
    assert "export" not in printed
    ended = status.read(plan.paths.status)
    assert ended
    assert (ended.state, ended.cause) == (State.FAILED, Cause.DISK)
    assert "No space left on device" in ended.reason


def test_control_without_the_defence_its_run_stays_queued(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = interrupted(outputs, launch={"name": "slurm"})
    status.write(plan.paths.status, Status(State.QUEUED))
    folder = submission.intend(outputs, [plan.paths]).folder
    filled(outputs)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setattr(sys, "argv", ["attempt", "begin", folder])
    monkeypatch.setattr(disk_endings, "settled", lambda _: nullcontext())
    with pytest.raises(SystemExit):
        attempt.main()
    stays = status.read(plan.paths.status)
    assert stays
    assert stays.state is State.QUEUED


def test_a_bundle_and_a_snapshot_look_ahead(outputs: Path, tmp_path: Path) -> None:
    plan = interrupted(tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_bytes(os.urandom(1 << 16))
    filled(outputs, 1 << 12)
    with pytest.raises(OSError, match=r"bundle\.tar\.gz: No space left on device \(.* needed, .* free\)"):
        run_bundle.write(plan.paths, outputs / "bundle.tar.gz")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "code", check=True)
    subprocess.run(["git", "add", "a.py"], cwd=tmp_path / "code", check=True)
    with pytest.raises(OSError, match=r"No space left on device \(.* needed, .* free\)"):
        snapshot.take(tmp_path / "code", outputs / "code")
    assert [path.name for path in outputs.iterdir() if path.name != "filler"] == []
