"""Request: a run that is asked for, as far as it is decided, as the rules see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunefleet.config import RunConfig
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.processes.layout import Layout


@dataclass(frozen=True)
class Request:
    """A run that is asked for. Where `layout` or `architecture` is None, the rules that need it are silent.

    `given_processes` are those that are there whatever the degrees; None is any number. `launcher` is who has started
    them already; empty where we do.
    """

    config: RunConfig
    layout: Layout | None = None
    architecture: Architecture | None = None
    given_processes: int | None = None
    launcher: str = ""


Rule = Callable[[Request], Sequence[str]]
"""The complaints about a run that is asked for: what cannot work, each with the nearest setting that can."""


def on_config(rule: Callable[[RunConfig], Sequence[str]]) -> Rule:
    """A rule that looks at the settings alone."""
    return lambda request: rule(request.config)


def on_layout(rule: Callable[[RunConfig, Layout], Sequence[str]]) -> Rule:
    """A rule that looks at the settings and at the processes with their device."""
    return lambda request: rule(request.config, request.layout) if request.layout else ()


def on_model(rule: Callable[[RunConfig, Architecture], Sequence[str]]) -> Rule:
    """A rule that looks at the settings and at the model's config.json."""
    return lambda request: rule(request.config, request.architecture) if request.architecture else ()
