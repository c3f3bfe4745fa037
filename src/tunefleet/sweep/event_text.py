"""Text of an event: the line that the console shows when it is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunefleet.sweep.journal import Event
from tunefleet.sweep.study import Study


def line(study: Study, event: Event, objectives: Sequence[str]) -> str:
    """What is shown of an event before it changes the study; empty for those that go without a line."""
    text = text_of(event, objectives)
    trial = study.trials.get(event.data.get("trial", 0))
    return f"trial {trial.number} [{trial.name}]: {text}" if trial and text else text


def text_of(event: Event, objectives: Sequence[str]) -> str:
    """What an event says, without the trial that it is about; empty for those that go without a text."""
    text = _TEXTS.get(event.kind)
    return text(event.data, objectives) if text else ""


def _score(data: Mapping[str, Any], objectives: Sequence[str]) -> str:
    spreads = data["spreads"] or [0.0] * len(data["means"])  # of a single seed there is none
    return ", ".join(
        f"{name} {mean:.4g}" + (f" ± {spread:.2g}" if spread else "")
        for name, mean, spread in zip(objectives, data["means"], spreads, strict=True)
    )


def _values(data: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in data["values"].items())


def _limits(limits: Mapping[str, Any]) -> str:
    """Limits as totals, and the values that keys of the space have now."""
    values = {**{key: value for key, value in limits.items() if key != "space"}, **limits.get("space", {})}
    return ", ".join(f"{key}={value}" for key, value in values.items())


Text = Callable[[Mapping[str, Any], Sequence[str]], str]
_TEXTS: Mapping[str, Text] = {
    "left_out": lambda data, objectives: f"left out [{_values(data)}]: {data['reason']}",
    "started": lambda data, objectives: "started" + (f" towards rung {data['rung']}" if data["rung"] else ""),
    "rung": lambda data, objectives: f"paused at rung {data['rung']}, {_score(data, objectives)}",
    "promoted": lambda data, objectives: f"goes on to rung {data['rung']}",
    "ending": lambda data, objectives: f"is asked to leave: {data['reason']}",
    "pruned": lambda data, objectives: f"pruned: {data['reason']}",
    "finished": lambda data, objectives: f"finished, {_score(data, objectives)}",
    "failed": lambda data, objectives: f"failed: {data['reason']}",
    "stopped": lambda data, objectives: f"stopped: {data['reason']}",
    "retried": lambda data, objectives: f"starts again by itself: {data['reason']}",
    "resumed": lambda data, objectives: "goes on",
    "pinned": lambda data, objectives: f"next [{_values(data)}]",
    "ignored": lambda data, objectives: f"nothing done: {data['reason']}",
    "extended": lambda data, objectives: f"extended: {_limits(data['limits'])}",
    "closed": lambda data, objectives: f"over: {data['reason']}",
}
