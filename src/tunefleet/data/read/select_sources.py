"""Sources that a configuration names: those to train on, and those to validate with."""

from __future__ import annotations

from tunefleet.config.data import DataConfig, SourceConfig
from tunefleet.data.read.sources import Source
from tunefleet.plan.paths import data_files, validation_splits


def training(config: DataConfig) -> list[Source]:
    """The source to train on, or those of the mixture."""
    if not config.mix:
        return [Source("train", config)]
    return [Source(name, source) for name, source in zip(validation_splits.mixed(config), config.mix, strict=True)]


def validation(config: DataConfig) -> list[Source]:
    """The sources to validate with; none where rows of the training sources are held out."""
    if config.path == data_files.DEMO:
        return [
            Source(split, SourceConfig(path=data_files.DEMO, split=split, max_rows=config.validation_rows))
            for split in validation_splits.DEMO
        ]
    named = data_files.validation(config)
    return [Source("validation", named)] if named else []
