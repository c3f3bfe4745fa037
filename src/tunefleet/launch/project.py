"""Project files: those that git lists, or the known folders where there is no git."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tunefleet.base.errors import RunError
from tunefleet.launch import git

PACKAGE = Path("src/tunefleet")
_PARTS = ("src", "conf", "sweeps", "train.py")
_LOCAL = Path("conf/local")
_INSTALLED = Path(__file__).parents[1]
IMPORTED_FROM = _INSTALLED.parent
"""What PYTHONPATH needs for this code: `src` of a clone, or where the package was installed."""
ROOT = IMPORTED_FROM.parent if (IMPORTED_FROM.parent / PACKAGE).is_dir() else IMPORTED_FROM
"""The clone that this code runs from; without one, where the package was installed."""
UNTRACKED_BYTES = 50_000_000
_SHOWN = 3


def sources(repository: Path, store: Path) -> dict[Path, Path]:
    """{name in the project: file}, without what lies in `store`. A file may be deleted, or a folder.

    With git: what it tracks or would offer to track, and this cluster's own settings, which it ignores: the last act of
    a job may submit others. Without: `src`, `conf`, `sweeps` and `train.py`, or the installed package alone.
    Raises `RunError` where untracked files are too large to be code.
    """
    names = _listed(repository, "--cached", "--others", "--exclude-standard")
    if not any(name.is_relative_to(PACKAGE) for name in names):  # no git, or a repository around an installed package
        return dict(_by_hand(repository))
    names += [path.relative_to(repository) for path in (repository / _LOCAL).glob("*.yaml")]
    root, store = repository.resolve(), store.resolve()
    outside = [name for name in names if not (root / name).is_relative_to(store)]
    tracked = set(_listed(repository, "--cached"))
    _expect_small(repository, [name for name in outside if name not in tracked])
    return {name: repository / name for name in outside}


def _listed(folder: Path, *options: str) -> list[Path]:
    """What git lists, with the files of repositories inside this one (submodules)."""
    answer = (git.output(folder, "ls-files", "-z", *options) or b"").split(b"\0")
    names = [Path(os.fsdecode(name)) for name in answer if name]
    nested = [name for name in names if (folder / name / ".git").exists()]
    return names + [name / inner for name in nested for inner in _listed(folder / name, *options)]


def _by_hand(repository: Path) -> Iterator[tuple[Path, Path]]:
    tops = {Path(part): repository / part for part in _PARTS}
    if not (repository / PACKAGE).is_dir():
        tops = {PACKAGE: _INSTALLED}
    for name, top in tops.items():
        for path in [top, *top.rglob("*")]:
            inner = path.relative_to(top)
            if "__pycache__" not in inner.parts:
                yield name / inner, path


def _expect_small(repository: Path, names: Iterable[Path]) -> None:
    """Weights or data that git neither tracks nor ignores would be copied again at each edit of the code."""
    sizes = {name: (repository / name).lstat().st_size for name in names if os.path.lexists(repository / name)}
    if sum(sizes.values()) <= UNTRACKED_BYTES:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_SHOWN]
    raise RunError(
        f"{repository}: files that git neither tracks nor ignores are too large for a snapshot of the code: "
        f"{_megabytes(sum(sizes.values()))}, above all {', '.join(f'{n} ({_megabytes(sizes[n])})' for n in largest)}. "
        "Name them in .gitignore, or train without a snapshot: launch.snapshot=false."
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
