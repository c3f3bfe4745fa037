"""Does a driver that dies anywhere, even in the middle of a write, leave the sweep as if it had not?"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.sweep.fake_world import FakeWorld
from tunefleet.base.status import Cause, State
from tunefleet.base.sweeps import SweepPaths
from tunefleet.config.sweep import Losers, PrunerConfig, PrunerName, SweepConfig
from tunefleet.sweep import inbox, journal, settle
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.driver import Driver
from tunefleet.sweep.journal import Event, Journal
from tunefleet.sweep.study import Study, TrialState, fold

PRUNERS = [PrunerName.NONE, PrunerName.ASHA, PrunerName.SUCCESSIVE_HALVING, PrunerName.HYPERBAND, PrunerName.MEDIAN]
SHARED = Path("/dev/shm")
DEATHS = st.lists(st.tuples(st.integers(1, 10), st.booleans()), max_size=3)
"""Of drivers that follow each other: at which effect, and whether in the middle of a line."""


class DriverKilled(BaseException):
    """As SIGKILL: nothing of the driver runs after it."""


@dataclass
class Bomb:
    """Goes off at the n-th effect; 0 is never. With `torn`, an event that is being written is cut in two."""

    countdown: int = 0
    torn: bool = False

    def tick(self, path: Path | None = None) -> None:
        if self.countdown:
            self.countdown -= 1
            if not self.countdown:
                if self.torn and path:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with open(path, "ab") as stream:
                        stream.write(b'{"n": 99, "at": 1.0, "event": "dra')
                raise DriverKilled


@dataclass
class System:
    """A sweep with its world, and a driver that may be killed."""

    folder: Path
    definition: Definition
    bomb: Bomb = field(default_factory=Bomb)

    def __post_init__(self) -> None:
        self.paths = SweepPaths(self.folder / "sweep")
        self.world = FakeWorld(self.folder / "runs", before=self.bomb.tick)

    @property
    def study(self) -> Study:
        return fold(Journal.read(self.paths.journal).events)

    def advance(self) -> None:
        """Rounds until nothing new is written."""
        for _ in range(30):
            written = self._length()
            Driver(self.paths, self.definition, self.world, lambda line: None).advance()
            if written == self._length():
                return
        raise AssertionError("rounds without end")

    def killed(self, countdown: int, torn: bool) -> None:
        """One round in which the driver dies at its n-th effect, if it has so many."""
        self.bomb.countdown, self.bomb.torn = countdown, torn
        real = Journal.append

        def append(written: Journal, kind: str, **data: Any) -> Event:
            self.bomb.tick(written.path)
            event = real(written, kind, **data)
            self.bomb.tick()
            return event

        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(DriverKilled):
            patch.setattr(Journal, "append", append)
            Driver(self.paths, self.definition, self.world, lambda line: None).advance()
        self.bomb.countdown = 0

    def _length(self) -> int:
        return self.paths.journal.stat().st_size if self.paths.journal.exists() else 0


def of(swept: Study, folder: Path) -> dict[int, Any]:
    """What counts of a study, without the folder that it is in."""
    return {
        number: (
            dict(trial.values),
            trial.state,
            trial.rung,
            dict(trial.scores),
            trial.result,
            trial.retries,
            trial.source,
            [Path(run.run_dir).relative_to(folder) for run in trial.runs],
        )
        for number, trial in swept.trials.items()
    }


class Crashes(RuleBasedStateMachine):
    """The same happens to two sweeps, and the driver of one is killed again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=SHARED if SHARED.is_dir() else None))

    @initialize(
        pruner=st.sampled_from(PRUNERS),
        seeds=st.sampled_from([(), (1, 2)]),
        trials=st.sampled_from([None, 4]),
        losers=st.sampled_from(Losers),
    )
    def begins(self, pruner: PrunerName, seeds: tuple[int, ...], trials: int | None, losers: Losers) -> None:
        sweep = SweepConfig(
            space={"optimizer.lr": "0.1,0.2,0.3,0.4", "optimizer.weight_decay": "0,0.1"},
            pruner=PrunerConfig(pruner, reduction=2, rungs=3, startup_trials=1),
            seeds=seeds,
            trials=trials,
            losers=losers,
            max_failure_share=1.0,
        )
        definition = Definition("sweep", "", sweep, (), (), ".", ".")
        self.calm, self.hit = (System(self.folder / name, definition) for name in ("calm", "hit"))
        self.both(System.advance)

    def both(self, act: Callable[[System], Any]) -> None:
        for system in (self.calm, self.hit):
            act(system)

    def happens(self, index: int, event: Callable[[FakeWorld, str], None]) -> None:
        """To the same run in both worlds."""
        live = sorted(Path(run_dir).name for run_dir in self.calm.world.live)
        if live:
            name = live[index % len(live)]
            self.both(lambda system: event(system.world, str(system.world.folder / name)))

    def asks(self, kind: str, **data: Any) -> None:
        self.both(lambda system: inbox.put(system.paths.inbox, kind, **data))

    @rule(indices=st.lists(st.integers(0, 5), min_size=1, max_size=3), deaths=DEATHS)
    def runs_get_there(self, indices: list[int], deaths: list[tuple[int, bool]]) -> None:
        for index in indices:
            self.happens(index, FakeWorld.reach)
        self.drivers_die(deaths)

    @rule(
        index=st.integers(0, 5),
        cause=st.sampled_from([Cause.ERROR, Cause.KILLED, Cause.NODE_FAILURE]),
        deaths=DEATHS,
    )
    def a_run_fails(self, index: int, cause: Cause, deaths: list[tuple[int, bool]]) -> None:
        self.happens(index, lambda world, run: world.move(run, State.FAILED, cause, reason=cause.value))
        self.drivers_die(deaths)

    @rule(index=st.integers(0, 5), cause=st.sampled_from([Cause.INTERRUPT, Cause.TERMINATED, Cause.STOP_FILE]))
    def a_run_is_interrupted(self, index: int, cause: Cause) -> None:
        self.happens(index, lambda world, run: world.move(run, State.INTERRUPTED, cause))

    @rule(kind=st.sampled_from(["stop", "resume", "retry"]), trial=st.integers(1, 5), deaths=DEATHS)
    def a_user_acts(self, kind: str, trial: int, deaths: list[tuple[int, bool]]) -> None:
        self.asks(kind, trial=trial)
        self.drivers_die(deaths)

    @rule(trial=st.integers(1, 4), lr=st.sampled_from(["0.2", "0.05", "0.06"]))
    def a_user_clones(self, trial: int, lr: str) -> None:
        source = self.calm.study.trials.get(trial)
        if source:
            values = {**source.values, "optimizer.lr": lr}
            self.asks("pin", values=values, source=f"clone of {trial}", warm_from=None)

    @rule(limits=st.sampled_from([{"trials": 6}, {"space": {"optimizer.lr": "0.1,0.2,0.3,0.4,0.5"}}, {"in_flight": 2}]))
    def a_user_extends(self, limits: dict[str, Any]) -> None:
        self.asks("extend", limits=limits)

    @rule()
    def a_user_stops_all_and_goes_on(self) -> None:
        self.asks("stop")
        self.both(System.advance)
        self.asks("extend", limits={})

    @rule(deaths=DEATHS)
    def drivers_die(self, deaths: list[tuple[int, bool]]) -> None:
        for countdown, torn in deaths:
            self.hit.killed(countdown, torn)
        self.both(System.advance)

    @precondition(lambda self: hasattr(self, "calm"))
    @invariant()
    def no_number_is_used_twice(self) -> None:
        for system in (self.calm, self.hit):
            drawn = [
                event.data["trial"] for event in Journal.read(system.paths.journal).events if event.kind == "drawn"
            ]
            assert drawn == list(range(1, len(drawn) + 1))

    def teardown(self) -> None:
        if not hasattr(self, "calm"):
            return
        self.both(System.advance)
        assert of(self.hit.study, self.hit.world.folder) == of(self.calm.study, self.calm.world.folder)
        self.both(self._to_the_end)
        ended = self.calm.study
        assert ended.closed
        assert all(trial.state.final for trial in ended.trials.values()), ended.trials
        assert of(self.hit.study, self.hit.world.folder) == of(ended, self.calm.world.folder)
        begun = [
            {Path(run_dir).name: run.begun for run_dir, run in system.world.runs.items()}
            for system in (self.calm, self.hit)
        ]
        assert begun[0] == begun[1]
        shutil.rmtree(self.folder)

    def _to_the_end(self, system: System) -> None:
        for _ in range(200):
            system.advance()
            for run_dir in sorted(system.world.live):
                system.world.reach(run_dir)
            if system.study.closed and not system.study.in_state(TrialState.RUNNING):
                return
        raise AssertionError(f"no end: {system.study}")


def check(examples: int = 40, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Crashes,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            derandomize=True,
            deadline=None,
            suppress_health_check=checks,
            phases=phases,
            report_multiple_bugs=False,
        ),
    )


def test_a_driver_that_dies_anywhere_changes_nothing() -> None:
    check()


@pytest.mark.parametrize(
    ("place", "name", "defect"),
    [
        (settle, "has_not_begun", lambda trial, run, status: status is None),
        (journal, "end_of_whole_lines", lambda stream: stream.seek(0, 2)),
    ],
    ids=["what was to begin is not known", "a torn line stays"],
)
def test_control_without_a_defence_it_does(
    place: Any, name: str, defect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, defect)
    with pytest.raises((AssertionError, KeyError, ExceptionGroup)):
        check(phases=(Phase.generate,))
