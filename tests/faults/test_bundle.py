"""Does a crash leave one file to send, with what tells why, from any run directory, and with nothing private?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base import failures, status
from tunefleet.base.errors import DONE, FAILED, USER_ERROR, RunError
from tunefleet.base.failures import Failure
from tunefleet.base.status import Cause, State, Status
from tunefleet.doors import start
from tunefleet.launch import provenance, run_bundle, submission
from tunefleet.plan import Machine, Plan

CANARY = "canary-5f3a9b7c"
ROW = "the text of a row"


@pytest.fixture
def crashed(tmp_path: Path) -> Plan:
    """A run of two ranks that failed, with secrets, rows and weights in its directory."""
    plan = tiny_plan(tmp_path, ranks=2)
    plan.save()
    provenance.write(plan.paths.provenance, provenance.record(tmp_path))
    status.write(plan.paths.status, Status(State.FAILED, step=3, cause=Cause.ERROR, reason="rank 1 failed"))
    (plan.paths.root / "logs").mkdir()
    for rank in (0, 1):
        lines = [f"line {number} of rank {rank}" for number in range(1000)]
        lines += [f"HF_TOKEN={CANARY}", f"https://me:{CANARY}@host/x", f"  {ROW}", f"    -> {ROW}", f"    != {ROW}"]
        plan.paths.log(rank).write_text("\n".join([*lines, f"the end of rank {rank}"]) + "\n")
        plan.paths.stacks(rank).write_text(f"File loop.py, line {rank} in step\n")
    failures.write(plan.paths, Failure(1, "device-side assert", Cause.ERROR, 1, "Traceback: in step"))
    plan.paths.metrics.write_text(
        "".join(json.dumps({"step": step, "train/loss": 1.0}) + "\n" for step in range(1, 500))
    )
    plan.paths.order.write_text('[{"step": 0}]')
    plan.paths.batches.write_text('{"step": 7, "rows": [["chats.jsonl", 17]]}\n' * (run_bundle.LINES + 1))
    plan.paths.samples.write_text(json.dumps({"question": ROW}) + "\n")
    plan.paths.diff.write_text(f"+API_KEY = '{CANARY}'\n")
    (plan.paths.checkpoints / "step-3").mkdir(parents=True)
    (plan.paths.checkpoints / "step-3" / "weights.pt").write_bytes(b"WEIGHTS" * 1000)
    (plan.paths.checkpoints / "latest.json").write_text('{"step": 3}')
    return plan


def run(plan: Plan, *words: object) -> subprocess.CompletedProcess[str]:
    """`tunefleet bundle` as it is typed, in the folder above the run."""
    code = "import sys; from tunefleet.doors.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "bundle", *map(str, words)]
    folder = plan.paths.root.parent
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def members(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = {member.name.split("/", 1)[1]: archive.extractfile(member) for member in archive}
        return {name: file.read().decode() for name, file in files.items() if file}


def test_it_holds_what_tells_why_and_nothing_private(crashed: Plan) -> None:
    done = run(crashed, crashed.run_dir)
    assert (done.returncode, done.stderr) == (DONE, "")
    path = crashed.paths.root.parent / f"{crashed.name}-bundle.tar.gz"
    inside = members(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(inside["status.json"])["reason"] == "rank 1 failed"
    assert json.loads(inside["plan.json"])["name"] == crashed.name
    assert json.loads(inside["versions.json"])["packages"]["torch"]
    assert "device-side assert" in inside["logs/rank1.failure.json"]
    assert "line 1 in step" in inside["logs/rank1.stacks.txt"]
    assert inside["logs/rank1.log"].splitlines()[-1] == "the end of rank 1"
    assert len(inside["logs/rank1.log"].splitlines()) == len(inside["metrics.jsonl"].splitlines()) == run_bundle.LINES
    assert len(inside["batches.jsonl"].splitlines()) == run_bundle.LINES
    assert json.loads(inside["order.json"]) == [{"step": 0}]
    assert "checkpoints/step-3/weights.pt" in inside["files.txt"]
    everything = "".join(inside.values())
    for private in (CANARY, ROW, "WEIGHTS"):
        assert private not in everything
    assert "HF_TOKEN=***" in inside["logs/rank0.log"]
    for name, content in inside.items():
        assert name == "CONTENTS.txt" or f"{name}: {len(content.encode()):,} bytes" in inside["CONTENTS.txt"]


def test_nothing_is_overwritten(crashed: Plan) -> None:
    target = crashed.paths.root.parent / "mine.tar.gz"
    target.write_text("mine")
    done = run(crashed, crashed.run_dir, "--to", target)
    assert (done.returncode, target.read_text()) == (USER_ERROR, "mine")
    assert "is there already, and nothing is overwritten" in done.stderr
    assert [run(crashed, crashed.run_dir).returncode for _ in range(2)] == [DONE, DONE]
    assert sorted(path.name for path in crashed.paths.root.parent.glob("*-bundle*")) == [
        f"{crashed.name}-bundle-2.tar.gz",
        f"{crashed.name}-bundle.tar.gz",
    ]
    with pytest.raises(RunError, match="there is no folder"):
        run_bundle.write(crashed.paths, target.parent / "nowhere" / "x.tar.gz")


def test_a_directory_of_broken_files_is_bundled_and_what_is_missing_is_said(crashed: Plan, tmp_path: Path) -> None:
    crashed.paths.plan.unlink()
    crashed.paths.status.write_text('{"state": "fai')
    crashed.paths.provenance.write_bytes(b"\xff\xfe" * 100)
    crashed.paths.metrics.write_text('{"step": 1}\n{"st')
    crashed.paths.log(1).unlink()
    private = tmp_path / "private"
    private.write_text("somebody's own")
    crashed.paths.log(1).symlink_to(private)
    os.mkfifo(crashed.paths.root / "logs" / "pipe.log")
    crashed.paths.submission.write_text("torn")
    done = run(crashed, crashed.run_dir)
    assert (done.returncode, done.stderr) == (DONE, "")
    inside = members(crashed.paths.root.parent / f"{crashed.name}-bundle.tar.gz")
    contents = inside["CONTENTS.txt"]
    for note in (
        "plan.json: left out",
        "status.json: torn",
        "provenance.json: torn",
        "logs/rank1.log: left out: it is no",
    ):
        assert note in contents, note
    assert "somebody's own" not in "".join(inside.values())
    assert inside["status.json"] == '{"state": "fai'


def test_its_size_is_bounded(crashed: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    crashed.paths.log(0).write_text("x" * 5_000_000)
    monkeypatch.setattr(run_bundle, "BYTES", 1_500_000)
    target = crashed.paths.root.parent / "b.tar.gz"
    contents = run_bundle.write(crashed.paths, target)
    assert sum(map(len, members(target).values())) < 1_600_000
    crashed.paths.log(1).write_text("x" * 5_000_000)
    target.unlink()
    contents = run_bundle.write(crashed.paths, target)
    assert any(line.startswith("logs/rank1.log: left out: the bundle has its") for line in contents)
    assert "status.json" in members(target)


def test_a_job_brings_its_script_and_what_it_printed(crashed: Plan) -> None:
    submitted = submission.intend(crashed.paths.root.parent, [crashed.paths])
    submitted.accepted("41")
    slurm = Path(submitted.folder) / "slurm"
    slurm.mkdir(parents=True, exist_ok=True)
    (slurm / "job.sh").write_text(f"#!/bin/bash\nexport X_TOKEN={CANARY}\n")
    (slurm / "41_0_log.out").write_text("slurmstepd: error: oom\n")
    target = crashed.paths.root.parent / "b.tar.gz"
    run_bundle.write(crashed.paths, target)
    inside = members(target)
    assert inside["slurm/job.sh"] == "#!/bin/bash\nexport X_TOKEN=***\n"
    assert inside["slurm/41_0_log.out"] == "slurmstepd: error: oom\n"


@pytest.mark.parametrize(
    ("code", "is_named"), [(FAILED, True), (3, True), (DONE, False), (130, False), (USER_ERROR, False)]
)
def test_a_failure_ends_with_the_command(
    crashed: Plan, code: int, is_named: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start.restarts, "run", lambda plan: code)
    assert start.start(crashed, Machine(gpus=0, cores=1)) == code
    last = [*capsys.readouterr().err.splitlines(), ""][0]
    assert ("tunefleet bundle " in last) == is_named
