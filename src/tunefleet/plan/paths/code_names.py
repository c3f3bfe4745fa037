"""Code names: which settings name code of the user's own, and where its files are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunefleet.base import own_code
from tunefleet.config import RunConfig


def named(config: RunConfig) -> Iterator[tuple[str, str]]:
    """(setting, `module:name`) of everything that a run would import."""
    lists = {
        "tracking.own_trackers": config.tracking.own_trackers,
        "evaluation.own_metrics": config.evaluation.own_metrics,
        "train.callbacks": config.train.callbacks,
    }
    yield from ((key, name) for key, names in lists.items() for name in names)
    sources = {"data": config.data, **{f"data.mix[{i}]": source for i, source in enumerate(config.data.mix)}}
    yield from ((f"{key}.own_format", source.own_format) for key, source in sources.items() if source.own_format)


def files(config: RunConfig) -> Iterator[tuple[str, Path]]:
    """(module, its file), whose digests are compared at every start. Raises `OwnCodeError`."""
    for _, name in named(config):
        yield name.partition(":")[0], own_code.file_of(name)
