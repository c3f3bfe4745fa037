"""Does the median rule prune what Optuna's own pruner prunes?"""

from __future__ import annotations

import math
import warnings

import optuna
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from tunefleet.config.sweep import Direction
from tunefleet.sweep.median_rule import Curve, behind

CURVES = st.dictionaries(
    st.sampled_from([10, 20, 30]), st.integers(-9, 9).map(float) | st.just(math.nan), min_size=1, max_size=3
)


def optunas(running: Curve, finished: list[Curve], direction: Direction, startup: int) -> bool:
    """The reference: Optuna's MedianPruner in a study of the same trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=0)
    study = optuna.create_study(direction=f"{direction.value}imize", pruner=pruner)
    study.add_trials([create_trial(value=0.0, intermediate_values=dict(curve)) for curve in finished])
    trial = create_trial(state=TrialState.RUNNING, intermediate_values=dict(running))
    with warnings.catch_warnings(action="ignore"):  # of a curve without a number
        return bool(pruner.prune(study, trial))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    running=CURVES,
    finished=st.lists(CURVES, max_size=6),
    direction=st.sampled_from(Direction),
    startup=st.integers(1, 4),
)
def test_as_optuna(running: Curve, finished: list[Curve], direction: Direction, startup: int) -> None:
    ours = behind({7: running}, dict(enumerate(finished)), direction, startup)
    assert (7 in ours) is optunas(running, finished, direction, startup)


def test_the_reason_names_step_value_and_median() -> None:
    finished = {1: {10: 1.0}, 2: {10: 2.0}, 3: {10: 3.0}}
    running = {4: {5: 4.0, 10: 2.5}, 5: {10: 1.5}, 6: {}}
    assert behind(running, finished, Direction.MIN, 3) == {4: "step 10: best 2.5, median of 3 finished trials 2"}
    assert behind(running, finished, Direction.MIN, 4) == {}
