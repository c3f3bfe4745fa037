"""Tool: another trainer's table of options, what it does unsaid, and what it reads together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefleet.imports.draft import Draft
from tunefleet.imports.option import Options

Values = Mapping[str, Any]
"""The options of a file of theirs."""


@dataclass(frozen=True)
class Source:
    """A file of theirs, and what the user adds: processes (None where the file says it), the folder of their data."""

    path: Path
    processes: int | None = None
    dataset_folder: Path | None = None
    machine_processes: int | None = None
    """Processes where neither the file nor the user says any."""


@dataclass(frozen=True)
class Tool:
    """`markers` are options that only a file of this tool has; `gather` settles what takes several options."""

    name: str
    title: str
    options: Options
    markers: frozenset[str]
    gather: Callable[[Values, Draft, Source], None]
    nested: Mapping[str, Options]
    """Tables of the options inside of an option, for documents."""
