"""Completion for Tab: commands, options, groups, choices, keys, values, runs and sweeps.

Each Tab is a process of its own, so nothing of Hydra is imported here (its import alone takes 0.35 s of computing).
Groups and choices are the folders and files of Hydra's search path; tests/doors/test_completion.py compares them with
what Hydra's own repository answers.
"""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

CONF = (Path(__file__).parents[1] / "conf").resolve()
_NO_GROUPS = ("hydra", "local", "__pycache__")
_OPTIONS = {
    "--help": (),
    "--hydra-help": (),
    "--version": (),
    "--multirun": (),
    "--dry-run": (),
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--resolve": (),
    "--package": (),
    "--config-dir": (),
    "--config-path": (),
    "--config-name": (),
}
_OF_CONFIGS = ("--config-dir", "--config-path", "--config-name")  # the options that every command with overrides takes
_FOLDERS = (
    "--config-dir",
    "-cd",
    "--config-path",
    "-cp",
    "--to",
    "--outputs",
    "--html",
    "--api-key-file",
    "--tensorflow",
    "--tensorflow-python",
)
_FILE_KEYS = ("path", "file", "dir", "cache", "template", "tokenizer", "machine", "python")


def print_for(line: str) -> None:
    """Prints one candidate a line for the last argument of `line`, which begins with a program's name."""
    for candidate in sorted(set(candidates(line))):
        print(candidate)


def candidates(line: str) -> Iterator[str]:
    """What the last argument of `line` can become."""
    typed = _split(line)
    while typed and not _is_program(typed[0]):
        typed.pop(0)  # python, -m
    if len(typed) < 2:
        return
    program, *earlier, current = typed
    complete = _of_training if Path(program).name == "train.py" else _of_commands
    yield from (candidate for candidate in complete(earlier, current) if candidate.startswith(current))


def _is_program(argument: str) -> bool:
    return Path(argument).name in ("tunefleet", "train.py")


def _split(line: str) -> list[str]:
    """The arguments so far; the last is empty where the line ends with a space."""
    typed, quote = [""], ""
    for character in line:
        if quote:
            quote = "" if character == quote else quote
            typed[-1] += character if quote else ""
        elif character in "'\"":
            quote = character
        elif not character.isspace():
            typed[-1] += character
        elif typed[-1]:
            typed.append("")
    return typed


# The command `tunefleet`


def _of_commands(earlier: list[str], current: str) -> Iterator[str]:
    from tunefleet.doors.command_table import GROUPS, options_of

    outputs = "outputs"
    if earlier[:1] == ["--outputs"]:
        outputs, earlier = (earlier[1:2] or [outputs])[0], earlier[2:]
    command, *remaining = earlier or [""]
    if command == "train":
        yield from _of_training(remaining, current)
        return
    if command in GROUPS and remaining:
        command, *remaining = f"{command} {remaining[0]}", *remaining[1:]
    options = options_of(command)
    previous = remaining[-1] if remaining else ""
    if isinstance(options.get(previous), (list, tuple)):
        yield from options[previous]
    elif previous in _FOLDERS:
        yield from _files(current)
    elif current.startswith("-"):
        yield from (option for option in options if option.startswith("--"))
        yield from _OF_CONFIGS if "overrides" in options else ()
    else:
        yield from _positional(options, remaining, current, Path(outputs))


def _positional(options: dict[str, Any], remaining: list[str], current: str, outputs: Path) -> Iterator[str]:
    yield from () if remaining else options.get("words", ())
    yield from _files(current) if "folder" in options and not remaining else ()
    if "run" in options or "runs" in options:
        yield from _runs(outputs, with_sweeps="runs" in options, prefix=current)
    if "sweep" in options and not remaining:
        yield from (entry.name for entry in _entries(outputs / "sweeps"))
    if "overrides" in options or "settings" in options:
        yield from _overrides(remaining, current)
    if "filters" in options:  # of `tunefleet ls`
        yield from _keys(current)
        yield from (f"{key[:-1]}=" for key in _keys(current) if key.endswith("."))


def _runs(outputs: Path, with_sweeps: bool, prefix: str) -> Iterator[str]:
    """Names of runs and sweeps; directories where the prefix is a path."""
    if "/" in prefix:
        yield from _files(prefix)
    folders = _entries(outputs)
    yield from (entry.name for entry in folders if os.path.exists(os.path.join(entry.path, "plan.json")))
    if with_sweeps:
        yield from (entry.name for entry in _entries(outputs / "sweeps"))


# Training


def _of_training(earlier: Sequence[str], current: str) -> Iterator[str]:
    previous = earlier[-1] if earlier else ""
    if previous in _FOLDERS:
        yield from _files(current)
    elif previous in ("--config-name", "-cn"):
        yield from (path.stem for folder in search_path(earlier) for path in folder.glob("*.yaml"))
    elif _OPTIONS.get(previous):
        yield from _OPTIONS[previous]
    elif current.startswith("-"):
        yield from _OPTIONS
    else:
        yield from _overrides(earlier, current)


def _overrides(earlier: Sequence[str], current: str) -> Iterator[str]:
    signs = current[: len(current) - len(current.lstrip("+~"))]
    key, equals, value = current[len(signs) :].partition("=")
    folders = search_path(earlier)
    if not equals:
        yield from (f"{signs}{group}=" for group in groups(folders))
        yield from ("hydra.searchpath=",) if key.startswith("hydra") else ()
        yield from (f"{signs}{name}" for name in _keys(key))
        return
    done = value[: value.rfind(",") + 1]  # of a sweep only the last value is completed
    names = choices(folders, key) if key in groups(folders) else _values(key, value[len(done) :])
    yield from (f"{signs}{key}={done}{name}" for name in names)


def search_path(earlier: Sequence[str]) -> list[Path]:
    """The folders that Hydra would search after these arguments, without its own."""
    added = [text for option in ("--config-dir", "-cd", "--config-path", "-cp") for text in _values_of(earlier, option)]
    search = [
        argument.partition("=")[2].strip("[]") for argument in earlier if argument.startswith("hydra.searchpath=")
    ]
    added += [part.strip().removeprefix("file://") for text in search for part in text.split(",")]
    return [folder for folder in (CONF, Path("conf"), *map(Path, added)) if folder.is_dir()]


def _values_of(earlier: Sequence[str], option: str) -> Iterator[str]:
    for argument, following in zip(earlier, [*earlier, ""][1:], strict=True):
        if argument == option:
            yield following
        elif argument.startswith(f"{option}="):
            yield argument.partition("=")[2]


def groups(folders: Iterable[Path], below: str = "") -> list[str]:
    """Every config group of these folders that has a choice: `model`, `experiment`, `experiment/ablation`."""
    folders = list(folders)
    names = {entry.name for folder in folders for entry in _entries(folder / below) if entry.is_dir()}
    names_of_groups = [f"{below}/{name}".lstrip("/") for name in sorted(names) if below or name not in _NO_GROUPS]
    inner = [group for name in names_of_groups for group in groups(folders, name)]
    return [name for name in names_of_groups if choices(folders, name)] + inner


def choices(folders: Iterable[Path], group: str) -> list[str]:
    """The choices of a group; those of folders below it as `folder/choice`."""
    folders = list(folders)
    names = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
    inner = {entry.name for folder in folders for entry in _entries(folder / group) if entry.is_dir()}
    below = [f"{name}/{choice}" for name in inner - set(_NO_GROUPS) for choice in choices(folders, f"{group}/{name}")]
    return sorted(names) + sorted(below)


def _keys(prefix: str) -> Iterator[str]:
    """Keys of settings one level below `prefix`: `optimizer.` first, then `optimizer.lr=`."""
    from tunefleet.config import RunConfig
    from tunefleet.config.suggest import every_key

    parent = prefix[: prefix.rfind(".") + 1]
    keys = every_key(RunConfig)
    for key in keys:
        inner = key.removeprefix(parent)
        if key.startswith(parent) and "." not in inner:
            yield f"{key}." if any(longer.startswith(f"{key}.") for longer in keys) else f"{key}="


def _values(key: str, typed: str) -> Iterator[str]:
    """The values of a setting where it has names for them; files where it is a path."""
    kind, declared = _field(key)
    members = [member for member in typing.get_args(kind) if isinstance(kind, types.UnionType)] or [kind]
    for member in members:
        if member is type(None):
            yield "null"
        elif member is bool:
            yield from ("true", "false")
        elif isinstance(member, type) and issubclass(member, Enum):
            yield from (str(item.value) for item in member)
    yield from declared.metadata.get("named", {}) if declared else ()
    if key.rpartition(".")[2].endswith(_FILE_KEYS):
        yield from _files(typed)


def _field(key: str) -> tuple[Any, Any]:
    from tunefleet.config import RunConfig

    kind: Any = RunConfig
    declared = None
    for part in key.split("."):
        declared_fields = {field.name: field for field in fields(kind)} if hasattr(kind, "__dataclass_fields__") else {}
        if part not in declared_fields:
            return Any, None
        kind, declared = typing.get_type_hints(kind)[part], declared_fields[part]
    return kind, declared


def _files(typed: str) -> Iterator[str]:
    head = typed[: typed.rfind("/") + 1]
    for entry in _entries(Path(os.path.expanduser(head) or ".")):
        yield f"{head}{entry.name}/" if entry.is_dir() else f"{head}{entry.name}"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return []
