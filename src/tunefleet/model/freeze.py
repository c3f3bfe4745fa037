"""Freezing weights: those whose names match a pattern."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase

from transformers import PreTrainedModel

from tunefleet.base.errors import ConfigError


def freeze(model: PreTrainedModel, patterns: tuple[str, ...]) -> None:
    """Freezes every weight whose name matches one of the shell `patterns`; a tied weight has two names.

    Raises `ConfigError` for a pattern that matches nothing, and where no weight would be trainable.
    """
    weights = dict(model.named_parameters(remove_duplicate=False))
    unknown = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in weights)]
    if unknown:
        raise ConfigError(*(_matches_nothing(pattern, list(weights)) for pattern in unknown))
    for name, weight in weights.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            weight.requires_grad_(False)
    if not any(weight.requires_grad for weight in weights.values()):
        raise ConfigError(
            f"model.freeze: {', '.join(patterns)} freezes every weight, and none is trainable. Name fewer."
        )


def _matches_nothing(pattern: str, names: list[str]) -> str:
    similar = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4) or names[:3]
    return f"model.freeze: {pattern} matches no weight. Names are such as {', '.join(similar)}."
