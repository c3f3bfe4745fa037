"""Is a run submitted once, with its own code, and only if it may start?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.launch import repositories
from tests.launch.fakes import FakeSlurm, installed
from tests.launch.test_slurm import site
from tests.plans import tiny_plan
from tunefleet.base import status
from tunefleet.base.errors import DONE, FAILED, RunError
from tunefleet.base.status import Cause, State, Status
from tunefleet.doors import start, submit
from tunefleet.launch import provenance, run_lock, submission
from tunefleet.plan import Machine, Plan

Capture = pytest.CaptureFixture[str]
NUMBERED = """
n=$(cat {folder}/number 2>/dev/null || echo 40); n=$((n + 1)); echo $n >{folder}/number
for file in "$@"; do :; done
cat "$file" >{folder}/script$n
! grep -q 'partition=nope' "$file" || {{ echo 'sbatch: error: invalid partition specified: nope' >&2; exit 1; }}
echo Submitted batch job $n
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A SLURM that numbers its jobs from 41 on and has no partition `nope`; a small project as the code."""
    fake = installed(tmp_path / "bin", monkeypatch)
    fake.does("sbatch", NUMBERED.format(folder=tmp_path))
    project = repositories.project(tmp_path / "project")
    monkeypatch.setattr(submit, "REPOSITORY", project)
    monkeypatch.setattr(submit, "OWN_CODE", project / "src")
    monkeypatch.setattr(submit.look_ahead, "expect_readable", lambda plans: None)  # test_look_ahead.py
    monkeypatch.chdir(tmp_path)
    return fake


def plan(folder: Path, name: str = "run", **launch: Any) -> Plan:
    planned = tiny_plan(folder, launch={"name": "slurm", "gpus_per_node": 2, **launch})
    return replace(planned, name=name, run_dir=str(folder / "outputs" / name))


def status_of_plan(run_plan: Plan) -> Status:
    actual = status.read(run_plan.paths.status)
    assert actual
    return actual


def job(run_plan: Plan) -> str | None:
    place = submission.place(run_plan.paths)
    return place.job if place else None


def test_a_run_is_written_down_submitted_and_explained(fake: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    run_plan = plan(tmp_path)
    assert submit.submit([run_plan]) == DONE
    assert (status_of_plan(run_plan).state, job(run_plan)) == (State.QUEUED, "41")
    assert Plan.read(run_plan.paths.root) == run_plan
    assert provenance.read(run_plan.paths.provenance)
    output = capsys.readouterr().out
    assert "submitted  job 41" in output
    assert "tunefleet status outputs/run" in output
    assert "at most 2 GPU-hours" in output


def test_a_dry_run_prints_the_script_and_leaves_nothing(fake: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    plans = [plan(tmp_path, name, dry_run=True, wait=True, time="30m") for name in ("a", "b")]
    assert submit.submit(plans) == DONE
    output = capsys.readouterr().out
    assert output.startswith("#!/bin/bash\n")
    assert "#SBATCH --array=0-1%2" in output
    assert "# 2 runs in 1 submissions, at most 2 GPU-hours a start; nothing was submitted" in output
    assert fake.calls("sbatch") == []
    assert not (tmp_path / "outputs").exists()


def test_a_dry_run_works_on_a_machine_without_slurm(fake: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    fake.lacks("sbatch", "srun", "squeue", "sacct", "scontrol", "scancel")
    assert submit.submit([plan(tmp_path, dry_run=True)]) == DONE
    assert "tunefleet.launch.task" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["41|PENDING|Priority|", "41|RUNNING|None|"])
def test_what_is_queued_or_runs_is_not_submitted_again(
    fake: FakeSlurm, tmp_path: Path, capsys: Capture, line: str
) -> None:
    run_plan = plan(tmp_path)
    submit.submit([run_plan])
    fake.says("squeue", line)
    previous = status_of_plan(run_plan)
    assert submit.submit([run_plan]) == DONE
    assert len(fake.calls("sbatch")) == 1
    assert "run is queued already" in capsys.readouterr().out
    assert status_of_plan(run_plan) == previous
    assert job(run_plan) == "41"


def test_what_is_done_is_not_submitted_again(fake: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    run_plan = plan(tmp_path)
    status.write(run_plan.paths.status, Status(State.FINISHED, step=40))
    assert submit.submit([run_plan]) == DONE
    assert fake.calls("sbatch") == []
    assert "run is done: 40 steps" in capsys.readouterr().out


@pytest.mark.parametrize("state", [State.FAILED, State.PREEMPTED, State.CANCELLED, State.INTERRUPTED])
def test_control_what_has_ended_otherwise_is_submitted_again(fake: FakeSlurm, tmp_path: Path, state: State) -> None:
    run_plan = plan(tmp_path)
    submit.submit([run_plan])
    status.write(run_plan.paths.status, Status(state, saved_step=5))
    assert submit.submit([run_plan]) == DONE
    assert len(fake.calls("sbatch")) == 2
    assert (status_of_plan(run_plan).state, status_of_plan(run_plan).saved_step, job(run_plan)) == (
        State.QUEUED,
        5,
        "42",
    )


def test_a_refused_batch_does_not_stop_the_others(fake: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    plans = [plan(tmp_path, "a", partition="nope"), plan(tmp_path, "b"), plan(tmp_path, "c", partition="nope", nodes=2)]
    plans.append(plan(tmp_path, "d", nodes=3))
    assert submit.submit(plans) == FAILED
    assert [status_of_plan(run_plan).state for run_plan in plans] == [
        State.FAILED,
        State.QUEUED,
        State.FAILED,
        State.QUEUED,
    ]
    assert status_of_plan(plans[0]).cause is Cause.USER_ERROR
    assert "invalid partition" in status_of_plan(plans[0]).reason
    captured = capsys.readouterr()
    assert captured.err.count("sbatch refused the job: invalid partition specified: nope") == 2
    assert captured.out.count("submitted  job") == 2
    assert [job(run_plan) for run_plan in plans] == [None, "42", None, "44"]


def test_a_foreign_directory_stops_everything_before_anything_is_sent(fake: FakeSlurm, tmp_path: Path) -> None:
    second_plan = plan(tmp_path, "b")
    replace(second_plan, identity="another", trajectory="another").save()
    with pytest.raises(RunError, match="name: b is taken by a run with other settings"):
        submit.submit([plan(tmp_path, "a"), second_plan])
    assert fake.calls("sbatch") == []
    assert not (tmp_path / "outputs" / "a").exists()


def test_who_is_submitting_the_run_already_is_not_disturbed(fake: FakeSlurm, tmp_path: Path) -> None:
    run_plan = plan(tmp_path)
    with run_lock.hold(run_plan.paths), pytest.raises(RunError, match="run is already running"):
        submit.submit([run_plan])
    assert fake.calls("sbatch") == []


# The code that a job runs


def snapshots(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "outputs" / "code").glob("*"))


def python_paths(tmp_path: Path) -> list[str]:
    scripts = [path.read_text() for path in sorted(tmp_path.glob("script*"))]
    return [line.split("=")[1].split("$")[0] for text in scripts for line in text.splitlines() if "PYTHONPATH=" in line]


def test_runs_share_a_snapshot_until_the_code_is_edited(fake: FakeSlurm, tmp_path: Path) -> None:
    submit.submit([plan(tmp_path, "a"), plan(tmp_path, "b", nodes=2)])
    submit.submit([plan(tmp_path, "c")])
    (first,) = snapshots(tmp_path)
    assert python_paths(tmp_path) == [str(first / "src")] * 3
    (tmp_path / "project" / "train.py").write_text("print('edited')\n")
    submit.submit([plan(tmp_path, "d")])
    assert len(snapshots(tmp_path)) == 2
    assert python_paths(tmp_path)[-1] != str(first / "src")
    assert (first / "train.py").read_text() == "print('training')\n"
    origins = [provenance.read(plan(tmp_path, name).paths.provenance) for name in "abcd"]
    digests = [origin.snapshot for origin in origins if origin]
    assert digests[0] == digests[1] == digests[2] == first.name != digests[3]


def test_a_job_has_the_untracked_files_that_were_asked_for(fake: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    repositories.git(tmp_path / "project", "init", "--quiet")
    repositories.git(tmp_path / "project", "add", ".")
    (tmp_path / "project" / "src" / "mine.py").write_text("x\n")
    submit.submit([plan(tmp_path, "a")])
    assert "note: git does not track src/mine.py: the job's copy of the code is without." in capsys.readouterr().out
    assert not [folder for folder in snapshots(tmp_path) if (folder / "src" / "mine.py").exists()]
    submit.submit([plan(tmp_path, "b", snapshot_untracked=["src"])])
    assert "note: git" not in capsys.readouterr().out
    assert len([folder for folder in snapshots(tmp_path) if (folder / "src" / "mine.py").exists()]) == 1


def test_without_a_snapshot_the_jobs_run_the_project_itself(fake: FakeSlurm, tmp_path: Path) -> None:
    submit.submit([plan(tmp_path, snapshot=False)])
    assert snapshots(tmp_path) == []
    assert python_paths(tmp_path) == [str(tmp_path / "project" / "src")]


def test_an_array_lists_its_runs_and_each_knows_its_place(fake: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    plans = [plan(tmp_path, f"r{number:02d}") for number in range(12)]
    assert submit.submit(plans) == DONE
    assert [job(run_plan) for run_plan in plans] == [f"41_{number}" for number in range(12)]
    output = capsys.readouterr().out
    assert "submitted  job 41, an array of 12 runs" in output
    assert "outputs/r09" in output
    assert "... and 2 more" in output
    (folder,) = (tmp_path / "outputs" / "submissions").iterdir()
    assert json.loads((folder / "submission.json").read_text())["runs"] == [run_plan.run_dir for run_plan in plans]


def test_waiting_stays_until_the_jobs_have_ended(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[str] = []
    monkeypatch.setattr(submit.status, "wait", lambda runs: waited.extend(run.root.name for run in runs) or 7)
    assert submit.submit([plan(tmp_path, "a", wait=True), plan(tmp_path, "b", wait=True)]) == 7
    assert waited == ["a", "b"]


# A run that is a job does not start here


def test_a_run_does_not_start_here_while_slurm_has_it(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_plan = plan(tmp_path)
    submit.submit([run_plan])
    fake.says("squeue", "41|PENDING|Priority|")
    started: list[Plan] = []
    monkeypatch.setattr(start.restarts, "run", lambda plan: started.append(plan) or 0)
    with pytest.raises(RunError, match=r"run is queued as a SLURM job\. End it first: tunefleet cancel run"):
        start.start(run_plan, Machine())
    assert started == []
    status.write(run_plan.paths.status, Status(State.CANCELLED))
    assert start.start(run_plan, Machine()) == DONE
    assert submission.place(run_plan.paths) is None  # who looks at it now does not ask SLURM
    assert started == [run_plan]


# What a site allows


def test_what_waits_is_said_with_the_command_that_submits_it(fake: FakeSlurm, tmp_path: Path, capsys: Capture) -> None:
    site(fake, tmp_path, 2)
    plans = [plan(tmp_path, name) for name in "abc"]
    assert submit.submit(plans, "sweep-1a2b3c4d") == FAILED
    output = capsys.readouterr()
    assert "1 of 3 runs wait, not submitted: the site takes no more now (AssocMaxSubmitJobLimit" in output.err
    assert "tunefleet resume sweep-1a2b3c4d" in output.err
    assert [status.read(run_plan.paths.status) is None for run_plan in plans] == [False, False, True]
    assert Plan.read(plans[2].paths.root) == plans[2]
    fake.says("squeue", "41|RUNNING|None|\n42|RUNNING|None|")
    (tmp_path / "room").write_text("5")
    assert submit.submit(plans, "sweep-1a2b3c4d") == DONE
    assert status.read(plans[2].paths.status) is not None


def test_a_colon_in_the_path_of_the_code_is_refused(fake: FakeSlurm, tmp_path: Path) -> None:
    """Python would take it for two folders, and run an installed package instead."""
    (tmp_path / "a:b").mkdir()
    with pytest.raises(RunError, match="has a colon"):
        submit.submit([plan(tmp_path / "a:b")])
    assert fake.calls("sbatch") == []


def test_a_variable_that_is_not_used_is_named(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    submit.submit([plan(tmp_path)])
    assert "note: SBATCH_ACCOUNT of your shell: not used, a job asks for what launch.* sets." in capsys.readouterr().out


def test_waiting_is_not_for_runs_that_a_limit_keeps_out(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have no job, so they would never end."""
    waited: list[str] = []
    monkeypatch.setattr(submit.status, "wait", lambda runs: waited.extend(run.root.name for run in runs) or DONE)
    site(fake, tmp_path, 2)
    assert submit.submit([plan(tmp_path, name, wait=True) for name in "abc"], "sweep-1a2b3c4d") == FAILED
    assert waited == ["a", "b"]
    site(fake, tmp_path, 0)
    assert submit.submit([plan(tmp_path, name, wait=True) for name in "de"], "sweep-1a2b3c4d") == FAILED
    assert waited == ["a", "b"]
