"""`tunefleet bundle`: one file to send about a run, whatever state its directory is in."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from tunefleet.base.paths import RunPaths
from tunefleet.launch import register, run_bundle

_PARTS = ("status.json", "metrics.jsonl", "logs")


def bundle(name: str, outputs: Path, to: Path | None) -> None:
    """Writes the file, in this folder unless `to` names another place, and prints what is inside.

    Raises `RunError` where there is no such run, or the file is there already.
    """
    paths = _run(name, outputs)
    target = to or _free(Path(f"{paths.root.name}-bundle.tar.gz"))
    contents = run_bundle.write(paths, target)
    print("\n".join(f"  {line}" for line in contents))
    size = target.stat().st_size
    print(f"{shlex.quote(os.path.relpath(target))}: {size:,} bytes, to be sent: no weights, no data, secrets read ***")


def _run(name: str, outputs: Path) -> RunPaths:
    """The run of that name, or a directory that has lost its plan."""
    for folder in (Path(name), outputs / name):
        with suppress(OSError, ValueError):  # longer than a name may be, or with a zero byte
            if name.strip() and any((folder / part).exists() for part in _PARTS):
                return RunPaths(folder.resolve())
    return register.only(name, outputs).paths


def _free(path: Path) -> Path:
    """The path, or with a number where it is there already."""
    stem, number = path.name.removesuffix(".tar.gz"), 1
    while os.path.lexists(path):
        number += 1
        path = path.with_name(f"{stem}-{number}.tar.gz")
    return path
