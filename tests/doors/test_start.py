"""Does a second start continue, say that it is done, or refuse: and never mix two runs in one directory?"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.plans import OPT, tiny_plan
from tunefleet.base import status
from tunefleet.base.errors import ConfigError, RunError
from tunefleet.base.status import State, Status
from tunefleet.checkpoint import checkpoint_manifest
from tunefleet.checkpoint.checkpoint_manifest import Manifest
from tunefleet.config import RunConfig, load
from tunefleet.contracts import RunState
from tunefleet.doors import rank
from tunefleet.doors.start import start
from tunefleet.launch import restarts, run_lock
from tunefleet.plan import Machine, Plan, make

CPU = Machine(gpus=0, cores=2)
Planned = Callable[..., Plan]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """Plans the run `mine`; `lr` and `log_every` change it."""
    (tmp_path / "tokenizer.json").write_text("{}")

    def planned(
        lr: float = 1e-3, log_every: int = 1, seed: int = 0, name: str = "mine", steps: int | None = None
    ) -> Plan:
        values: dict[str, Any] = {
            "name": name,
            "output_dir": str(tmp_path / "outputs"),
            "data": {"path": "demo"},
            "model": {"init": "random", "architecture": OPT, "tokenizer": str(tmp_path)},
            "train": {"sequence_length": 32, "seed": seed, "max_steps": steps},
            "optimizer": {"lr": lr},
            "tracking": {"log_every": log_every},
        }
        return make(load(RunConfig, values), CPU)

    return planned


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans whose ranks would have been started."""
    plans: list[Plan] = []
    monkeypatch.setattr(restarts, "run", lambda plan: plans.append(plan) or 0)
    return plans


def test_a_new_run_is_written_down_before_its_ranks_start(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned()

    def look(arguments: Plan) -> int:
        run_status = status.read(arguments.paths.status)
        assert Plan.read(arguments.paths.root) == plan
        assert run_status is not None
        assert run_status.state is State.STARTING
        return 17

    monkeypatch.setattr(restarts, "run", look)
    assert start(plan, CPU) == 17


def test_the_person_hears_what_starts(
    planned: Planned, started: list[Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = replace(planned(), notes=("mind the gap",))
    start(plan, CPU)
    output = capsys.readouterr().out
    for value in plan.summary().values():
        assert value in output
    assert "note: mind the gap" in output
    assert started == [plan]


def test_a_name_taken_by_other_settings_names_the_changed_key(planned: Planned, started: list[Plan]) -> None:
    start(planned(lr=1e-3), CPU)
    with pytest.raises(RunError) as caught:
        start(planned(lr=2e-3, seed=5), CPU)
    message = str(caught.value)
    assert message.startswith("name: mine is taken by a run with other settings (")
    assert "optimizer.lr was 0.001" in message
    assert "train.seed was 0" in message
    assert "micro_batch" not in message  # what did not change is not named
    assert len(started) == 1
    assert Plan.read(planned().paths.root).config.optimizer.lr == 1e-3  # the run that was there is untouched


def test_a_finished_run_says_so_and_starts_nothing(
    planned: Planned, started: list[Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned()
    plan.save()
    status.write(plan.paths.status, Status(State.FINISHED, step=40, total_steps=40, loss=1.25))
    assert start(plan, CPU) == 0
    assert "mine is done: 40 steps, last loss 1.2500." in capsys.readouterr().out
    assert started == []


def test_more_steps_are_another_schedule_and_the_way_to_them_is_named(
    planned: Planned, started: list[Plan], capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the same name it is refused, under another one the person hears of the run that is there."""
    plan = planned(steps=40)
    plan.save()
    status.write(plan.paths.status, Status(State.FINISHED, step=40, total_steps=40))
    start(plan, CPU)
    assert "train.start_from=mine one from its weights" in capsys.readouterr().out
    with pytest.raises(
        RunError, match=r"train\.max_steps was 40.*train\.start_from=mine starts a new run from its weights"
    ):
        start(planned(steps=80), CPU)
    assert started == []
    start(planned(steps=80, name="longer"), CPU)
    output = capsys.readouterr().out
    assert (
        "note: mine is finished and differs in its steps alone; this is a new run, from the same beginning." in output
    )
    start(planned(steps=80, name="other", seed=1), CPU)  # control
    assert "is finished and differs" not in capsys.readouterr().out


def test_other_settings_do_not_speak_of_steps(planned: Planned, started: list[Plan]) -> None:
    start(planned(lr=1e-3), CPU)
    with pytest.raises(RunError) as caught:
        start(planned(lr=2e-3), CPU)
    assert "start_from" not in str(caught.value)


@pytest.mark.parametrize("state", [State.FAILED, State.INTERRUPTED, State.RUNNING, State.STARTING])
def test_any_other_end_is_continued(planned: Planned, started: list[Plan], state: State) -> None:
    plan = planned()
    plan.save()
    status.write(plan.paths.status, Status(state, step=7, loss=2.0, reason="out of memory"))
    start(plan, CPU)
    run_status = status.read(plan.paths.status)
    assert started == [plan]
    assert run_status is not None
    assert (run_status.state, run_status.step, run_status.reason) == (State.STARTING, 7, "")


def test_settings_that_only_watch_may_change(planned: Planned, started: list[Plan]) -> None:
    start(planned(), CPU)
    start(planned(log_every=9), CPU)
    assert [str(plan.config.tracking.log_every) for plan in started] == ["1 steps", "9 steps"]
    assert str(Plan.read(planned().paths.root).config.tracking.log_every) == "9 steps"  # what the ranks will read


def test_a_run_that_goes_on_is_not_started_twice(planned: Planned, started: list[Plan]) -> None:
    plan = planned()
    plan.save()
    status.write(plan.paths.status, Status(State.RUNNING, step=7))
    with open(plan.paths.lock, "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match=r"mine is already running \(step 7 on .*\)\. Wait for it"):
            start(plan, CPU)
        assert started == []
        run_status = status.read(plan.paths.status)
        assert run_status is not None
        assert run_status.state is State.RUNNING  # the other run's status is untouched
    start(plan, CPU)  # control: with the lock gone it starts
    assert started == [plan]


def test_the_lock_is_held_while_the_ranks_run_and_given_back(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_again(plan: Plan) -> int:
        with pytest.raises(RunError, match="already running"):
            start(plan, CPU)
        raise RuntimeError("the launcher failed")

    monkeypatch.setattr(restarts, "run", start_again)
    with pytest.raises(RuntimeError, match="the launcher failed"):
        start(planned(), CPU)
    monkeypatch.setattr(restarts, "run", lambda plan: 3)
    assert start(planned(), CPU) == 3


@pytest.mark.parametrize("first", ["plain", "tensor"])
def test_another_strategy_is_refused_with_the_setting_that_fixes_the_shape(
    tmp_path: Path, started: list[Plan], first: str
) -> None:
    batch = {"micro_batch": 1, "global_batch": 4}
    plans = {
        name: tiny_plan(tmp_path, ranks=2, parallel={"name": name, "tensor": degree}, **batch)
        for name, degree in (("plain", 1), ("tensor", 2))
    }
    plans = {name: replace(plan, name="mine", run_dir=str(tmp_path / "mine")) for name, plan in plans.items()}
    plans.pop(first).save()
    (other,) = plans.values()
    with pytest.raises(RunError, match=r"parallel\.tensor=2 resumes only .* train\.start_from=mine"):
        start(other, CPU)


def test_a_damaged_plan_is_replaced_by_the_command_of_the_run(planned: Planned, started: list[Plan]) -> None:
    plan = planned()
    plan.paths.root.mkdir(parents=True)
    plan.paths.plan.write_text('{"name": "mi')
    assert start(plan, CPU) == 0
    assert Plan.read(plan.paths.root).identity == plan.identity


def test_a_damaged_plan_is_not_replaced_beside_checkpoints_of_another(planned: Planned, started: list[Plan]) -> None:
    plan = planned()
    folder = plan.paths.checkpoints / "step-00000002"
    folder.mkdir(parents=True)
    plan.paths.plan.write_text('{"name": "mi')
    with pytest.raises(RunError, match="This is not its command"):  # no manifest can be read
        start(plan, CPU)
    manifest = Manifest(RunState(step=2), "another", 1, 0.0, {"a": (1, "0" * 64)})
    checkpoint_manifest.write(folder, manifest)
    with pytest.raises(RunError, match=r"damaged: .*This is not its command"):
        start(plan, CPU)
    assert plan.paths.plan.read_text() == '{"name": "mi'
    checkpoint_manifest.write(folder, replace(manifest, identity=plan.identity))
    assert start(plan, CPU) == 0


# Under torchrun or srun the ranks are there already


@pytest.mark.parametrize("number", [0, 1])
def test_a_rank_that_is_there_trains_itself(
    planned: Planned, started: list[Plan], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    plan = planned()
    trained: list[Plan] = []
    monkeypatch.setattr(rank, "run", lambda plan: trained.append(plan) or 5)
    monkeypatch.setattr(os, "environ", {"MASTER_PORT": "20000"})
    with run_lock.hold(plan.paths, run_lock.start_of_ranks(os.environ)) if number else nullcontext():  # rank 0 has it
        assert start(plan, Machine(cores=2, world_size=2, rank=number, processes_here=2)) == 5
    assert (trained, started) == ([plan], [])
    assert plan.paths.plan.exists() == (number == 0)  # one of them writes
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == (str(number), "2")


@pytest.mark.parametrize("number", [0, 1])
def test_every_rank_of_a_finished_run_ends_and_the_first_says_so(
    planned: Planned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    plan = planned()
    plan.save()
    status.write(plan.paths.status, Status(State.FINISHED, step=40, total_steps=40, loss=1.25))
    monkeypatch.setattr(rank, "run", lambda plan: pytest.fail("trained again"))
    assert start(plan, Machine(cores=2, world_size=2, rank=number, processes_here=2)) == 0
    assert capsys.readouterr().out.startswith("mine is done: 40 steps") == (number == 0)


def test_ranks_that_cannot_meet_leave_nothing_behind(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned()
    monkeypatch.setattr(os, "environ", {})
    with pytest.raises(ConfigError, match="MASTER_ADDR"):
        start(plan, Machine(cores=2, world_size=4, rank=0, processes_here=2))
    assert not plan.paths.plan.exists()


def test_a_taken_port_starts_nothing_and_leaves_no_state(planned: Planned, started: list[Plan]) -> None:
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        plan = planned()
        launch = replace(plan.config.launch, port=listener.getsockname()[1])
        with pytest.raises(RunError, match=r"launch\.port"):
            start(replace(plan, config=replace(plan.config, launch=launch)), CPU)
    assert started == []
    assert status.read(plan.paths.status) is None
