"""Project files: those that git tracks, or the known folders where there is no git; never a file of secrets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tunefleet.base import files, secrets
from tunefleet.base.errors import RunError
from tunefleet.launch import git

PACKAGE = Path("src/tunefleet")
_PARTS = ("src", "conf", "sweeps", "train.py")
_SETTINGS = ("conf", "sweeps")
_LOCAL = Path("conf/local")
_TRACKED = "--cached"
_UNTRACKED = ("--others", "--exclude-standard")
_INSTALLED = Path(__file__).parents[1]
IMPORTED_FROM = _INSTALLED.parent
"""What PYTHONPATH needs for this code: `src` of a clone, or where the package was installed."""
ROOT = IMPORTED_FROM.parent if (IMPORTED_FROM.parent / PACKAGE).is_dir() else IMPORTED_FROM
"""The clone that this code runs from; without one, where the package was installed."""
UNTRACKED_BYTES = 50_000_000
_SHOWN = 3


def sources(repository: Path, store: Path, untracked: Sequence[str] = ()) -> dict[Path, Path]:
    """{name in the project: file}, without what lies in `store`, or is made to hold secrets. A file may be deleted.

    With git: what it tracks; what it does not and `untracked`, git's patterns of paths, asks for; and the project's own
    settings (`conf`, `sweeps`), tracked or not, for the last act of a job may submit others. Without: `src`, `conf`,
    `sweeps` and `train.py`, or the installed package alone. Raises `RunError` where untracked files are too large to
    be code.
    """
    tracked = _listed(repository, _TRACKED)
    if not any(name.is_relative_to(PACKAGE) for name in tracked):  # no git, or one around an installed package
        return {name: path for name, path in _by_hand(repository) if not secrets.is_secret_file(name.name)}
    extra = [*_untracked(repository, untracked), *_own_settings(repository)]
    root, store = repository.resolve(), store.resolve()
    names = [name for name in [*tracked, *extra] if not (root / name).is_relative_to(store)]
    names = [name for name in names if not secrets.is_secret_file(name.name)]
    _expect_small(repository, set(names).difference(tracked))
    return {name: repository / name for name in names}


def left_out(repository: Path, untracked: Sequence[str] = ()) -> list[Path]:
    """Code below `src` that git does not track, and that no snapshot holds therefore; `untracked` as for `sources`."""
    unknown = [name for name in _listed(repository, *_UNTRACKED, "--", "src") if name.suffix == ".py"]
    return sorted(set(unknown).difference(_untracked(repository, untracked)))


def _untracked(repository: Path, patterns: Sequence[str]) -> list[Path]:
    return _listed(repository, *_UNTRACKED, "--", *patterns) if patterns else []


def _own_settings(repository: Path) -> list[Path]:
    """Settings that git does not track, or ignores as this cluster's own; none that hold a secret."""
    names = [name for name in _listed(repository, *_UNTRACKED, "--", *_SETTINGS) if name.suffix == ".yaml"]
    names += [path.relative_to(repository) for path in (repository / _LOCAL).glob("*.yaml")]
    return [name for name in names if _holds_no_secret(repository / name)]


def _holds_no_secret(path: Path) -> bool:
    text = files.read_text(path, "replace") if path.is_file() else ""
    return secrets.redacted(text) == text


def _listed(folder: Path, *options: str) -> list[Path]:
    """What git lists, with the files of repositories inside this one (submodules)."""
    answer = (git.output(folder, "ls-files", "-z", *options) or b"").split(b"\0")
    names = [Path(os.fsdecode(name)) for name in answer if name]
    nested = [name for name in names if (folder / name / ".git").exists()]
    return names + [name / inner for name in nested for inner in _listed(folder / name, *_inside(options))]


def _inside(options: Sequence[str]) -> Sequence[str]:
    """The options in a repository inside this one, all of whose files are meant where it is itself."""
    return options if _TRACKED in options else (_TRACKED, *_UNTRACKED)


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
        f"{repository}: files that git does not track are too large for a snapshot of the code: "
        f"{_megabytes(sum(sizes.values()))}, above all {', '.join(f'{n} ({_megabytes(sizes[n])})' for n in largest)}. "
        "Name them in .gitignore, ask for fewer in launch.snapshot_untracked, or train without a snapshot: "
        "launch.snapshot=false."
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
