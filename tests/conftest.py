"""What does every test find: the environment as it was before the last one, and a tokenizer that always exists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.shared import tiny_tokenizer


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
