"""Own code: functions and classes of a user's project, by name, imported only where the user's settings file allows it.

A configuration names code and runs none by itself: it may be somebody else's. The file is in the user's home, so no
configuration and no project comes with it.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import tomllib
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from tunefleet.base import files, ownership
from tunefleet.base.errors import UserError

KEY = "allow_code"
SETTINGS = "TUNEFLEET_SETTINGS"
"""The variable that names another settings file."""
_NAME = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<object>[A-Za-z_]\w*)")


class OwnCodeError(UserError):
    """Code that is named wrongly, is not allowed, or cannot be imported."""


def settings_file() -> Path:
    """Where a user says what is allowed on this machine: `settings.toml` of the folder `tunefleet` for settings."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(os.environ.get(SETTINGS) or folder / "tunefleet" / "settings.toml")


def object_name(name: str) -> str:
    """`rouge_zh` of `my_project.metrics:rouge_zh`."""
    return name.partition(":")[2]


def complaint(name: str) -> str:
    """Why the code of this name cannot be used here, with the next move; empty where it can. Imports nothing."""
    try:
        file_of(name)
    except OwnCodeError as error:
        return str(error)
    return ""


def file_of(name: str) -> Path:
    """The file of the module of `module:name`. Raises `OwnCodeError`, where it is not allowed too. Imports nothing."""
    match = _NAME.fullmatch(name)
    if not match:
        raise OwnCodeError(f"{name!r} is not allowed. Allowed: MODULE:NAME, such as my_project.metrics:rouge_zh.")
    _expect_allowed(match["module"])
    path = _located(match["module"])
    if path is None:
        raise OwnCodeError(f"{name}: there is no module {match['module']} here, nor among the installed ones.")
    return path


def load(name: str) -> Any:
    """The object of `module:name`. Raises `OwnCodeError`."""
    path = file_of(name)
    module_name, _, attribute = name.partition(":")
    folder = str(path.parents[module_name.count(".") + (path.name == "__init__.py")])
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        raise OwnCodeError(f"{name}: its module cannot be imported: {type(error).__name__}: {error}.") from error
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise OwnCodeError(f"{name}: {module_name} is imported from {module.__file__}, not from {path}. Rename yours.")
    if not callable(value := getattr(module, attribute, None)):
        raise OwnCodeError(f"{name}: {path} has no function or class {attribute}.")
    return value


def _expect_allowed(module: str) -> None:
    path = settings_file()
    if reason := ownership.complaint(path):
        raise OwnCodeError(f"{reason}.")
    allowed = _allowed(path)
    if not any(module == name or module.startswith(f"{name}.") for name in allowed):
        package = module.partition(".")[0]
        line = f"{KEY} = {[*allowed, package]!r}".replace("'", '"')
        raise OwnCodeError(f"{module} is not allowed to run. If it is yours, write into {path}: {line}")


def _allowed(path: Path) -> list[str]:
    try:
        names = tomllib.loads(files.read_text(path)).get(KEY, [])
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise OwnCodeError(f"{path}: cannot be read: {error}.") from None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise OwnCodeError(f'{path}: {KEY} is a list of modules, such as {KEY} = ["my_project"].')
    return names


def _located(module: str) -> Path | None:
    """The file of a module, found as Python finds it, but without importing the packages above it."""
    folders: list[str] | None = [*sys.path, os.getcwd()]
    spec = None
    for end in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:end])
        spec = PathFinder.find_spec(name, folders) if folders else None
        if spec is None:
            return None
        folders = list(spec.submodule_search_locations or [])
    return Path(spec.origin) if spec and spec.origin and spec.has_location else None
