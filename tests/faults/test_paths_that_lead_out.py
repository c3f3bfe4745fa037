"""Does a record that names a place outside of the outputs lead a command of ours there?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.launch.fakes import installed, queued
from tunefleet.base import checksums, delivery, files, status, sweep_requests, sweeps
from tunefleet.base.errors import RunError
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import State, Status
from tunefleet.base.sweeps import SweepPaths
from tunefleet.checkpoint import pointer
from tunefleet.config.sweep import Direction, SweepConfig
from tunefleet.doors import cancel, rm, sweep_world
from tunefleet.doors.sweep_world import Trials
from tunefleet.launch import register, submission
from tunefleet.launch.queue import Entry
from tunefleet.launch.run_state import StatusReader
from tunefleet.sweep import live_trials
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.study import Study, Trial, TrialRun, TrialState


@pytest.fixture(autouse=True)
def precious(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What looks like a run beside the outputs, and is none of theirs."""
    installed(tmp_path / "bin", monkeypatch)
    (tmp_path / "outputs").mkdir()
    return made(tmp_path / "precious")


def made(run: Path) -> Path:
    (run / "checkpoints").mkdir(parents=True)
    (run / "plan.json").write_text(json.dumps({"name": run.name, "identity": "a", "config": {}}))
    (run / "checkpoints" / "weights").write_text("the only copy")
    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def recorded(outputs: Path, run_dir: str, name: str = "sweep-1") -> None:
    record = {"name": name, "created": "", "points": [{"overrides": [], "run_dir": run_dir}]}
    files.write_json(outputs / "sweeps" / "sweep-1" / "sweep.json", record)


WAYS_OUT: list[Callable[[Path], str]] = [
    lambda outputs: str(outputs.parent / "precious"),
    lambda outputs: f"{outputs}/../precious",
    lambda outputs: f"{outputs}/sweeps/../../precious",
    lambda outputs: f"{outputs}/..",
    lambda outputs: str(outputs),
]


@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_sweep_is_cancelled_and_removed_in_its_outputs_alone(
    way: Callable[[Path], str], tmp_path: Path, precious: Path
) -> None:
    outputs, before = tmp_path / "outputs", contents(precious)
    made(outputs / "run")
    recorded(outputs, way(outputs))
    with pytest.raises(RunError, match="no run"):
        register.named("sweep-1", outputs)
    with pytest.raises(RunError, match="no run"):
        rm.remove(["sweep-1"], outputs, yes=True)
    assert contents(precious) == before


def test_control_a_record_that_is_obeyed_is_acted_upon(
    tmp_path: Path, precious: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "lies_in", lambda named, folder: True)
    recorded(tmp_path / "outputs", str(precious))
    cancel.cancel(register.named("sweep-1", tmp_path / "outputs"), at_once=False)
    assert (precious / "cancelled").exists()


def test_a_run_of_the_outputs_is_found_by_its_sweep(tmp_path: Path) -> None:
    run = made(tmp_path / "outputs" / "run")
    (tmp_path / "link").symlink_to(tmp_path / "outputs")
    recorded(tmp_path / "outputs", str(run))
    for outputs in (tmp_path / "outputs", tmp_path / "link"):
        assert [point.paths.root for point in register.named("sweep-1", outputs)] == [run]


def test_the_name_in_a_sweeps_record_is_no_place(tmp_path: Path) -> None:
    outputs, run = tmp_path / "outputs", made(tmp_path / "outputs" / "run")
    recorded(outputs, str(run), name="../../precious")
    (tmp_path / "precious" / "sweep.json").write_text("the only copy")
    sweeps.forget(outputs, run)
    assert (tmp_path / "precious" / "sweep.json").read_text() == "the only copy"
    assert not (outputs / "sweeps" / "sweep-1" / "sweep.json").exists()


def trials(outputs: Path, name: str = "lr", elsewhere: Path | None = None) -> Trials:
    definition = Definition(name, "", SweepConfig(), (), (), str(outputs), str(elsewhere or outputs))
    return Trials(SweepPaths(outputs / "sweeps" / "lr"), definition, cast(Any, None))


@pytest.mark.parametrize("act", ["drop", "prune", "stop", "status"])
@pytest.mark.parametrize("way", WAYS_OUT)
def test_a_search_acts_upon_its_own_runs_alone(
    way: Callable[[Path], str], act: str, tmp_path: Path, precious: Path
) -> None:
    outputs, before = tmp_path / "outputs", contents(precious)
    with pytest.raises(RunError, match="which is no run of"):
        acts(trials(outputs), way(outputs))[act]()
    assert contents(precious) == before


def acts(world: Trials, run_dir: str) -> dict[str, Callable[[], object]]:
    return {
        "drop": lambda: world.drop_checkpoints(run_dir),
        "prune": lambda: world.prune(run_dir, "worse"),
        "stop": lambda: world.stop(run_dir),
        "status": lambda: world.status(run_dir),
    }


@pytest.mark.parametrize(("act", "is_changed"), [("drop", True), ("prune", True), ("stop", True), ("status", False)])
def test_control_it_would_act_upon_any(
    act: str, is_changed: bool, tmp_path: Path, precious: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(precious)
    monkeypatch.setattr(sweep_world, "lies_in", lambda named, folder: True)
    acts(trials(tmp_path / "outputs"), str(precious))[act]()
    assert (contents(precious) != before) is is_changed


@pytest.mark.parametrize("is_defended", [True, False])
def test_who_looks_at_a_sweep_settles_no_run_elsewhere(
    is_defended: bool, tmp_path: Path, precious: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status.write(precious / "status.json", Status(State.RUNNING, pid=2**22 + 1, updated=1.0))
    before = contents(precious)
    trial = Trial(1, {}, (TrialRun(str(precious), "a", ()),), state=TrialState.RUNNING)
    if not is_defended:
        monkeypatch.setattr(live_trials, "lies_in", lambda named, folder: True)
    live_trials.look_up(Study({1: trial}), {"loss": Direction.MIN}, StatusReader(), tmp_path / "outputs")
    assert (contents(precious) == before) is is_defended


@pytest.mark.parametrize("name", ["lr", "../../precious"])
def test_a_search_of_other_outputs_is_not_advanced(name: str, tmp_path: Path, precious: Path) -> None:
    with pytest.raises(RunError, match="Put it back there"):
        trials(tmp_path / "outputs", name, precious if name == "lr" else None)


@pytest.mark.parametrize("is_defended", [True, False])
def test_a_submission_elsewhere_is_not_written_to(
    is_defended: bool, tmp_path: Path, precious: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunPaths(made(tmp_path / "outputs" / "run"))
    submitted = queued(tmp_path / "outputs", [run], job=None)
    (precious / "submission.json").write_bytes((Path(submitted.folder) / "submission.json").read_bytes())
    files.write_json(run.submission, {"folder": str(tmp_path / "outputs" / ".." / "precious"), "index": 0})
    if not is_defended:
        monkeypatch.setattr(submission, "lies_in", lambda named, folder: True)
    place = submission.place(run)
    if place:
        place.find({"12": Entry("12", "PENDING", comment="tunefleet:precious")})
    assert (precious / "job.json").exists() is not is_defended


@pytest.mark.parametrize("job", ["--user=me", "-u", "12 13", "", "12_3", "all"])
def test_what_is_no_number_of_a_job_is_given_to_no_command(job: str, tmp_path: Path) -> None:
    submitted = queued(tmp_path / "outputs", [RunPaths(made(tmp_path / "outputs" / "run"))], job=None)
    submitted.accepted(job)
    assert submitted.job is None
    submitted.accepted("12")
    assert submitted.job == "12"


def test_a_job_advances_no_sweep_elsewhere(tmp_path: Path, precious: Path) -> None:
    run = RunPaths(made(tmp_path / "outputs" / "run"))
    for way in WAYS_OUT:
        sweep_requests.join_sweep(run, Path(way(tmp_path / "outputs")))
        assert sweep_requests.sweep_folder(run) is None
    own = tmp_path / "outputs" / "sweeps" / "lr"
    own.mkdir(parents=True)
    sweep_requests.join_sweep(run, own)
    assert sweep_requests.sweep_folder(run) == own


def test_the_pointer_leads_to_no_folder(tmp_path: Path, precious: Path) -> None:
    folder, before = tmp_path / "outputs" / "run" / "checkpoints", contents(precious)
    made(folder.parent)
    files.write_json(folder / pointer.FILE, {"checkpoint": "../../../precious", "manifests": {}})
    pointer.follow(folder, "../../../precious", "step-00000001")
    pointer.write(folder, "step-00000002", "digest", [])
    assert contents(precious) == before
    assert list(json.loads((folder / pointer.FILE).read_text())["manifests"]) == ["step-00000002"]


@pytest.mark.parametrize(
    ("name", "goes"), [("old.txt", True), ("../precious/plan.json", False), ("link/plan.json", False)]
)
def test_an_export_removes_no_file_outside_of_its_folder(
    name: str, goes: bool, tmp_path: Path, precious: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the current folder, which cannot be renamed: what an earlier export left there is removed file by file."""
    export, before = tmp_path / "export", contents(precious)
    export.mkdir()
    (export / "link").symlink_to(precious)
    (export / "old.txt").write_text("of an earlier export")
    record = {"complete": True, "files": {name: checksums.checksum(export / name)}}
    files.write_json(export / delivery.RECORD, record)
    monkeypatch.chdir(export)
    with delivery.staging(export) as staged:
        (staged / "new.txt").write_text("new")
        delivery.deliver(staged, export, {})
    assert (export / "new.txt").exists()
    assert (export / "old.txt").exists() is not goes
    assert contents(precious) == before
