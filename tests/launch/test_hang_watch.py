"""Is a run that makes no progress told from one that is slow, and the rank to blame from those that wait for it?"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base import failures
from tunefleet.base.paths import RunPaths
from tunefleet.base.pulse import Pulse
from tunefleet.base.status import Cause
from tunefleet.config.launch import LaunchConfig
from tunefleet.launch import hang_record
from tunefleet.launch.hang_watch import HangWatch, Limits, View

HERE = socket.gethostname()
LIMITS = Limits(start=100.0, step=20.0)


class World:
    """Two ranks and a clock: `go` lets a second pass after the pulses have changed."""

    def __init__(self, folder: Path, ranks: int = 2, limits: Limits = LIMITS) -> None:
        self.paths, self.now = RunPaths(folder), 0.0
        self.paths.pulse(0).parent.mkdir(exist_ok=True)
        self.pulses = {rank: Pulse(rank, HERE, 1000 + rank, 5, "training", 3, 7, median=0.5) for rank in range(ranks)}
        self.watch = HangWatch(self.paths, range(ranks), limits, 1.0, lambda: self.now)

    def change(self, rank: int, **changes: Any) -> None:
        """A new pulse of this rank."""
        self.pulses[rank] = replace(self.pulses[rank], beats=self.pulses[rank].beats + 1, **changes)
        self.paths.pulse(rank).write_text(json.dumps(asdict(self.pulses[rank])))

    def go(self, seconds: int = 1, beat: tuple[int, ...] = (0, 1), tick: tuple[int, ...] = ()) -> View:
        """Each second `beat` write pulses, and `tick` get on."""
        for _ in range(seconds):
            for rank in beat:
                self.change(rank, ticks=self.pulses[rank].ticks + (rank in tick))
            self.now += 1
            view = self.watch.look()
        return view


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.go(3, tick=(0, 1))
    return world


def test_ranks_that_get_on_do_not_hang(world: World) -> None:
    view = world.go(100, tick=(0, 1))
    assert (view.stalled, view.hangs, view.silent) == (False, False, ())


def test_a_rank_that_waits_for_one_that_gets_on_does_not_hang(world: World) -> None:
    assert not world.go(100, tick=(1,)).stalled


def test_a_silent_rank_is_blamed_and_not_the_one_that_waits(world: World) -> None:
    assert world.go(10, beat=(0,)).stalled
    view = world.go(11, beat=(0,))
    assert (view.hangs, view.blamed, view.silent) == (True, (1,), (1,))


def test_it_is_stalled_before_it_hangs(world: World) -> None:
    seconds = [world.go() for _ in range(22)]
    assert [view.stalled for view in seconds].index(True) == 9
    assert [view.hangs for view in seconds].index(True) == 19


def test_the_rank_that_is_behind_is_blamed(world: World) -> None:
    """It takes data, and the others wait in the next act for it."""
    world.change(0, laps=8, phase="training", waits=True)
    world.change(1, phase="taking data")
    assert world.go(21).blamed == (1,)


def test_of_ranks_in_the_same_act_those_that_wait_are_not_blamed(world: World) -> None:
    world.change(0, waits=True)
    assert world.go(21).blamed == (1,)


def test_where_all_wait_all_are_named(world: World) -> None:
    for rank in (0, 1):
        world.change(rank, waits=True)
    view = world.go(21)
    assert view.blamed == (0, 1)
    assert "which of them is to blame does not show" in hang_record.message(view, HERE)


def test_work_of_one_rank_has_no_limit_while_it_lives(world: World) -> None:
    world.change(0, solo=True)
    assert not world.go(500).stalled
    assert world.go(21, beat=(1,)).blamed == (0,)  # but one that is stopped in it does


def test_a_rank_that_has_left_is_not_missed(world: World) -> None:
    world.change(1, ended=True)
    assert not world.go(100, beat=(0,), tick=(0,)).stalled


def test_up_to_the_first_step_the_limit_of_the_start_holds(tmp_path: Path) -> None:
    world = World(tmp_path)
    for rank in (0, 1):
        world.change(rank, median=0.0)
    assert not world.go(90).hangs
    view = world.go(12)
    assert (view.hangs, view.limit) == (True, 100.0)


def test_a_rank_that_never_comes_is_blamed(tmp_path: Path) -> None:
    view = World(tmp_path).go(101, beat=(0,))
    assert (view.hangs, view.blamed) == (True, (1,))
    assert "rank 1 has never given a sign" in hang_record.message(view, HERE)


def test_pulses_of_an_earlier_start_blame_nobody(tmp_path: Path) -> None:
    """Its ranks had done steps: the limit of steps would end a run that only starts."""
    world = World(tmp_path)
    for rank in (0, 1):
        world.change(rank)
    assert not world.go(90, beat=()).hangs


def test_a_watch_that_was_stopped_itself_blames_nobody(world: World) -> None:
    world.now += 3600
    assert not world.go(1, beat=()).stalled
    assert not world.go(100, tick=(0, 1)).stalled


def test_without_a_limit_nothing_hangs(tmp_path: Path) -> None:
    """The control of all others."""
    world = World(tmp_path, limits=Limits(0.0, 0.0))
    world.go(3, tick=(0, 1))
    view = world.go(1000, beat=(0,))
    assert (view.stalled, view.hangs) == (False, False)


def test_a_rank_whose_disk_is_full_lives(world: World) -> None:
    for second in range(60):
        world.change(0, ticks=second)
        os.utime(world.paths.pulse(1), (second, second))
        world.now += 1
        view = world.watch.look()
    assert not view.stalled


@pytest.mark.parametrize(("median", "limit"), [(1.0, 600.0), (60.0, 1200.0)])
def test_the_limit_of_steps_grows_with_them(tmp_path: Path, median: float, limit: float) -> None:
    world = World(tmp_path, limits=Limits(100.0, None))
    for rank in (0, 1):
        world.change(rank, median=median)
    assert world.go(2).limit == limit


def test_limits_are_those_of_the_settings() -> None:
    """launch.start_limit and launch.step_limit; the shorter one makes pulses come as often as it needs."""
    assert Limits.from_settings(LaunchConfig()) == Limits(1800, None)
    limits = Limits.from_settings(LaunchConfig(start_limit=50, step_limit=5))
    assert (limits, limits.interval(one_machine=True)) == (Limits(50, 5), 0.5)
    assert (Limits(1800, None).interval(one_machine=True), Limits(1800, None).interval(one_machine=False)) == (
        2.0,
        10.0,
    )


def test_who_waits_for_the_end_of_a_run_waits_no_longer_than_a_minute(world: World) -> None:
    long = World(world.paths.root, limits=Limits(1000.0, 1000.0))
    long.go(3, tick=(0, 1))
    long.watch.hurry(60.0)
    assert long.go(1).limit == 60.0


@pytest.mark.parametrize(
    ("changes", "reason"), [({"late": 0.5}, "had no processor, for 50%"), ({"waited": 0.05}, "wait")]
)
def test_a_slow_rank_is_named_and_not_ended(world: World, changes: dict[str, float], reason: str) -> None:
    world.change(0, waited=0.55)
    world.change(1, waited=0.5)
    assert world.go(60, tick=(0, 1)).slow == {}
    world.change(1, **changes)
    view = world.go(60, tick=(0, 1))
    assert not view.stalled
    assert list(view.slow) == [1]
    assert reason in view.slow[1]


def test_where_all_lack_processors_none_is_slow(world: World) -> None:
    for rank in (0, 1):
        world.change(rank, late=0.5)
    assert world.go(60, tick=(0, 1)).slow == {}


def test_a_hang_is_written_down_once_with_phase_and_step(world: World) -> None:
    view = world.go(21, beat=(0,))
    hang_record.declare(world.paths, view, HERE)
    hang_record.declare(world.paths, replace(view, blamed=(0,)), HERE)
    assert hang_record.blamed(world.paths) == [1]
    failure = failures.first(failures.read_all(world.paths))
    assert failure
    assert (failure.rank, failure.cause, failure.exit_code) == (1, Cause.HANG, 4)
    assert f"rank 1 (process 1001 on {HERE}) is gone, last in training of step 3" in failure.message


def test_a_record_of_an_earlier_start_is_not_this_process_s(world: World) -> None:
    hang_record.declare(world.paths, world.go(21, beat=(0,)), HERE)
    assert hang_record.blamed(world.paths, 0) is None
    world.change(0, pid=os.getpid())
    world.paths.hang.unlink()
    hang_record.declare(world.paths, world.go(2, beat=(0,)), HERE)
    assert hang_record.blamed(world.paths, 0) == [1]
