"""A run directory or a file in it that somebody else may have written: does every door refuse, and trust none of it?"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base import files, modes, ownership, status
from tunefleet.base.errors import USER_ERROR, RunError
from tunefleet.base.status import State, Status
from tunefleet.board.run_list import RunList
from tunefleet.doors import cli
from tunefleet.launch import attempts, register
from tunefleet.plan import Plan
from tunefleet.tracking.metrics import MetricsFile

DOORS = ("resume", "retry", "reproduce", "export", "evaluate", "chat", "serve", "report", "cancel", "sync")
root_alone = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A run that was interrupted."""
    saved = tiny_plan(tmp_path)
    saved.save()
    saved.paths.checkpoints.mkdir()
    status.write(saved.paths.status, Status(State.INTERRUPTED))
    files.write_json(saved.paths.checkpoints / "latest.json", {})
    return saved


def opened_directory(plan: Plan) -> None:
    plan.paths.root.chmod(0o777)


def foreign_directory(plan: Plan) -> None:
    os.chown(plan.paths.root, 12345, -1)


def opened_file(plan: Plan) -> None:
    plan.paths.status.chmod(0o666)


def foreign_file(plan: Plan) -> None:
    os.chown(plan.paths.status, 12345, -1)


def opened_pointer(plan: Plan) -> None:
    (plan.paths.checkpoints / "latest.json").chmod(0o666)


FAULTS: dict[str, Callable[[Plan], None]] = {
    fault.__name__: fault for fault in (opened_directory, foreign_directory, opened_file, foreign_file, opened_pointer)
}
MOVES = "may be written by everybody. chmod ", "belongs to user 12345, not to you. "


def refused(plan: Plan, door: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a door."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--outputs", str(plan.paths.root.parent), door, plan.name])
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == USER_ERROR
    return line


@pytest.mark.parametrize(
    ("fault", "door"),
    [*(("opened_directory", door) for door in DOORS), *((fault, "export") for fault in FAULTS)],
)
def test_each_door_refuses_it(plan: Plan, fault: str, door: str, capsys: pytest.CaptureFixture[str]) -> None:
    if fault.startswith("foreign") and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    FAULTS[fault](plan)
    line = refused(plan, door, capsys)
    assert line.startswith(f"tunefleet: {plan.paths.root}")
    assert any(move in line for move in MOVES)


@pytest.mark.parametrize("fault", ["opened_directory", "opened_file"])
def test_a_table_and_the_board_trust_no_state_there(plan: Plan, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor do they break: the other runs are in it."""
    listed = RunList(plan.paths.root.parent)
    listed.refresh()
    assert [row.state for row in listed.rows.values()] == ["interrupted"]
    FAULTS[fault](plan)
    files.rewrite(plan.paths.root / "other.json", b"")
    fresh = RunList(plan.paths.root.parent)
    fresh.refresh()
    assert "interrupted" not in [row.state for row in fresh.rows.values()]
    assert status.read(plan.paths.status) is None
    with pytest.raises(SystemExit):
        cli.main(["--outputs", str(plan.paths.root.parent), "status"])
    assert "interrupted" not in capsys.readouterr().out


@root_alone
def test_control_what_root_and_a_group_leave_is_read(plan: Plan) -> None:
    plan.paths.root.chmod(0o2775)
    os.chown(plan.paths.root, -1, 54321)
    os.chown(plan.paths.status, 12345, 54321)
    assert ownership.complaint(plan.paths.root) == ""
    assert status.read(plan.paths.status)


@root_alone
def test_a_colleague_of_the_group_may_use_a_run_that_is_shared_and_not_start_it(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan.paths.root.chmod(0o2775)
    os.chown(plan.paths.root, 12345, 54321)
    assert ownership.complaint_to_use(plan.paths.root)
    monkeypatch.setattr(os, "getgroups", lambda: [54321])
    assert ownership.complaint_to_use(plan.paths.root) == ""
    assert "belongs to user 12345" in ownership.complaint(plan.paths.root)
    assert Plan.read(plan.paths.root).identity == plan.identity


def test_control_without_the_defence_it_is_trusted(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    opened_file(plan)
    plan.paths.status.write_text(json.dumps({"state": "finished", "cause": "", "step": 1}))
    monkeypatch.setattr(ownership, "complaint_of_file", lambda _: "")
    read = status.read(plan.paths.status)
    assert read
    assert read.state is State.FINISHED
    assert register.expect_own([register.Run(plan.paths)])


def test_plans_are_read_from_our_own_directories_alone(plan: Plan) -> None:
    opened_directory(plan)
    with pytest.raises(RunError, match=r"may be written by everybody\. chmod o-w "):
        Plan.read(plan.paths.root)


# What an older umask or a copy has left


@pytest.fixture
def _umask() -> Iterator[None]:
    umask = os.umask(0o022)
    yield
    modes.keep()
    os.umask(umask)


def _appended(plan: Plan) -> None:
    metrics = MetricsFile(plan.paths.metrics, 0)
    metrics.log({"step": 1})
    metrics.finish({})


REWRITTEN: dict[str, Callable[[Plan], object]] = {
    "status.json": lambda plan: status.write(plan.paths.status, Status(State.RUNNING)),
    "plan.json": lambda plan: plan.save(),
    "attempts.jsonl": lambda plan: attempts.begin(plan.paths, "key", "1"),
    "metrics.jsonl": _appended,
    ".heartbeat": lambda plan: files.touch(plan.paths.heartbeat),
}


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize("name", REWRITTEN)
@pytest.mark.parametrize(("access", "mode"), [("private", 0o600), ("group", 0o664), ("umask", 0o644)])
def test_what_is_there_gets_the_mode_when_it_is_written_again(plan: Plan, name: str, access: str, mode: int) -> None:
    path = plan.paths.root / name
    path.touch()
    path.chmod(0o644)
    modes.keep(access)
    REWRITTEN[name](plan)
    assert stat.S_IMODE(path.stat().st_mode) == mode
