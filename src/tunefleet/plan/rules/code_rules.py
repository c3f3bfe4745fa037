"""Rules of own code: what a configuration names of it is allowed by this user, and there."""

from __future__ import annotations

from collections.abc import Iterator

from tunefleet.base import own_code
from tunefleet.config import RunConfig
from tunefleet.plan.paths import code_names, validation_splits


def complaints(config: RunConfig) -> list[str]:
    """About names of code, with the line that allows them."""
    return [*_names(config), *_measures(config)]


def _names(config: RunConfig) -> Iterator[str]:
    for key, name in code_names.named(config):
        if reason := own_code.complaint(name):
            yield f"{key}: {reason}"


def _measures(config: RunConfig) -> Iterator[str]:
    measures = [*validation_splits.OF_ROWS, *validation_splits.OF_ANSWERS, "answers", "threshold"]
    for name in config.evaluation.own_metrics:
        value = own_code.object_name(name)
        if value in measures:
            yield f"evaluation.own_metrics: {name} would be another {value}. Give the function another name."
        measures.append(value)
