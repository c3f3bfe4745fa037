"""`tunefleet tokenizer train`: a tokenizer for a model from scratch, of the rows that it will be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunefleet.base import text
from tunefleet.doors import compose
from tunefleet.libraries.heavy_imports import heavy_imports


def train(argv: Sequence[str], folder: Path, vocabulary: int, special_tokens: Sequence[str]) -> None:
    """Trains on what `train.py OVERRIDES` would train on, and prints what came of it.

    Raises `ConfigError`, `DataError` and `RunError` as `runs.tokenizer_training.train`.
    """
    config = compose.from_overrides(argv)
    with heavy_imports(models=False):
        from tunefleet.runs import tokenizer_training

    specials = tokenizer_training.SpecialTokens(more=tuple(special_tokens))
    print(text.listed(tokenizer_training.train(config.data, vocabulary, specials, folder)))
