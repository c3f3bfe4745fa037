"""Importance of settings: how much each one decided whether a trial was among the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunefleet.sweep.objective import Objectives, costs
from tunefleet.sweep.study import Study, Trial, TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_ENOUGH = 10  # finished trials
_BEST = 5  # trials that the best are at least, as Optuna advises
_DECADE = 10.0  # a range that spans one is compared by its logarithm


@dataclass(frozen=True)
class Importance:
    """Shares by setting, the largest first, which add up to 1; or none, and the reason in `note`."""

    shares: dict[str, float] = field(default_factory=dict)
    note: str = ""


def importance(study: Study, keys: Sequence[str], objectives: Objectives) -> Importance:
    """PED-ANOVA (Watanabe et al. 2023) of finished trials for the first objective, as Optuna computes it."""
    finished = [trial for trial in study.in_state(TrialState.FINISHED) if trial.result]
    varied = [key for key in keys if len({trial.values.get(key) for trial in finished} - {None}) > 1]
    if len(finished) < _ENOUGH:
        return Importance(note=f"needs {_ENOUGH} finished trials; {len(finished)} have finished")
    if not varied:
        return Importance(note="no setting differs among the finished trials")
    shares = _shares(finished, varied, objectives)
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])
    best = max(_BEST, len(finished) // 10)
    return Importance(
        dict(ordered), f"for {next(iter(objectives))}: what tells the best {best} of {len(finished)} from the others"
    )


def _shares(trials: Sequence[Trial], keys: Sequence[str], objectives: Objectives) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kinds = {key: _distribution([trial.values[key] for trial in trials if key in trial.values]) for key in keys}
    in_memory = optuna.create_study(direction="minimize")
    for trial in trials:
        present = {key: kind for key, kind in kinds.items() if key in trial.values}
        point: dict[str, Any] = {key: _value(trial.values[key], kind) for key, kind in present.items()}
        cost = costs(trial.result.means, objectives)[0] if trial.result else 0.0
        in_memory.add_trial(optuna.trial.create_trial(params=point, distributions=present, value=cost))
    quantile = max(0.1, _BEST / len(trials))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
    return optuna.importance.get_param_importances(in_memory, evaluator=evaluator)


def _distribution(texts: Sequence[str]) -> BaseDistribution:
    """Numbers as a range, where there are more than two; everything else as choices."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [_number(text) for text in dict.fromkeys(texts)]
    parsed = [number for number in numbers if number is not None]
    if len(parsed) < len(numbers) or len(numbers) < 3:
        return CategoricalDistribution(tuple(dict.fromkeys(texts)))
    low, high = min(parsed), max(parsed)
    return FloatDistribution(low, high, log=low > 0 and high / low >= _DECADE)


def _value(text: str, kind: BaseDistribution) -> float | str:
    number = _number(text)
    return number if number is not None and hasattr(kind, "low") else text


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
