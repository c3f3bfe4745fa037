"""What does every test find: a tokenizer that always exists."""

from __future__ import annotations

from typing import Any

import pytest

from tests.shared import tiny_tokenizer


@pytest.fixture
def tokenizer() -> Any:
    """A tiny byte-level BPE, new for each test."""
    return tiny_tokenizer()
