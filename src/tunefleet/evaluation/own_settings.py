"""Own settings: a model generates by what it is told, and by nothing of its generation_config.json."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import GenerationConfig


@contextmanager
def own_settings(model: Any) -> Iterator[None]:
    """Within it nothing of the model's file counts, such as a repetition penalty (plan/paths/generation_file.py)."""
    model_settings = getattr(model, "generation_config", None)
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = model_settings
