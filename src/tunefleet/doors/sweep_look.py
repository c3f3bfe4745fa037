"""Look before a sweep begins: points of its grid, or a sample of its space, are planned; their cost is printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tunefleet.base import progress, text
from tunefleet.base.errors import ConfigError
from tunefleet.config.sweep import Invalid, SamplerName, SweepConfig
from tunefleet.doors.trial_planner import TrialPlanner
from tunefleet.plan import Plan
from tunefleet.plan.horizon import total_steps
from tunefleet.sweep.definition import Definition
from tunefleet.sweep.draw import Exhausted, draw
from tunefleet.sweep.rung_ends import last_rung
from tunefleet.sweep.space import Space
from tunefleet.sweep.study import Study, Trial
from tunefleet.sweep.sweep_rules import NO_POINT_LEFT

_SAMPLE = 20
_HEAD_LINES = 5
_SHOWN = 3  # refusals with their reasons
_COMPLAINTS = 10  # where a sweep is refused for them


@dataclass(frozen=True)
class Look:
    """Points with the plan of their first seed, and those that cannot be tried, with the reason."""

    planned: Sequence[tuple[Mapping[str, str], Plan]]
    refused: Sequence[tuple[Mapping[str, str], str]]
    trials: int | None


def look(planner: TrialPlanner, sweep: SweepConfig, space: Space) -> Look:
    """Plans the points that the filters let through.

    Raises `ConfigError` where one is refused and the sweep says so, or none is left.
    """
    planned, refused = [], []
    identities: dict[str, str] = {}
    points = list(_points(sweep, space))
    for values in progress.over(points, "planning points"):
        try:
            if space.refusal(values, planner.lookup(values)):
                continue
            plan = planner.plan(values, sweep.seeds[0] if sweep.seeds else None, None)
        except ConfigError as error:
            refused.append((values, "; ".join(error.complaints)))
            continue
        if plan.identity in identities:
            refused.append((values, f"is [{identities[plan.identity]}] in other words"))
            continue
        identities[plan.identity] = _name(values)
        planned.append((values, plan))
    _expect_valid(sweep, planned, refused)
    size = len(planned) if sweep.sampler.name is SamplerName.GRID else None
    return Look(planned, refused, min(filter(None, (sweep.trials, size)), default=None))


def lines(look: Look, sweep: SweepConfig, space: Space, definition: Definition) -> Iterator[str]:
    """What is printed of it."""
    number = runs(look, sweep)
    seeds = f" x {len(sweep.seeds)} seeds = {number} runs" if sweep.seeds else ""
    objective = ", ".join(f"{metric} ({direction.value})" for metric, direction in sweep.objective.items())
    card = {"question": sweep.question, "expected": sweep.expected, "objective": objective}
    summary = {
        "sweep": definition.name,
        **{name: value for name, value in card.items() if value},
        "trials": f"{look.trials}{seeds}, drawn by {sweep.sampler.name.value}",
        "cost": _cost(look, sweep, number),
        "limits": ", ".join(_limits(sweep)) or "none",
    }
    yield text.listed(summary)
    yield from (f"searched  {line}" for line in space.describe())
    yield ""
    yield from _table(look)
    for values, reason in look.refused[:_SHOWN]:
        yield f"left out [{_name(values)}]: {reason}"
    if len(look.refused) > _SHOWN:
        yield f"... and {len(look.refused) - _SHOWN} more that cannot be tried"


def runs(look: Look, sweep: SweepConfig) -> int:
    """The number of runs that the sweep has at most."""
    return (look.trials or 0) * max(1, len(sweep.seeds))


def _points(sweep: SweepConfig, space: Space) -> Iterator[Mapping[str, str]]:
    """The whole grid, or points as they would be drawn at random."""
    if sweep.sampler.name is SamplerName.GRID:
        yield from space.grid()[: sweep.trials]
        return
    study, random = Study(), replace(sweep, sampler=replace(sweep.sampler, name=SamplerName.RANDOM))
    for number in range(1, min(_SAMPLE, sweep.trials or _SAMPLE) + 1):
        drawn = draw(space, random, study, lambda values: "")
        if isinstance(drawn, Exhausted):
            return
        study.trials[number] = Trial(number, drawn.values, ())
        yield drawn.values


def _expect_valid(
    sweep: SweepConfig, planned: Sequence[object], refused: Sequence[tuple[Mapping[str, str], str]]
) -> None:
    if not planned and not refused:
        raise ConfigError(NO_POINT_LEFT)
    if refused and (sweep.invalid is Invalid.REFUSE or not planned):
        shown = [f"[{_name(values)}] {reason}" for values, reason in refused[:_COMPLAINTS]]
        hint = "sweep.invalid=leave_out begins without them." if planned else "No point of the space is left."
        raise ConfigError(*shown, f"sweep.space: {len(refused)} points cannot be tried. {hint}")


def _name(values: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


def _cost(look: Look, sweep: SweepConfig, number: int) -> str:
    """The mean of the points times their number; a pruner only makes it less."""
    hours = [gpu_hours(plan) for _, plan in look.planned]
    costs = [value for value in hours if value is not None]
    if not costs or len(costs) < len(hours):
        return "unknown: the speed of this machine, or the number of steps, is"
    most = "at most " if sweep.pruner.name.value != "none" else ""
    return f"{most}{sum(costs) / len(costs) * number:.3g} GPU-hours"


def gpu_hours(plan: Plan) -> float | None:
    """Hours of every process of a run, by its forecast; None where that, or the number of steps, is not known."""
    steps, expected = total_steps(plan, None), plan.expected
    if steps is None or expected is None or not expected.tokens_per_second:
        return None
    tokens = steps * plan.batch.total * plan.config.train.sequence_length
    return tokens / expected.tokens_per_second * plan.layout.world_size / 3600


def _limits(sweep: SweepConfig) -> Iterator[str]:
    if sweep.trials:
        yield f"{sweep.trials} trials"
    if sweep.gpu_hours:
        yield f"{sweep.gpu_hours:g} GPU-hours"
    if sweep.in_flight:
        yield f"{sweep.in_flight} runs at once"
    if sweep.max_failures is not None:
        yield f"{sweep.max_failures} failures"
    yield f"failures of {sweep.max_failure_share:.0%}"
    if last_rung(sweep):
        yield f"{sweep.pruner.name.value}: the best 1/{sweep.pruner.reduction} of each of {last_rung(sweep) + 1} rungs"
    if sweep.fits:
        yield f"fits {sweep.fits}"


def _table(look: Look) -> Iterator[str]:
    """The first points."""
    keys = list(dict.fromkeys(key for values, _ in look.planned for key in values))
    rows = [[*(values.get(key, "") for key in keys), plan.name] for values, plan in look.planned[:_HEAD_LINES]]
    yield text.columns([[*keys, "run"], *rows])
    if len(look.planned) > _HEAD_LINES:
        yield f"... {len(look.planned) - _HEAD_LINES} more"
