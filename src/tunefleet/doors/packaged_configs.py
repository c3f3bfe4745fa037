"""Packages on the search path: the folder of `pkg://package.conf`, found without importing the package."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath

from tunefleet.doors.arguments import MAIN

_SCHEME = "pkg://"
_TRUSTED = (MAIN, f"{_SCHEME}hydra.conf")


def as_folders(path: ConfigSearchPath) -> None:
    """Puts folders in the place of packages: Hydra would import them, and so run their code, to read YAML beside it."""
    for element in path.get_path():
        if element.path.startswith(_SCHEME) and element.path not in _TRUSTED:
            element.path = folder_of(element.path)


def folder_of(package: str) -> str:
    """`file://FOLDER` of `pkg://name.name`; as it was where no such package is installed."""
    top, *inner = package.removeprefix(_SCHEME).replace("/", ".").strip(".").split(".")
    folders = [Path(package_folder, *inner) for package_folder in _package_folders(top)]
    folder = next((folder for folder in folders if folder.is_dir()), folders[0] if folders else None)
    return f"file://{folder}" if folder else package


def _package_folders(top: str) -> list[str]:
    """The folders of a package; a name without a dot is looked for without importing anything."""
    try:
        spec: ModuleSpec | None = find_spec(top)
    except (ImportError, ValueError):
        return []
    return list(spec.submodule_search_locations or ()) if spec else []
