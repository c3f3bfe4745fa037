"""Rules of data: settings that cannot work, as far as that can be told without reading a row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from string import Formatter

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.cleaning import CleanConfig
from tunefleet.config.data import COLUMNS, DataConfig, Format, MixedSource, SourceConfig
from tunefleet.config.suggest import did_you_mean
from tunefleet.plan.paths import data_files

_PLACES = {"instruction": {"source", "text", "labels"}, "instruction_back": {"target"}}


def complaints(config: RunConfig) -> list[str]:
    """One complaint for each setting of `data` that cannot work."""
    return of_data(config.data)


def unprepared(config: RunConfig) -> str | None:
    """The one complaint about an experiment whose data are not on this machine yet; None where they are."""
    path = config.data.path
    if not config.experiment.prepare or path is None or not data_files.is_local(path) or Path(path).exists():
        return None
    return f"data.path: {path} is not there yet. {config.experiment.prepare}"


def of_data(data: DataConfig) -> list[str]:
    """The same for these settings."""
    if data.mix and data.path:
        return ["data.mix: data.path is set too. Leave out one of them: data.path=null, or data.mix=[]."]
    complaints = _cleaning(data.clean)
    complaints += [complaint for i, source in enumerate(data.mix) for complaint in _source(f"data.mix[{i}]", source)]
    complaints += [*_shares(data.mix), *_beside_mix(data)] if data.mix else _source("data", data)
    complaints += _share(data)
    complaints += _beside(data, "validation", data.validation_path, data.validation_target_path, data.validation_split)
    return complaints + _beside(data, "test", data.test_path, data.test_target_path, data.test_split)


def _cleaning(clean: CleanConfig) -> list[str]:
    complaints = []
    for key in ("keep", "drop"):
        try:
            re.compile(getattr(clean, key) or "")
        except (re.error, RecursionError, OverflowError, MemoryError) as error:
            complaints.append(f"data.clean.{key}: {getattr(clean, key)!r} is no regular expression: {error}.")
    if clean.max_characters and clean.min_characters > clean.max_characters:
        complaints.append(
            f"data.clean: min_characters={clean.min_characters} is more than max_characters={clean.max_characters}, "
            "so nothing would be left."
        )
    return complaints


def _source(prefix: str, source: SourceConfig) -> list[str]:
    return [
        *_path(f"{prefix}.path", source),
        *(f"{prefix}.{key}: {path} is not a file on this machine." for key, path in _files(source) if _absent(path)),
        *_columns(f"{prefix}.columns", source),
        *(c for key, names in _PLACES.items() for c in _places(f"{prefix}.{key}", getattr(source, key), names)),
        *_labels(prefix, source),
        *_instruction_format(prefix, source),
    ]


def _path(prefix: str, source: SourceConfig) -> list[str]:
    if source.path is None:
        return [f"{prefix}: not set. Give the file of training rows: {prefix}=FILE."]
    if source.path == data_files.DEMO or data_files.hub_name(source.path):
        return []
    if not data_files.is_local(source.path):
        return [f"{prefix}: {source.path} is no name of the hub. Allowed: hub:OWNER/NAME, hub:OWNER/NAME/FILE."]
    try:
        data_files.files_of(source)
    except ConfigError as error:
        return [f"{prefix}: {complaint}" for complaint in error.complaints]
    return []


def _files(source: SourceConfig) -> list[tuple[str, str | None]]:
    return [("target_path", source.target_path), ("label_file", source.label_file)]


def _absent(path: str | None) -> bool:
    return path is not None and not Path(path).is_file()


def _columns(prefix: str, source: SourceConfig) -> list[str]:
    columns = set().union(*COLUMNS.values()) if source.format is Format.AUTO else COLUMNS[source.format]
    return [
        f"{prefix}.{name}: no column of {source.format.value} rows.{did_you_mean(name, sorted(columns))}"
        for name in source.columns
        if name not in columns
    ]


def _places(prefix: str, instruction: str | None, placeholders: Iterable[str]) -> list[str]:
    if instruction is None:
        return []
    allowed = " ".join(f"{{{name}}}" for name in sorted(placeholders))
    try:
        used = {name for _, name, _, _ in Formatter().parse(instruction) if name is not None}
    except ValueError as error:
        return [f"{prefix}: {instruction!r}: {error}. A brace that is meant as such is doubled."]
    wrong = used - set(placeholders)
    return [f"{prefix}: {instruction!r} asks for {sorted(wrong)}. Known: {allowed}."] if wrong or not used else []


def _labels(prefix: str, source: SourceConfig) -> list[str]:
    is_given_twice = source.label_names and source.label_file
    return [f"{prefix}.label_file: label_names is set too. Leave out one of them."] if is_given_twice else []


def _instruction_format(prefix: str, source: SourceConfig) -> list[str]:
    if source.format in (Format.AUTO, Format.PARALLEL, Format.LABELLED) or not source.instruction:
        return []
    return [
        f"{prefix}.instruction: is for parallel and labelled rows, not for {source.format.value} rows. Leave it out."
    ]


def _shares(mix: tuple[MixedSource, ...]) -> list[str]:
    complaints = [
        f"data.mix[{i}].epochs: weight is set too. A weight says how many rows are drawn; leave out one of them."
        for i, source in enumerate(mix)
        if source.weight and source.epochs
    ]
    without = [i for i, source in enumerate(mix) if source.weight is None]
    if 0 < len(without) < len(mix):
        complaints.append(f"data.mix[{without[0]}].weight: not set. Give every source a weight, or none.")
    return complaints


def _beside_mix(data: DataConfig) -> list[str]:
    """Settings of a source that no source reads: those of a mixture have their own, validation rows the data's."""
    of_training = {"path", "target_path", "max_rows", "license"}
    reads = {f.name for f in fields(SourceConfig)} - of_training if data.validation_path else set()
    changed = [f.name for f in fields(SourceConfig) if getattr(data, f.name) != getattr(_DEFAULT, f.name)]
    return [
        f"data.{name}: is not read where data.mix is set. Set it for the sources that need it: data.mix[0].{name}=..."
        for name in changed
        if name not in reads
    ]


_DEFAULT = SourceConfig()


def _share(data: DataConfig) -> Iterator[str]:
    """A share is one way to have validation rows, and there is one."""
    if data.validation_share is None:
        return
    if data.path == data_files.DEMO:
        yield "data.validation_share: the demo makes its validation rows itself. Set data.validation_rows."
    for key in ("validation_path", "validation_split"):
        if getattr(data, key):
            yield f"data.validation_share: data.{key} has the validation rows. Leave out one of them."
    if data.validation_rows not in (0, DataConfig().validation_rows):
        yield "data.validation_share: data.validation_rows is set too. Leave out one of them."


def _beside(data: DataConfig, name: str, path: str | None, target: str | None, split: str | None) -> list[str]:
    """Of the settings `validation_...` or `test_...`."""
    complaints = [f"data.{name}_target_path: {target} is not a file on this machine."] if _absent(target) else []
    if data.mix and not path and split:
        complaints.append(f"data.{name}_split: goes with data.{name}_path where data.mix is set.")
    if data.target_path and not path and split:
        complaints.append(
            f"data.{name}_split: two files of lines have no splits. Give data.{name}_path and "
            f"data.{name}_target_path, or data.{name}_split=null."
        )
    return complaints + (_path(f"data.{name}_path", SourceConfig(path=path, split=split)) if path else [])
