"""What can follow on the command line: commands, options, groups, choices, keys, values, runs and sweeps; for Tab.

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
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--resolve": (),
    "--package": (),
    "--config-dir": (),
    "--config-path": (),
    "--config-name": (),
}
_OF_CONFIGS = ("--config-dir", "--config-path", "--config-name")  # the options that every command with overrides takes
_FOLDERS = ("--config-dir", "-cd", "--config-path", "-cp", "--to", "--outputs", "--html")
_FILE_KEYS = ("path", "file", "dir", "cache", "template", "tokenizer", "machine", "python")


def print_for(line: str) -> None:
    """Prints one candidate a line for the last word of `line`, which begins with a program's name."""
    for candidate in sorted(set(candidates(line))):
        print(candidate)


def candidates(line: str) -> Iterator[str]:
    """The words that the last word of `line` can become."""
    words = _split(line)
    while words and not _is_program(words[0]):
        words.pop(0)  # python, -m
    if len(words) < 2:
        return
    program, *before, word = words
    found = _of_training(before, word) if Path(program).name == "train.py" else _of_commands(before, word)
    yield from (candidate for candidate in found if candidate.startswith(word))


def _is_program(word: str) -> bool:
    return Path(word).name in ("tunefleet", "train.py")


def _split(line: str) -> list[str]:
    """The words so far; the last is empty where the line ends with a space."""
    words, quote = [""], ""
    for character in line:
        if quote:
            quote = "" if character == quote else quote
            words[-1] += character if quote else ""
        elif character in "'\"":
            quote = character
        elif not character.isspace():
            words[-1] += character
        elif words[-1]:
            words.append("")
    return words


# The command `tunefleet`


def _of_commands(before: list[str], word: str) -> Iterator[str]:
    from tunefleet.doors.cli import options_of

    outputs = "outputs"
    if before[:1] == ["--outputs"]:
        outputs, before = (before[1:2] or [outputs])[0], before[2:]
    command, *rest = before or [""]
    if command == "train":
        yield from _of_training(rest, word)
        return
    if command == "data" and rest:
        command, *rest = f"data {rest[0]}", *rest[1:]
    known = options_of(command)
    last = rest[-1] if rest else ""
    if isinstance(known.get(last), (list, tuple)):
        yield from known[last]
    elif last in _FOLDERS:
        yield from _files(word)
    elif word.startswith("-"):
        yield from (option for option in known if option.startswith("--"))
        yield from _OF_CONFIGS if "overrides" in known else ()
    else:
        yield from _positional(known, rest, word, Path(outputs))


def _positional(known: dict[str, Any], rest: list[str], word: str, outputs: Path) -> Iterator[str]:
    yield from () if rest else known.get("words", ())
    if "run" in known or "runs" in known:
        yield from _runs(outputs, with_sweeps="runs" in known, word=word)
    if "overrides" in known:
        yield from _overrides(rest, word)
    if "filters" in known:  # of `tunefleet ls`
        yield from _keys(word)
        yield from (f"{key[:-1]}=" for key in _keys(word) if key.endswith("."))


def _runs(outputs: Path, with_sweeps: bool, word: str) -> Iterator[str]:
    """Names of runs and sweeps; directories where the word is a path."""
    if "/" in word:
        yield from _files(word)
    folders = _entries(outputs)
    yield from (entry.name for entry in folders if os.path.exists(os.path.join(entry.path, "plan.json")))
    if with_sweeps:
        yield from (entry.name for entry in _entries(outputs / "sweeps"))


# Training


def _of_training(before: Sequence[str], word: str) -> Iterator[str]:
    last = before[-1] if before else ""
    if last in _FOLDERS:
        yield from _files(word)
    elif last in ("--config-name", "-cn"):
        yield from (path.stem for folder in _search_path(before) for path in folder.glob("*.yaml"))
    elif _OPTIONS.get(last):
        yield from _OPTIONS[last]
    elif word.startswith("-"):
        yield from _OPTIONS
    else:
        yield from _overrides(before, word)


def _overrides(before: Sequence[str], word: str) -> Iterator[str]:
    signs = word[: len(word) - len(word.lstrip("+~"))]
    key, equals, value = word[len(signs) :].partition("=")
    folders = _search_path(before)
    if not equals:
        yield from (f"{signs}{group}=" for group in groups(folders))
        yield from ("hydra.searchpath=",) if key.startswith("hydra") else ()
        yield from (f"{signs}{name}" for name in _keys(key))
        return
    done = value[: value.rfind(",") + 1]  # of a sweep only the last value is completed
    found = choices(folders, key) if key in groups(folders) else _values(key, value[len(done) :])
    yield from (f"{signs}{key}={done}{name}" for name in found)


def _search_path(before: Sequence[str]) -> list[Path]:
    """The folders that Hydra would search after these words, without its own."""
    added = [text for option in ("--config-dir", "-cd", "--config-path", "-cp") for text in _values_of(before, option)]
    search = [word.partition("=")[2].strip("[]") for word in before if word.startswith("hydra.searchpath=")]
    added += [part.strip().removeprefix("file://") for text in search for part in text.split(",")]
    return [folder for folder in (CONF, Path("conf"), *map(Path, added)) if folder.is_dir()]


def _values_of(before: Sequence[str], option: str) -> Iterator[str]:
    for word, following in zip(before, [*before, ""][1:], strict=True):
        if word == option:
            yield following
        elif word.startswith(f"{option}="):
            yield word.partition("=")[2]


def groups(folders: Iterable[Path], below: str = "") -> list[str]:
    """Every config group of these folders that has a choice: `model`, `experiment`, `experiment/ablation`."""
    folders = list(folders)
    names = {entry.name for folder in folders for entry in _entries(folder / below) if entry.is_dir()}
    found = [f"{below}/{name}".lstrip("/") for name in sorted(names) if below or name not in _NO_GROUPS]
    inner = [group for name in found for group in groups(folders, name)]
    return [name for name in found if choices(folders, name)] + inner


def choices(folders: Iterable[Path], group: str) -> list[str]:
    """The choices of a group; those of folders below it as `folder/choice`."""
    folders = list(folders)
    here = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
    inner = {entry.name for folder in folders for entry in _entries(folder / group) if entry.is_dir()}
    below = [f"{name}/{choice}" for name in inner - set(_NO_GROUPS) for choice in choices(folders, f"{group}/{name}")]
    return sorted(here) + sorted(below)


def _keys(word: str) -> Iterator[str]:
    """Keys of settings one level below `word`: `optimizer.` first, then `optimizer.lr=`."""
    from tunefleet.config import RunConfig
    from tunefleet.config.suggest import every_key

    where = word[: word.rfind(".") + 1]
    known = every_key(RunConfig)
    for key in known:
        inner = key.removeprefix(where)
        if key.startswith(where) and "." not in inner:
            yield f"{key}." if any(other.startswith(f"{key}.") for other in known) else f"{key}="


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
    yield from declared.metadata.get("words", {}) if declared else ()
    if key.rpartition(".")[2].endswith(_FILE_KEYS):
        yield from _files(typed)


def _field(key: str) -> tuple[Any, Any]:
    from tunefleet.config import RunConfig

    kind: Any = RunConfig
    declared = None
    for part in key.split("."):
        known = {field.name: field for field in fields(kind)} if hasattr(kind, "__dataclass_fields__") else {}
        if part not in known:
            return Any, None
        kind, declared = typing.get_type_hints(kind)[part], known[part]
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
