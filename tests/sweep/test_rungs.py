"""Do the right trials go on from a rung, whatever the order in which they arrive, and does every one end?"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Set

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sweep.studies import History, definition
from tunefleet.base.errors import ConfigError
from tunefleet.config.sweep import PrunerConfig, PrunerName, SweepConfig
from tunefleet.sweep import rungs
from tunefleet.sweep.rungs import Promotion, Pruning
from tunefleet.sweep.study import TrialState

SPACE = {"optimizer.lr": "1,2"}


def sweep(pruner: str, **pruner_settings: object) -> SweepConfig:
    direction = pruner_settings.pop("direction", "min")
    return definition(SPACE, pruner={"name": pruner, **pruner_settings}, objective={"validation/loss": direction})


class Driver:
    """A driver of trials whose scores are known beforehand: it runs one trial to the end of its rung at a time.

    `failing` trials fail at the end of a rung instead. `crash` loses all decisions of an advance but the first.
    """

    def __init__(self, sweep: SweepConfig, scores: list[float], failing: Set[tuple[int, int]] = frozenset()) -> None:
        self.sweep, self.scores, self.failing = sweep, scores, failing
        self.history = History()
        self.reached: Counter[int] = Counter()
        self.promotions: list[tuple[int, int]] = []

    def run(self, choose: random.Random, drawn_first: bool = False, crash: bool = False) -> None:
        """To the end; any drawn trial may be the next to run."""
        while self._may_draw(drawn_first):
            self._draw()
        while self._step(choose, crash):
            while self._may_draw(drawn_first):
                self._draw()

    def _may_draw(self, drawn_first: bool) -> bool:
        """All at once, or one whenever no other waits to run."""
        study = self.history.study
        return len(study.trials) < len(self.scores) and (drawn_first or not study.in_state(TrialState.DRAWN))

    def _draw(self) -> None:
        number = self.history.study.next_number
        self.history.drawn({"optimizer.lr": str(number)}, rungs.first_rung(number, self.sweep.pruner))

    def _step(self, choose: random.Random, crash: bool) -> bool:
        ready = self.history.study.in_state(TrialState.DRAWN)
        if ready:
            trial = choose.choice(ready)
            self._ends(trial.number, trial.rung)
        decisions = rungs.decide(self.history.study, self.sweep, len(self.history.study.trials) == len(self.scores))
        for decision in decisions[: 1 if crash else None]:
            self._apply(decision)
        return bool(ready or decisions)

    def _ends(self, trial: int, rung: int) -> None:
        self.history.started(trial, rung)
        if (trial, rung) in self.failing:
            self.history.failed(trial)
            return
        self.reached[rung] += 1
        if rung == self.sweep.pruner.rungs - 1:
            self.history.finished(trial, self.scores[trial - 1])
        else:
            self.history.reached(trial, rung, self.scores[trial - 1])

    def _apply(self, decision: rungs.Decision) -> None:
        if isinstance(decision, Promotion):
            self._expect_entitled(decision)
            self.promotions.append((decision.trial, decision.rung))
            self.history.add("promoted", trial=decision.trial, rung=decision.rung)
        else:
            self.history.add("pruned", trial=decision.trial, reason=decision.reason)

    def _expect_entitled(self, decision: Promotion) -> None:
        """It is among the best 1/reduction of the scores that its bracket has at the rung, counted here anew."""
        trials = self.history.study.trials
        bracket = [trial for trial in trials.values() if trial.first_rung == trials[decision.trial].first_rung]
        scores = {
            trial.number: trial.scores[decision.rung - 1].means[0]
            for trial in bracket
            if decision.rung - 1 in trial.scores
        }
        alive = {n: s for n, s in scores.items() if trials[n].state not in (TrialState.FAILED, TrialState.STOPPED)}
        better = [n for n, s in alive.items() if (s, n) < (scores[decision.trial], decision.trial)]
        assert len(better) < max(1, len(scores) // self.sweep.pruner.reduction)

    def states(self) -> Counter[str]:
        return Counter(trial.state.value for trial in self.history.study.trials.values())


def test_successive_halving_is_the_papers_table() -> None:
    """27 configurations, eta 3 (Jamieson & Talwalkar 2016; Li et al. 2018, table 1): 27, 9, 3, 1."""
    scores = [(7 * i) % 27 / 27 for i in range(27)]
    driver = Driver(sweep("successive_halving", rungs=4), scores)
    driver.run(random.Random(0), drawn_first=True)
    assert driver.reached == {0: 27, 1: 9, 2: 3, 3: 1}
    assert driver.states() == {"finished": 1, "pruned": 26}
    winner = driver.history.study.in_state(TrialState.FINISHED)[0]
    assert driver.scores[winner.number - 1] == min(scores)


@pytest.mark.parametrize(("count", "reached"), [(10, [10, 3, 1]), (3, [3, 1, 1]), (2, [2, 1, 1]), (1, [1, 1, 1])])
@pytest.mark.parametrize("pruner", ["successive_halving", "asha"])
def test_a_few_trials_end_with_a_winner_too(pruner: str, count: int, reached: list[int]) -> None:
    driver = Driver(sweep(pruner), [float(i) for i in range(count)])  # the best comes first, so asha is not misled
    driver.run(random.Random(0), drawn_first=True)
    assert driver.states()["finished"] == 1
    if pruner == "successive_halving":
        assert [driver.reached[rung] for rung in range(3)] == reached


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    pruner=st.sampled_from(["asha", "successive_halving", "hyperband"]),
    scores=st.lists(st.floats(0, 9) | st.just(math.nan), min_size=1, max_size=24),
    reduction=st.integers(2, 4),
    failures=st.sets(st.tuples(st.integers(1, 24), st.integers(0, 2)), max_size=8),
    order=st.integers(0, 99),
    crash=st.booleans(),
)  # fmt: skip
def test_every_trial_ends_and_none_is_promoted_that_is_not_entitled(
    pruner: str, scores: list[float], reduction: int, failures: set[tuple[int, int]], order: int, crash: bool
) -> None:
    driver = Driver(sweep(pruner, reduction=reduction), scores, failures)
    driver.run(random.Random(order), drawn_first=pruner == "successive_halving", crash=crash)
    assert set(driver.states()) <= {"finished", "pruned", "failed"}
    assert len(driver.promotions) == len(set(driver.promotions))


def test_a_crash_among_decisions_changes_none_of_them() -> None:
    scores = [random.Random(3).random() for _ in range(27)]
    drivers = [Driver(sweep("successive_halving"), scores) for _ in range(2)]
    for driver, crash in zip(drivers, (False, True), strict=True):
        driver.run(random.Random(1), drawn_first=True, crash=crash)
    assert sorted(drivers[0].promotions) == sorted(drivers[1].promotions)


def test_asha_promotes_at_once_and_successive_halving_waits() -> None:
    """The control for the open rung: of three trials two are still to come, or all three have arrived."""
    for pruner, promoted in (("asha", [Promotion(1, 1)]), ("successive_halving", [])):
        history = History()
        for number in range(1, 7):
            history.drawn({"optimizer.lr": str(number)})
        for number in (1, 2, 3):
            history.reached(number, 0, float(number))
        assert rungs.decide(history.study, sweep(pruner), all_drawn=True) == promoted
        for number in (4, 5, 6):
            history.failed(number)
        assert Promotion(1, 1) in rungs.decide(history.study, sweep(pruner), all_drawn=True)


def test_asha_prunes_only_when_nothing_can_promote_any_more() -> None:
    history = History()
    for number in (1, 2, 3):
        history.drawn({"optimizer.lr": str(number)})
        history.reached(number, 0, float(number))
    assert rungs.decide(history.study, sweep("asha"), all_drawn=False) == [Promotion(1, 1)]
    ends = rungs.decide(history.study, sweep("asha"), all_drawn=True)
    assert ends == [
        Promotion(1, 1),
        Pruning(2, 0, "place 2 of 3 at rung 0; the best 1 go on"),
        Pruning(3, 0, "place 3 of 3 at rung 0; the best 1 go on"),
    ]


@pytest.mark.parametrize(("direction", "best"), [("min", 2), ("max", 3)])
def test_a_score_that_is_no_number_is_the_worst_in_both_directions(direction: str, best: int) -> None:
    history = History()
    for number, score in enumerate((math.nan, 1.0, 2.0), 1):
        history.drawn({"optimizer.lr": str(number)})
        history.reached(number, 0, score)
    decisions = rungs.decide(history.study, sweep("asha", direction=direction), all_drawn=True)
    assert [decision.trial for decision in decisions if isinstance(decision, Promotion)] == [best]


def test_the_place_of_a_stopped_trial_goes_to_the_next() -> None:
    history = History()
    for number in (1, 2, 3):
        history.drawn({"optimizer.lr": str(number)})
        history.reached(number, 0, float(number))
    history.add("stopped", trial=1, reason="by hand")
    decisions = rungs.decide(history.study, sweep("successive_halving"), all_drawn=True)
    assert Promotion(2, 1) in decisions


@pytest.mark.parametrize(
    ("total", "reduction", "count", "steps"),
    [(81, 3, 5, (1, 3, 9, 27, 81)), (90, 3, 3, (10, 30, 90)), (100, 3, 3, (12, 34, 100)), (10, 2, 3, (3, 5, 10))],
)
def test_rungs_end_at_parts_of_the_steps(total: int, reduction: int, count: int, steps: tuple[int, ...]) -> None:
    pruner = PrunerConfig(PrunerName.ASHA, reduction, count)
    assert rungs.rung_steps(total, pruner) == steps


def test_rungs_that_have_no_room_are_refused_with_the_next_move() -> None:
    pruner = PrunerConfig(PrunerName.ASHA)
    with pytest.raises(ConfigError, match=r"train.max_steps=2: 3 rungs, .* after 1, 1, 2 steps. Type more steps"):
        rungs.rung_steps(2, pruner)
    with pytest.raises(ConfigError, match=r"train.max_steps: missing: sweep.pruner.name=asha"):
        rungs.rung_steps(None, pruner)


def test_hyperband_has_the_brackets_of_the_papers_table() -> None:
    """Table 1 of Li et al. 2018, R=81 and eta=3: brackets of 81, 34, 15, 8 and 5 configurations, s from 4 to 0."""
    pruner = PrunerConfig(PrunerName.HYPERBAND, 3, 5)
    firsts = Counter(rungs.first_rung(number, pruner) for number in range(1, 81 + 34 + 15 + 8 + 5 + 1))
    assert firsts == {0: 81, 1: 34, 2: 15, 3: 8, 4: 5}
    assert rungs.first_rung(144, pruner) == 0
    assert {rungs.first_rung(number, PrunerConfig(PrunerName.ASHA)) for number in range(1, 99)} == {0}
