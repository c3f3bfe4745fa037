"""Licences: what the base model and each source of training rows may be used for, as its user or its card states it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from tunefleet.base import files
from tunefleet.base.text import in_one_line
from tunefleet.config.data import MixedSource, SourceConfig
from tunefleet.plan.paths.data_files import DEMO, hub_name
from tunefleet.plan.plan import Plan

_CARD = "README.md"
_OF_DEMO = "apache-2.0"  # this project makes its rows
_LONGEST = 100  # letters


def of_base(plan: Plan) -> str:
    """The licence of the model that the training started from; empty where its card states none."""
    return _of_card(Path(plan.sources.weights) / _CARD) if plan.sources.weights is not None else ""


def of_data(plan: Plan) -> Mapping[str, str]:
    """The licence of each source of training rows by its name; empty where nobody states one."""
    config = plan.config.data
    sources: list[SourceConfig] = list(config.mix) or [config]
    names = [_name(source) for source in sources]
    numbered = [name if name not in names[:n] else f"{name} ({n + 1})" for n, name in enumerate(names)]
    stated = [in_one_line(source.license or "")[:_LONGEST] or _of_source(source) for source in sources]
    return dict(zip(numbered, stated, strict=True))


def hub_data(plan: Plan) -> list[str]:
    """The data sets of the hub among the sources, `OWNER/NAME`."""
    config = plan.config.data
    named = [hub_name(str(source.path)) for source in (config.mix or (config,))]
    return list(dict.fromkeys(hub.name for hub in named if hub))


def _name(source: SourceConfig) -> str:
    """No path: a card is for others to read."""
    label = source.name if isinstance(source, MixedSource) else None
    return label or Path(str(source.path)).name


def _of_source(source: SourceConfig) -> str:
    """The licence in the card of a data set of the hub, where it is on this machine."""
    if source.path == DEMO:
        return _OF_DEMO
    hub = hub_name(str(source.path))
    if hub is None:
        return ""
    from huggingface_hub import try_to_load_from_cache

    card = try_to_load_from_cache(hub.name, _CARD, repo_type="dataset", revision=hub.revision)
    return _of_card(Path(card)) if isinstance(card, str) else ""


def _of_card(path: Path) -> str:
    """The `license` in front of a card of the hub: a name, or several."""
    try:
        text = files.read_bytes(path).decode("utf-8")
        fields = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else {}
    except (OSError, ValueError, IndexError, yaml.YAMLError):
        return ""
    stated = fields.get("license") if isinstance(fields, Mapping) else None
    names = stated if isinstance(stated, list) else [stated]
    return in_one_line(", ".join(name for name in names if isinstance(name, str)))[:_LONGEST]
