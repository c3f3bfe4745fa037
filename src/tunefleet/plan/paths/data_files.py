"""Data files of a path: the demo, a data set of the hub, or files of this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from glob import escape, glob, has_magic
from pathlib import Path
from typing import Any

from tunefleet.base.errors import ConfigError
from tunefleet.config.data import SUFFIXES, DataConfig, FileType, SourceConfig

DEMO = "demo"
TEMPLATES = Path(__file__).parents[2] / "data" / "templates"
_HUB = re.compile(r"hub:(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<file>.+))?")
_CARDS = ("dataset_info.json", "state.json", "dataset_dict.json")  # what `Dataset.save_to_disk` writes beside the rows


@dataclass(frozen=True)
class HubName:
    """A data set of the hub, or one file of it: `hub:OWNER/NAME`, `@REVISION` and `/FILE` where they are wanted."""

    name: str
    revision: str | None
    file: str | None


def hub_name(path: str) -> HubName | None:
    """What `hub:...` names; None for any other path."""
    match = _HUB.fullmatch(path)
    return HubName(match["name"], match["revision"], match["file"]) if match else None


def is_local(path: str) -> bool:
    """Whether `path` stands for files of this machine."""
    return path != DEMO and not path.startswith("hub:")


def suffix(path: Path) -> str:
    """The end of a file's name that says how it holds rows, without `.gz`."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix


def files_of(source: SourceConfig) -> list[Path]:
    """The files of `source.path`, sorted. Raises `ConfigError` where there are none, or no way to read them together.

    A folder is the files in it whose names say how they hold rows; `split` may name a folder in it.
    """
    path = Path(str(source.path))
    if path.is_file():
        return [path]
    if path.is_dir():
        return _in_folder(path / source.split if has_split_folder(source) and source.split else path, source.file_type)
    files = sorted({Path(name) for name in _matches(str(path)) if Path(name).is_file()})
    if not files:
        raise ConfigError(_no_file_message(str(path)))
    return files


def _matches(pattern: str) -> list[str]:
    """What a glob matches, `**` for folders below; a folder that links lead to again is looked into once."""
    parts = pattern.split(os.sep)
    if "**" not in parts:
        return glob(pattern)
    index = parts.index("**")
    root, inner = os.sep.join(parts[:index]), parts[index + 1 :] or ["*"]
    roots = glob(root) if has_magic(root) else [root or (os.sep if index else os.curdir)]
    folders = [folder for start in roots for folder in _folders(start)]
    return [name for folder in folders for name in _matches(os.path.join(escape(folder), *inner))]


def _folders(root: str) -> Iterator[str]:
    """A folder and those below it, each once."""
    visited: set[tuple[int, int]] = set()
    for folder, names, _ in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in visited:
            names.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield folder


def has_split_folder(source: SourceConfig) -> bool:
    """Whether `source.split` is a folder in the folder `source.path`."""
    return bool(source.split) and (Path(str(source.path)) / str(source.split)).is_dir()


def _no_file_message(path: str) -> str:
    if has_magic(path):
        return f"no file matches {path}."
    if Path(path).is_absolute() or Path(path).suffix or path.startswith("."):
        return f"{path} is no file, folder or glob on this machine."
    return (
        f"{path} is no file, folder or glob on this machine. "
        f"A data set of the Hugging Face hub is written hub:OWNER/NAME, such as hub:{path}."
    )


def _in_folder(folder: Path, file_type: FileType) -> list[Path]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != "." and p.name not in _CARDS)
    if file_type is not FileType.AUTO:
        return files
    files = [path for path in files if suffix(path) in SUFFIXES]
    kinds = sorted({suffix(path) for path in files})
    if len({SUFFIXES[kind] for kind in kinds}) > 1:
        listed = ", ".join(kinds)
        raise ConfigError(f"{folder} holds files of several kinds ({listed}). Give a glob: {folder}/*{kinds[0]}.")
    if not files:
        raise ConfigError(f"{folder} holds no file that ends in {', '.join(SUFFIXES)} (or these with .gz).")
    return files


def sources(data: DataConfig) -> list[SourceConfig]:
    """Everything that rows are read from: to train on, to validate with, and to test on."""
    return [*(data.mix or (data,)), *filter(None, (validation(data), test(data)))]


def validation(data: DataConfig) -> SourceConfig | None:
    """The source of validation rows; None where they are held out from the training rows."""
    return _beside(data, data.validation_path, data.validation_target_path, data.validation_split)


def test(data: DataConfig) -> SourceConfig | None:
    """The source of test rows; None where there are none."""
    return _beside(data, data.test_path, data.test_target_path, data.test_split)


def _beside(data: DataConfig, path: str | None, target_path: str | None, split: str | None) -> SourceConfig | None:
    """All rows of another file, or of another split, read as those to train on are."""
    if not path and not split:
        return None
    return replace(data, path=path or data.path, target_path=target_path, split=split or data.split, max_rows=None)


def local_files(source: SourceConfig) -> list[Path]:
    """Every file of this machine that `source` reads, as far as it is there."""
    targets_and_labels = [Path(path) for path in (source.target_path, source.label_file) if path]
    return [*_rows_of(source), *(path for path in targets_and_labels if path.exists())]


def _rows_of(source: SourceConfig) -> list[Path]:
    if not source.path or not is_local(source.path):
        return []
    try:
        return files_of(source)
    except ConfigError:
        return []


def template_file(name: str) -> Path | None:
    """The Jinja file of `data.template`: a built-in one, or the user's; None for `auto` and for what is no file."""
    if name == "auto":
        return None
    built_in = TEMPLATES / f"{name}.jinja"
    path = built_in if built_in.is_file() else Path(name).expanduser()
    return path if path.is_file() else None


def absolute(data: DataConfig) -> DataConfig:
    """Paths as ranks see them, wherever they are started."""
    keys = ("path", "target_path", "label_file")
    mix = tuple(replace(source, **_resolved(source, keys)) for source in data.mix)
    template = template_file(data.template)
    if template and template.parent != TEMPLATES:
        data = replace(data, template=str(template.resolve()))
    return replace(
        data,
        mix=mix,
        **_resolved(
            data, (*keys, "validation_path", "validation_target_path", "test_path", "test_target_path", "cache")
        ),
    )


def _resolved(config: Any, keys: Iterable[str]) -> dict[str, Any]:
    values = {key: getattr(config, key) for key in keys}
    return {key: str(Path(value).expanduser().resolve()) for key, value in values.items() if value and is_local(value)}
