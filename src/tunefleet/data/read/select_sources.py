"""Sources that a configuration names: those to train on, and those to validate with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tunefleet.config.data import DataConfig, SourceConfig
from tunefleet.data.demo.generate import SPLITS
from tunefleet.data.read.sources import Source
from tunefleet.plan.paths import data_files


def training(config: DataConfig) -> list[Source]:
    """The source to train on, or those of the mixture."""
    if not config.mix:
        return [Source("train", config)]
    return [Source(name, source) for name, source in zip(names(config), config.mix, strict=True)]


def validation(config: DataConfig) -> list[Source]:
    """The sources to validate with; none where rows of the training sources are held out."""
    if config.path == data_files.DEMO:
        held_out = [split for split in SPLITS if split != "train"]
        return [
            Source(s, SourceConfig(path=data_files.DEMO, split=s, max_rows=config.validation_rows)) for s in held_out
        ]
    named = data_files.validation(config)
    return [Source("validation", named)] if named else []


def names(config: DataConfig) -> Sequence[str]:
    """A name for each source of a mixture: its own, else from its path; none twice, and none is `train`."""
    names: list[str] = []
    for number, source in enumerate(config.mix, 1):
        name = re.sub(r"[^\w.-]+", "_", source.name or Path(str(source.path)).name.split(".")[0]).strip("_.")
        names.append(f"{name}_{number}".strip("_") if name in ("", "train", *names) else name)
    return names
