"""Hugging Face hub: the files of a data set, from the cache, else fetched once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunefleet.base import progress
from tunefleet.base.errors import DataError
from tunefleet.config.data import SourceConfig
from tunefleet.data.read import tables
from tunefleet.data.read.source_row import RowOrError
from tunefleet.plan.paths.data_files import HubName


def files(name: HubName, source: SourceConfig) -> list[Path]:
    """The files of a split, or the one file that is named. Raises `DataError` with the command that fetches them."""
    return [_file(name)] if name.file else _split(name, source)


def is_slice(source: SourceConfig) -> bool:
    """Whether only a part of a split is meant, such as `train[:3]` or `train[80%:]`, which no file holds alone."""
    return "[" in (source.split or "")


def sliced(name: HubName, source: SourceConfig) -> Iterator[RowOrError]:
    """The rows of a part of a split, as `datasets` cuts it. Raises `DataError`."""
    split = _named_split(name, source)
    return tables.rows(f"hub:{name.name} {source.split}", split.data.table.to_batches(), split.features.arrow_schema)


def _file(name: HubName) -> Path:
    import huggingface_hub

    version: dict[str, Any] = {"repo_type": "dataset", "revision": name.revision}
    cached = huggingface_hub.try_to_load_from_cache(name.name, str(name.file), **version)
    if isinstance(cached, str):
        return Path(cached)
    try:
        return Path(huggingface_hub.hf_hub_download(name.name, str(name.file), **version))
    except Exception as error:  # no network, no such file, no permission: an own class each
        raise _missing(name, error) from None


def _split(name: HubName, source: SourceConfig) -> list[Path]:
    """What `datasets` keeps of the split, without asking the network whether there is something newer."""
    return [Path(file["filename"]) for file in _named_split(name, source).cache_files]


def _named_split(name: HubName, source: SourceConfig) -> Any:
    settings: dict[str, Any] = {"name": source.subset, "split": source.split or "train"}
    try:
        return _loaded(name, settings)
    except (ValueError, RuntimeError, AssertionError) as error:  # no such subset or split, no slice; a script in it
        raise DataError(f"hub:{name.name}: data.subset, data.split: {error}") from None


def _loaded(name: HubName, settings: dict[str, Any]) -> Any:
    import datasets

    try:
        with offline(), progress.during(f"hub:{name.name}: reading"):
            return datasets.load_dataset(name.name, revision=name.revision, trust_remote_code=False, **settings)
    except (OSError, ValueError, datasets.exceptions.DatasetsError):
        pass  # not there, or another subset of it alone: fetch it
    try:
        return datasets.load_dataset(name.name, revision=name.revision, trust_remote_code=False, **settings)
    except (OSError, datasets.exceptions.DatasetsError) as error:
        return _downloaded(name, settings, error)


def _downloaded(name: HubName, settings: dict[str, Any], load_error: Exception) -> Any:
    """What `hf download` put into the cache of the hub, which `datasets` does not look at."""
    import datasets
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            name.name, repo_type="dataset", revision=name.revision, local_files_only=True
        )
        return datasets.load_dataset(folder, trust_remote_code=False, **settings)
    except (OSError, datasets.exceptions.DatasetsError):
        raise _missing(name, load_error) from None


@contextmanager
def offline() -> Iterator[None]:
    """Nothing of `datasets` reaches for the network meanwhile."""
    import datasets
    import huggingface_hub

    switches: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    values = [switch.HF_HUB_OFFLINE for switch in switches]
    try:
        for switch in switches:
            switch.HF_HUB_OFFLINE = True
        yield
    finally:
        for switch, value in zip(switches, values, strict=True):
            switch.HF_HUB_OFFLINE = value


def _missing(name: HubName, error: Exception) -> DataError:
    arguments = [
        name.name,
        *([name.file] if name.file else []),
        *(["--revision", name.revision] if name.revision else []),
    ]
    reason = str(error).splitlines()[0].rstrip(".")
    return DataError(
        f"hub:{name.name} is not in the Hugging Face cache of this machine and cannot be fetched: {reason}. "
        f"Fetch it where there is a network: `hf download --repo-type dataset {' '.join(arguments)}`."
    )
