"""What does every test find: its turn, the environment as it was before the last one, and a tokenizer."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.shared import tiny_tokenizer

_LONG = ("stories", "equivalence", "engine", "cluster", "faults", "doors", "checkpoint", "runs", "launch", "model")
"""Folders of long files, which start processes."""


def pytest_configure() -> None:
    """Under nohup SIGHUP is ignored, in a shell's background SIGINT, and so they would be in all that tests start."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: what is left for the end is short, so that all workers of `make test` end together."""
    items.sort(key=lambda item: _turn(item.path))


def _turn(path: Path) -> int:
    folder = path.relative_to(Path(__file__).parent).parts[0]
    return _LONG.index(folder) if folder in _LONG else len(_LONG)


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """Our doors set variables for the libraries that they import; jobs of later tests would inherit them."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def tokenizer() -> Any:
    """A tiny byte-level BPE, new for each test."""
    return tiny_tokenizer()
