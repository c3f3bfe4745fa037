"""Is a sampler's point a pure function of definition and trials, inside its space, and worth asking for?"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sweep.studies import History, accept, definition, points
from tunefleet.config.load import dump
from tunefleet.config.sweep import SweepConfig
from tunefleet.sweep import draw as draw_module
from tunefleet.sweep import optuna_study
from tunefleet.sweep.draw import Drawn, Exhausted, draw
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.space_reader import read

QUICK = ["random", "quasi_random", "tpe", "cma_es"]  # gaussian_process takes seconds to import, and has one test
SPACE = {"optimizer.lr": "tag(log,interval(1e-5,1e-1))", "train.max_steps": "range(10,100,10)", "adapter": "none,lora"}
CONDITIONAL = {"adapter=lora": {"adapter.rank": "int(interval(2,64))"}}
PROPERTY = settings(max_examples=12, deadline=None, derandomize=True, database=None)


def sweep(sampler: str, space: Mapping[str, str] = SPACE, **further: Any) -> SweepConfig:
    """A sweep with a sampler that looks at results from the fourth trial on."""
    choice = {"name": sampler, "startup_trials": 3, **further.pop("choice", {})}
    return definition(space, sampler=choice, **{"trials": 200, **further})


def told(sweep: SweepConfig, count: int) -> History:
    """So many trials, of which all but the last two have finished: the better the smaller the learning rate."""
    history = History()
    for number in range(1, count + 1):
        drawn = history.draw(read(sweep), sweep)
        assert isinstance(drawn, Drawn)
        if number < count - 1:
            history.finished(number, *[float(drawn.values["optimizer.lr"])] * len(sweep.objective))
    return history


NEW_PROCESS = """
import json, sys
from pathlib import Path
from tunefleet.config import load
from tunefleet.config.sweep import SweepConfig
from tunefleet.sweep.draw import draw
from tunefleet.sweep.journal import Journal
from tunefleet.sweep.space_reader import read
from tunefleet.sweep.study import fold
for path, definition in json.loads(sys.argv[1]):
    sweep = load(SweepConfig, definition)
    print(json.dumps(dict(draw(read(sweep), sweep, fold(Journal.read(Path(path)).events), lambda values: "").values)))
"""


def test_a_new_process_draws_the_same_from_the_journal(tmp_path: Path) -> None:
    histories = {name: told(sweep(name, conditional=CONDITIONAL), 6) for name in QUICK}
    for name, history in histories.items():
        journal = Journal.read(tmp_path / name)
        for event in history.events:
            journal.append(event.kind, **event.data)
    definitions = {name: sweep(name, conditional=CONDITIONAL) for name in QUICK}
    argument = json.dumps([(str(tmp_path / name), dump(definitions[name])) for name in QUICK])
    command = [sys.executable, "-c", NEW_PROCESS, argument]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    drawn = [json.loads(line) for line in done.stdout.splitlines()]
    assert drawn == [next_point(definitions[name], histories[name]) for name in QUICK]


def next_point(sweep: SweepConfig, history: History) -> Mapping[str, str]:
    drawn = draw(read(sweep), sweep, history.study, accept)
    assert isinstance(drawn, Drawn)
    return drawn.values


@PROPERTY
@given(name=st.sampled_from(QUICK), recorded=st.integers(0, 9))
def test_a_crash_among_refusals_changes_neither_them_nor_the_point(name: str, recorded: int) -> None:
    """Refused are points with less than 70 steps; the first `recorded` of them are in the journal."""
    definition, history = sweep(name, conditional=CONDITIONAL), History()
    refuse = lambda values: "short" if int(values["train.max_steps"]) < 70 else ""  # noqa: E731
    uninterrupted = draw(read(definition), definition, history.study, refuse)
    assert isinstance(uninterrupted, Drawn)
    for refused in uninterrupted.refused[:recorded]:
        history.add("left_out", values=dict(refused.values), reason=refused.reason)
    again = draw(read(definition), definition, history.study, refuse)
    assert isinstance(again, Drawn)
    assert again.values == uninterrupted.values
    assert again.refused == uninterrupted.refused[recorded:]


@pytest.mark.parametrize("name", QUICK)
def test_seeds_of_samplers_count_and_the_same_seed_repeats(name: str) -> None:
    runs = [points(told(sweep(name, choice={"seed": seed}), 6)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_running_trial_keeps_tpe_away_from_its_place() -> None:
    """The control is the same study with the running trials failed: then they are not looked at."""
    definition, history = sweep("tpe"), told(sweep("tpe"), 12)
    running = next_point(definition, history)
    for number in (11, 12):
        history.failed(number)
    assert next_point(definition, history) != running


@pytest.mark.parametrize("name", QUICK)
def test_a_condition_is_honoured_in_every_draw(name: str) -> None:
    for values in points(told(sweep(name, conditional=CONDITIONAL), 14)):
        assert ("adapter.rank" in values) is (values["adapter"] == "lora")


NUMBERS = st.integers(-50, 50)
STEPS = st.sampled_from(["1", "3", "0.25", "0.1"])


@PROPERTY
@given(low=NUMBERS, width=st.integers(1, 40), step=STEPS, seed=st.integers(0, 99))
def test_bounds_and_steps_are_honoured_over_200_draws(low: int, width: int, step: str, seed: int) -> None:
    high = low + width
    space = {
        "optimizer.lr": f"interval({low},{high})",
        "optimizer.eps": f"tag(log,interval({abs(low) / 7 + 1e-6},{abs(low) + width}))",
        "train.max_steps": f"int(interval({low},{high}))",
        "adapter.rank": f"tag(log,int(interval({abs(low) + 1},{abs(low) + width + 1})))",
        "schedule.floor": f"range({low},{high},{step})",
    }
    definition = sweep("random", space)
    asked = read(definition)
    listed = {round(low + position * float(step), 9) for position in range(math.ceil(width / float(step)))}
    for draws in range(200):
        point = optuna_study.propose(asked, definition, History().study, seed * 1000 + draws)
        assert low <= float(point["optimizer.lr"]) <= high
        assert float(f"{float(point['optimizer.lr']):.6g}") == float(point["optimizer.lr"])
        assert abs(low) / 7 + 1e-6 <= float(point["optimizer.eps"]) <= abs(low) + width
        assert low <= int(point["train.max_steps"]) <= high
        assert abs(low) + 1 <= int(point["adapter.rank"]) <= abs(low) + width + 1
        assert round(float(point["schedule.floor"]), 9) in listed


@pytest.mark.parametrize("name", ["tpe", "cma_es", "quasi_random"])
def test_bounds_are_honoured_once_results_are_looked_at(name: str) -> None:
    for values in points(told(sweep(name), 40)):
        assert 1e-5 <= float(values["optimizer.lr"]) <= 1e-1
        assert int(values["train.max_steps"]) in range(10, 100, 10)


def test_quasi_random_is_the_sequence_of_one_uninterrupted_study() -> None:
    """The reference is a study of Optuna's own, with nothing of ours."""
    definition = sweep("quasi_random", choice={"seed": 5})
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study = optuna.create_study(sampler=optuna.samplers.QMCSampler(scramble=True, seed=5))
    reference = []

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("optimizer.lr", 1e-5, 1e-1, log=True)
        steps = trial.suggest_int("train.max_steps", 10, 90, step=10)
        reference.append((float(f"{lr:.6g}"), steps, trial.suggest_categorical("adapter", ["none", "lora"])))
        return 0.0

    study.optimize(objective, n_trials=20)
    drawn = [(float(p["optimizer.lr"]), int(p["train.max_steps"]), p["adapter"]) for p in points(told(definition, 20))]
    assert drawn == reference


def best_of(name: str, seed: int, trials: int = 45) -> float:
    """The least of a quadratic with its minimum at (0.3, -0.7), found by a sampler."""
    space = {"optimizer.lr": "interval(-1,1)", "optimizer.eps": "interval(-1,1)"}
    definition, history = sweep(name, space, choice={"seed": seed}), History()
    for number in range(1, trials + 1):
        drawn = history.draw(read(definition), definition)
        assert isinstance(drawn, Drawn)
        x, y = float(drawn.values["optimizer.lr"]), float(drawn.values["optimizer.eps"])
        history.finished(number, (x - 0.3) ** 2 + (y + 0.7) ** 2)
    return min(trial.result.means[0] for trial in history.study.trials.values() if trial.result)


def test_cma_es_by_replay_finds_a_minimum_that_random_points_do_not() -> None:
    cma_es, at_random = (statistics.median(best_of(name, seed) for seed in (0, 1, 2)) for name in ("cma_es", "random"))
    assert cma_es < at_random / 4


def test_control_without_the_replay_it_finds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna_study.ReplayedCmaEs, "replay", lambda self, study, finished: study.add_trials(finished))
    assert best_of("cma_es", 1) > 0.01


SMALL = {"optimizer.lr": "range(1,4)", "train.max_steps": "int(interval(1,2))", "adapter": "none,lora"}


@pytest.mark.parametrize("name", QUICK)
def test_a_discrete_space_is_drawn_to_its_end_and_nothing_twice(name: str) -> None:
    definition = sweep(name, SMALL, conditional={"adapter=lora": {"adapter.rank": "4,8"}})
    history = exhausted(definition)
    assert len({frozenset(point.items()) for point in points(history)}) == len(history.study.trials) == 3 * 2 * 3


def exhausted(definition: SweepConfig, limit: int = 30) -> History:
    history = History()
    for number in range(1, limit):
        drawn = history.draw(read(definition), definition)
        if isinstance(drawn, Exhausted):
            assert drawn.reason == "every point of the space is drawn"
            break
        history.finished(number, float(drawn.values["optimizer.lr"]))
    return history


def test_control_without_a_memory_of_points_they_are_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw_module, "key", lambda values: object())
    drawn = points(exhausted(sweep("random", SMALL), 18))
    assert len({frozenset(point.items()) for point in drawn}) < len(drawn)


def test_a_filter_refuses_what_samplers_draw() -> None:
    definition = sweep("random", filter=["train.max_steps > 40"])
    history = told(definition, 12)
    assert min(int(point["train.max_steps"]) for point in points(history)) == 50
    assert {point.reason for point in history.study.left_out} == {"filter: not train.max_steps > 40"}


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_several_objectives(name: str) -> None:
    definition = sweep(name, objective={"validation/loss": "min", "train/tokens_per_second": "max"})
    assert len(told(definition, 8).study.trials) == 8


@pytest.mark.parametrize("name", QUICK)
def test_points_and_results_that_a_sampler_cannot_use_are_left_to_users(name: str) -> None:
    """Outside of the space, without a number, failed, stopped, or paused at a rung."""
    definition, history = sweep(name, conditional=CONDITIONAL), History()
    odd = {"optimizer.lr": "7", "model": "gpt2"}, {**SPACE, "adapter": "qlora"}, {"adapter": "lora"}
    for number, values in enumerate(odd, 1):
        history.drawn(values)
        history.finished(number, math.nan)
    for _ in range(6):
        history.draw(read(definition), definition)
    history.finished(4, math.nan)
    history.failed(5)
    history.reached(6, 0, 0.5)
    history.reached(7, 1, math.nan)
    history.add("stopped", trial=8, reason="by hand")
    history.finished(9, 0.25)
    assert next_point(definition, history)


def test_a_wider_space_still_learns_from_what_was_drawn_before() -> None:
    """The control is a space that none of them lies in: then the next point is random."""
    definition, history = sweep("tpe"), told(sweep("tpe"), 12)
    drawn = []
    for rates in ("tag(log,interval(1e-6,1))", "tag(log,interval(1,9))"):
        space = read(definition, [f"optimizer.lr={rates}", "adapter=none,lora,qlora"])
        at_random = optuna_study.propose(space, definition, History().study, seed=1)
        drawn.append(optuna_study.propose(space, definition, history.study, seed=1) == at_random)
    assert drawn == [False, True]


GAUSSIAN = """
import sys
from tests.sweep.test_samplers import best_of
print("torch" in sys.modules, best_of("gaussian_process", 0, 3), "torch" in sys.modules)
print(best_of("gaussian_process", 0, 8), "torch" in sys.modules)
"""


def test_a_gaussian_process_imports_torch_and_finds_the_minimum() -> None:
    """Not before it looks at a result, which is from the fourth trial on."""
    command, root = [sys.executable, "-c", GAUSSIAN], Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=root)
    assert done.returncode == 0, done.stderr
    before, _, at_startup, best, after = done.stdout.split()
    assert (before, at_startup, after) == ("False", "False", "True")
    assert float(best) < 0.02


def test_reasons_and_order_are_those_of_the_space() -> None:
    drawn: Sequence[str] = list(points(told(sweep("random"), 3))[0])
    assert drawn == list(SPACE)
