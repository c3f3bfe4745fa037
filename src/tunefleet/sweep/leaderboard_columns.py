"""Leaderboard columns: what the table of trials can show, each as a value for files and as a text for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunefleet.base.errors import ConfigError
from tunefleet.base.units import count
from tunefleet.config.suggest import did_you_mean
from tunefleet.config.sweep import Direction
from tunefleet.sweep import leaderboard
from tunefleet.sweep.leaderboard import Row
from tunefleet.sweep.objective import Objectives
from tunefleet.sweep.study import TrialState
from tunefleet.sweep.sweep_record import SweepRecord

Value = str | float | int | bool | None
_OTHER_HEADS = ("rank", "trial", "state", "n", "step", "steps", "tokens", "reason", "rung", "front", "source", "run")
_AT_RUNG = (TrialState.PAUSED, TrialState.PRUNED)


@dataclass(frozen=True)
class LeaderboardColumn:
    """`name` is what is typed and what files have. Of two columns the one of the larger `fits_last` goes first where
    the terminal is narrow. `shown` is whether the table has it unless it is asked for.
    """

    name: str
    head: str
    value: Callable[[Row], Value]
    text: Callable[[Row], str]
    fits_last: int = 0
    flexible: bool = False
    shown: bool = True
    descending: bool = False
    """Whether larger values are better, so that `--sort` has them first."""


def of_record(record: SweepRecord) -> list[LeaderboardColumn]:
    """All columns of a sweep; of its settings those that differ."""
    return columns(record.objectives, leaderboard.differing_keys(record.study), record.cost_unit)


def columns(objectives: Objectives, differing: Sequence[str], cost_unit: str) -> list[LeaderboardColumn]:
    """All columns in their order; `cost_unit` is GPU-hours or process-hours."""
    return [
        LeaderboardColumn("rank", "rank", lambda row: row.rank, _rank),
        LeaderboardColumn("trial", "trial", lambda row: row.trial.number, lambda row: str(row.trial.number)),
        LeaderboardColumn("state", "state", lambda row: row.trial.state.value, state),
        *(column for index, name in enumerate(objectives) for column in _of_objective(index, name, objectives)),
        *(_of_setting(key, short) for key, short in _shortened(differing).items()),
        LeaderboardColumn("n", "n", lambda row: len(row.trial.runs), _replicates, 4),
        _measured("steps", "step", 6, lambda amount: f"{amount:,.0f}"),
        _measured("tokens", "tokens", 8, count),
        _measured("tokens_per_second", "tokens/s", 9, count, descending=True),
        _measured("gpu_hours", cost_unit, 5, hours),
        _measured("restarts", "restarts", 10, lambda amount: f"{amount:.0f}"),
        LeaderboardColumn("retries", "retries", lambda row: row.trial.retries, lambda row: str(row.trial.retries), 10),
        LeaderboardColumn("reason", "reason", lambda row: row.reason, lambda row: row.reason, 2, flexible=True),
        LeaderboardColumn("rung", "rung", lambda row: row.trial.rung, lambda row: str(row.trial.rung), 11, shown=False),
        LeaderboardColumn("front", "front", lambda row: row.on_front, lambda row: "*" * row.on_front, 11, shown=False),
        LeaderboardColumn("source", "source", lambda row: row.trial.source, lambda row: row.trial.source, shown=False),
        LeaderboardColumn("run", "run", run_names, lambda row: run_names(row), 12, flexible=True, shown=False),
    ]


def select(all_columns: Sequence[LeaderboardColumn], names: Sequence[str]) -> list[LeaderboardColumn]:
    """The columns of these names, or those that are shown anyway. Raises `ConfigError` for every unknown one."""
    by_alias = {alias: column for column in all_columns for alias in (column.head, column.name)}
    strange = [name for name in names if name not in by_alias]
    if strange:
        raise ConfigError(*(f"{name}: no column of that name.{_nearest(name, by_alias)}" for name in strange))
    return [by_alias[name] for name in names] or [column for column in all_columns if column.shown]


def sort(rows: Sequence[Row], column: LeaderboardColumn) -> list[Row]:
    """The rows by a column, the better or smaller values first, and those without one last; ties stay by rank."""
    sign = -1 if column.descending else 1
    return sorted(rows, key=lambda row: _sortable(column.value(row), sign))


def state(row: Row) -> str:
    """The state, and the rung where it ended or waits."""
    trial = row.trial
    at = f" at rung {trial.rung}" if trial.state in _AT_RUNG and trial.scores else ""
    return f"{trial.state.value}{at}"


def number(value: float) -> str:
    """A metric in few digits: 0.1234, 120.65, 1.2e-07."""
    return f"{value:.4f}" if 0.001 <= abs(value) < 10 or value == 0 else f"{value:.5g}"


def hours(amount: float) -> str:
    """Hours, short ones with more digits."""
    return f"{amount:,.1f}" if amount >= 10 else f"{amount:.2g}"


def with_spread(mean: float, spread: float | None) -> str:
    """The mean over seeds, and their standard deviation where there are several."""
    return number(mean) if spread is None else f"{number(mean)}±{spread:.2g}"


def result(row: Row, index: int) -> str:
    """The objective at `index` with its spread; a dash where it was not measured."""
    mean = mean_of(row, index)
    return "-" if mean is None else with_spread(mean, spread_of(row, index))


def replicates(row: Row) -> str:
    """What a result is of."""
    number_of_runs = len(row.trial.runs)
    return f"mean ± standard deviation of {number_of_runs} seeds" if number_of_runs > 1 else "one seed"


def mean_of(row: Row, index: int) -> float | None:
    """The mean of the objective at `index`."""
    return row.score.means[index] if row.score and index < len(row.score.means) else None


def spread_of(row: Row, index: int) -> float | None:
    """Its standard deviation over seeds; None for a trial of one run."""
    score, replicates = row.score, len(row.trial.runs)
    return score.spreads[index] if score and replicates > 1 and index < len(score.spreads) else None


def run_names(row: Row) -> str:
    """The names of its runs, one for each seed."""
    return " ".join(run.run_dir.rpartition("/")[2] for run in row.trial.runs)


def _of_objective(index: int, name: str, objectives: Objectives) -> list[LeaderboardColumn]:
    def text(row: Row) -> str:
        return result(row, index)

    larger = objectives[name] is Direction.MAX
    spread = LeaderboardColumn(f"{name}_spread", f"{name} spread", lambda row: spread_of(row, index), text, shown=False)
    return [LeaderboardColumn(name, name, lambda row: mean_of(row, index), text, descending=larger), spread]


def _of_setting(key: str, short: str) -> LeaderboardColumn:
    return LeaderboardColumn(
        key, short, lambda row: row.trial.values.get(key), lambda row: row.trial.values.get(key, "-"), 1, flexible=True
    )


def _measured(
    name: str, head: str, fits_last: int, text: Callable[[float], str], descending: bool = False
) -> LeaderboardColumn:
    def shown_text(row: Row) -> str:
        amount = row.measured.get(name)
        return "-" if amount is None or not math.isfinite(amount) else text(amount)

    return LeaderboardColumn(
        name, head, lambda row: row.measured.get(name), shown_text, fits_last, descending=descending
    )


def _rank(row: Row) -> str:
    return f"{row.rank}{'*' * row.on_front}" if row.rank else "-"


def _replicates(row: Row) -> str:
    return str(len(row.trial.runs)) if len(row.trial.runs) > 1 else ""


def _shortened(keys: Sequence[str]) -> dict[str, str]:
    """`optimizer.lr` is `lr` where no other key ends so, and no other column has that name."""
    ends = [key.rpartition(".")[2] for key in keys]
    is_free = {end: ends.count(end) == 1 and end not in _OTHER_HEADS for end in ends}
    return {key: end if is_free[end] else key for key, end in zip(keys, ends, strict=True)}


def _nearest(name: str, by_alias: Mapping[str, Any]) -> str:
    return did_you_mean(name, [alias for alias in by_alias if " " not in alias])


def _sortable(value: Value, sign: int) -> tuple[int, float, str]:
    """Numbers, also those that are typed as texts, then other texts, then nothing."""
    try:
        amount = float(value) if value is not None else math.nan
    except ValueError:
        return 1, 0.0, str(value)
    return (2, 0.0, "") if math.isnan(amount) else (0, sign * amount, "")
