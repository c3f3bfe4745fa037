"""Run view: what a page shows of one run, read from its directory; what cannot be read is left out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunefleet.base import files, status
from tunefleet.base.status import Status
from tunefleet.base.units import clock, count
from tunefleet.config.load import leaves
from tunefleet.launch import provenance
from tunefleet.launch.register import Run
from tunefleet.tracking import metrics
from tunefleet.tracking.series import Record, Series, is_number, series, spread_out, timed

MOST_POINTS = 2000  # of a curve
MOST_SAMPLES = 200
_NOT_DRAWN = ("step", "time", "tokens", "loss_tokens", "seconds", "final")


@dataclass(frozen=True)
class RunView:
    """One run, as plain data. `curves` are by the key of metrics.jsonl, `settings` by dotted key."""

    name: str
    state: str
    reason: str
    facts: Mapping[str, str]
    results: Mapping[str, float]
    settings: Mapping[str, str]
    curves: Mapping[str, Series]
    data: Mapping[str, str]
    samples: Sequence[Mapping[str, str]]
    provenance: Mapping[str, str]


def view(run: Run) -> RunView:
    """Everything of a run that a page shows."""
    try:
        records = list(timed(metrics.read(run.paths.metrics)))
    except OSError:
        records = []
    return view_of(run, status.read(run.paths.status), records)


def view_of(run: Run, current: Status | None, records: Sequence[Record]) -> RunView:
    """The same of a run that stands like this, with these timed records."""
    return RunView(
        name=run.name,
        state=current.state.value if current else "unknown",
        reason=reason(current),
        facts=facts(run, current, records),
        results=results(records),
        settings=_settings(run.plan.get("config")),
        curves=curves(records),
        data={key.replace("_", " "): _text(value) for key, value in _mapping(run.paths.data).items()},
        samples=samples(run),
        provenance=_provenance(run),
    )


def facts(run: Run, current: Status | None, records: Sequence[Record]) -> dict[str, str]:
    """Lines of a card; what there is nothing of is left out."""
    if current is None:
        return {"saved to": str(run.paths.root)}
    lines = {
        "saved to": str(run.paths.root),
        "step": f"{current.step:,} of {current.total_steps:,}",
        "saved at step": f"{current.saved_step:,}" if current.saved_step else "",
        "trained on": f"{count(current.tokens)} tokens",
        "cost": f"{clock(current.seconds)} of {run.ranks} process{'es' * (run.ranks != 1)}",
        "speed": _speed(records),
        "peak memory": _memory(records),
        "restarts": str(current.restarts or ""),
        "model": _text(run.setting("model")),
        "strategy": _text(run.setting("parallel")),
    }
    return {name: text for name, text in lines.items() if text}


def reason(current: Status | None) -> str:
    """Why it stands so, as far as that is known."""
    return "" if current is None else current.reason or current.cause.value


def _speed(records: Sequence[Record]) -> str:
    """All tokens over all seconds."""
    last = next((record for record in reversed(records) if "train/seconds" in record), None)
    return f"{last['tokens'] / last['seconds']:,.0f} tokens/s" if last and last["seconds"] else ""


def _memory(records: Sequence[Record]) -> str:
    peaks = [record["memory/peak_gib"] for record in records if is_number(record.get("memory/peak_gib"))]
    expected = [record["memory/expected_gib"] for record in records if is_number(record.get("memory/expected_gib"))]
    measured = f"{max(peaks):.2f} GiB" if peaks else ""
    return f"{measured}, {expected[-1]:.2f} GiB were planned" if measured and expected else measured


def results(records: Sequence[Record]) -> dict[str, float]:
    """The last value of everything that evaluations measured."""
    values: dict[str, float] = {}
    for record in records:
        values |= {key: value for key, value in record.items() if key.startswith("evaluation/") and is_number(value)}
    return {key.removeprefix("evaluation/"): value for key, value in values.items()}


def _settings(config: Any) -> dict[str, str]:
    return {key: _text(value) for key, value in leaves(config)} if isinstance(config, Mapping) else {}


def curves(records: Sequence[Record]) -> dict[str, Series]:
    """Every number of timed records that is drawn, in at most `MOST_POINTS` points."""
    keys = dict.fromkeys(key for record in records for key in record if key not in _NOT_DRAWN)
    return {key: curve for key in keys if (curve := _curve(records, key)).steps}


def _curve(records: Sequence[Record], key: str) -> Series:
    having = [record for record in records if is_number(record.get(key))]
    return series([having[i] for i in spread_out(len(having), MOST_POINTS)], key)


def samples(run: Run) -> list[dict[str, str]]:
    """Answers of the last evaluation."""
    try:
        records = files.read_records(run.paths.samples)[:MOST_SAMPLES]
    except OSError:
        return []
    return [{key: _text(value) for key, value in record.items()} for record in records]


def _provenance(run: Run) -> dict[str, str]:
    recorded = provenance.read(run.paths.provenance)
    if recorded is None:
        return {}
    edits = ", with the edits in code.diff" if recorded.dirty else ""
    return {
        "command": recorded.command,
        "commit": f"{recorded.commit}{edits}" if recorded.commit else "unknown",
        "started": f"{recorded.time} on {recorded.host} by {recorded.user}",
        "Python": recorded.python,
        **recorded.packages,
    }


def _mapping(path: Any) -> dict[str, Any]:
    try:
        record = files.read_json(path)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
