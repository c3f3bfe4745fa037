"""Optuna's study of a sweep: rebuilt in memory from the trials for one proposal, and thrown away.

The journal is the truth, and Optuna is asked for a decision, so nothing of it is saved. `draw` imports this module only
where a sampler needs it; `gaussian_process` also imports torch.

Sources: Optuna's samplers (https://optuna.readthedocs.io/en/stable/reference/samplers/); TPE: Bergstra et al. 2011,
Watanabe 2023; Gaussian process: Matern 5/2 kernel with expected improvement; CMA-ES: Hansen 2016; quasi-random: Sobol
points, scrambled as in Owen 1997.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from tunefleet.config.sweep import Direction, SamplerName, SweepConfig
from tunefleet.sweep.dimension import Dimension, Interval, Steps
from tunefleet.sweep.space import Axis, Point, Space
from tunefleet.sweep.study import Study, Trial, TrialState

optuna.logging.set_verbosity(optuna.logging.ERROR)

_DIRECTIONS = {Direction.MIN: StudyDirection.MINIMIZE, Direction.MAX: StudyDirection.MAXIMIZE}
_STATES = {
    TrialState.DRAWN: OptunaState.RUNNING,
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.FAILED: OptunaState.FAIL,
    TrialState.PAUSED: OptunaState.PRUNED,
    TrialState.STOPPED: OptunaState.PRUNED,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FINISHED: OptunaState.COMPLETE,
}
"""A trial that waits at a rung, or was ended there, is worth what it reached: Optuna calls that pruned."""


def propose(space: Space, sweep: SweepConfig, study: Study, seed: int) -> Point:
    """The sampler's next point, which depends on nothing but the arguments.

    Running trials count as bad ones (the constant liar of Ginsbourger et al. 2010), so that several at once do not
    all try the same place.
    """
    with _quiet():
        trial = _study(space, sweep, study, _sampler(space, sweep, seed)).ask()
        return space.point(lambda axis: _suggest(trial, axis))


def sequence(space: Space, seed: int) -> Iterator[Point]:
    """The points of a scrambled Sobol sequence, in the order of one uninterrupted study of Optuna's.

    Its first point is random, as Optuna's is. Axes whose condition is not met are drawn and dropped.
    """
    parameters = _sequence(tuple((axis.name, _distribution(axis.dimension)) for axis in space.axes), seed)
    for values in parameters:
        yield space.point(lambda axis, values=values: _text(axis.dimension, values[axis.name]))  # type: ignore[misc]


class _Sequence:
    """Parameters of a sequence, remembered: asking for the n-th point anew each time would take n draws."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], seed: int) -> None:
        sampler = QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
        self._distributions = dict(distributions)
        self._study = optuna.create_study(sampler=sampler)
        self._drawn: list[Mapping[str, Any]] = []

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        position = 0
        while True:
            if position == len(self._drawn):
                trial = self._study.ask(self._distributions)
                self._study.tell(trial, 0.0)
                self._drawn.append(trial.params)
            yield self._drawn[position]
            position += 1


@lru_cache(maxsize=4)
def _sequence(distributions: tuple[tuple[str, BaseDistribution], ...], seed: int) -> _Sequence:
    with _quiet():
        return _Sequence(dict(distributions), seed)


def _sampler(space: Space, sweep: SweepConfig, seed: int) -> BaseSampler:
    startup = sweep.sampler.startup_trials
    match sweep.sampler.name:
        case SamplerName.TPE:
            conditional = any(axis.condition for axis in space.axes)
            return TPESampler(n_startup_trials=startup, seed=seed, multivariate=conditional or None, group=conditional)
        case SamplerName.GAUSSIAN_PROCESS:
            return GPSampler(n_startup_trials=startup, seed=seed, warn_independent_sampling=False)
        case SamplerName.CMA_ES:
            return ReplayedCmaEs(n_startup_trials=startup, seed=seed, warn_independent_sampling=False)
    return RandomSampler(seed=seed)


def _study(space: Space, sweep: SweepConfig, study: Study, sampler: BaseSampler) -> optuna.Study:
    directions = [_DIRECTIONS[direction] for direction in sweep.objective.values()]
    rebuilt = optuna.create_study(directions=directions, sampler=sampler)
    if sweep.sampler.name is SamplerName.RANDOM:
        return rebuilt
    frozen_trials = [frozen for trial in study.trials.values() if (frozen := _frozen(space, trial))]
    if isinstance(sampler, ReplayedCmaEs):
        sampler.replay(rebuilt, [frozen for frozen in frozen_trials if frozen.state is OptunaState.COMPLETE])
    else:
        rebuilt.add_trials(frozen_trials)
    return rebuilt


class ReplayedCmaEs(CmaEsSampler):
    """CMA-ES that is led again through trials that have finished: it keeps its generations in attributes of trials.

    While `recorded` holds the parameters of such a trial, they stand for those that would be sampled.
    """

    recorded: Mapping[str, Any] | None = None

    def replay(self, study: optuna.Study, finished: Sequence[FrozenTrial]) -> None:
        """Through all of them by number, as if each had ended before the next one began."""
        for trial in finished:
            self.recorded = trial.params
            study.tell(study.ask(trial.distributions), trial.value)
        self.recorded = None

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As Optuna's, which notes the trial's generation and moves on from a full one."""
        sampled = super().sample_relative(study, trial, search_space)
        return sampled if self.recorded is None else {name: self.recorded[name] for name in search_space}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As Optuna's."""
        if self.recorded is not None:
            return self.recorded[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)


def _frozen(space: Space, trial: Trial) -> FrozenTrial | None:
    """What Optuna is told of a trial; None where it lies outside of the space, as a user's own point may."""
    axes = [axis for axis in space.axes if axis.is_present(trial.values)]
    parameters = {axis.name: _parameter(axis, trial.values) for axis in axes}
    if None in parameters.values():
        return None
    state, result = _STATES[trial.state], list(trial.result.means) if trial.result else []
    if state is OptunaState.COMPLETE and not all(map(math.isfinite, result)):
        state = OptunaState.FAIL
    return create_trial(
        state=state,
        values=result if state is OptunaState.COMPLETE else None,
        params=parameters,
        distributions={axis.name: _distribution(axis.dimension) for axis in axes},
        intermediate_values={rung: score.means[0] for rung, score in trial.scores.items()},
    )


def _parameter(axis: Axis, values: Mapping[str, str]) -> Any:
    """The value of a point as Optuna has it; None outside of the dimension."""
    text, dimension = axis.text(values), axis.dimension
    match dimension:
        case Interval(low, high, integer=integer):
            number = _number(text)
            return None if number is None or not low <= number <= high else int(number) if integer else number
        case Steps(numbers=numbers) if len(numbers) > 1:
            return None if text is None else dimension.texts.index(text)
    return text


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Optuna counts steps by their place, which is exact where sums of 0.1 are not."""
    match dimension:
        case Interval(low, high, log, integer):
            return IntDistribution(int(low), int(high), log) if integer else FloatDistribution(low, high, log)
        case Steps(numbers=numbers) if len(numbers) > 1:
            return IntDistribution(0, len(numbers) - 1)
    return CategoricalDistribution(dimension.texts)


def _suggest(trial: optuna.Trial, axis: Axis) -> str:
    match _distribution(axis.dimension):
        case IntDistribution(low=low, high=high, log=log):
            return _text(axis.dimension, trial.suggest_int(axis.name, low, high, log=log))
        case FloatDistribution(low=low, high=high, log=log):
            return _text(axis.dimension, trial.suggest_float(axis.name, low, high, log=log))
        case CategoricalDistribution(choices=choices):
            return str(trial.suggest_categorical(axis.name, choices))
    raise TypeError(axis.dimension)


def _text(dimension: Dimension, parameter: Any) -> str:
    match dimension:
        case Interval():
            return dimension.text(parameter)
        case Steps(texts=texts) if len(texts) > 1:
            return str(texts[parameter])
    return str(parameter)


def _quiet() -> warnings.catch_warnings[None]:
    """Optuna warns of what it calls experimental: QMC and the groups of TPE have been so since 2021."""
    return warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning)
