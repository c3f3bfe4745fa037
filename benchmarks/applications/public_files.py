"""Public files: where the raw files of a public data set lie on this machine, and how to get those that do not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tunefleet.base.errors import DataError

VARIABLE = "TUNEFLEET_PUBLIC_DATA"
"""The variable of the environment that names the folder of public data sets, where --raw does not."""


@dataclass(frozen=True)
class PublicSet:
    """A public data set: the name of its folder, and what to type to get it."""

    name: str
    source: str
    """Such as `git clone https://github.com/clinc/oos-eval`."""
    licence: str
    inner: str = "."
    """The folder of its files inside of what `source` gets."""


def raw_folder(option: str | None) -> Path:
    """The folder of public data sets: the option --raw, else the variable, else `data`."""
    return Path(option or os.environ.get(VARIABLE) or "data")


def files(raw: Path, public: PublicSet, pattern: str) -> list[Path]:
    """What matches `pattern` in `raw/NAME`, in what a clone has inside, or in `raw` itself; sorted.

    Raises `DataError` with where to get them.
    """
    for folder in (raw / public.name, raw / public.name / public.inner, raw):
        if matches := sorted(folder.glob(pattern)):
            return matches
    raise DataError(
        f"{raw / public.name / pattern}: no such file. Get it with `{public.source}` "
        f"and name the folder above {public.name} by --raw or {VARIABLE}."
    )
