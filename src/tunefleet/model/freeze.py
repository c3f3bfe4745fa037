"""Freezing weights: those whose names match a pattern, or all others."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase

from torch.nn import Parameter
from transformers import PreTrainedModel

from tunefleet.base.errors import ConfigError


def freeze(model: PreTrainedModel, patterns: tuple[str, ...]) -> None:
    """Freezes every weight whose name matches one of the shell `patterns`; a tied weight has two names.

    Raises `ConfigError` for a pattern that matches nothing, and where no weight would be trainable.
    """
    weights = _weights(model, patterns, "model.freeze")
    for name, weight in weights.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            weight.requires_grad_(False)
    if not any(weight.requires_grad for weight in weights.values()):
        raise ConfigError(
            f"model.freeze: {', '.join(patterns)} freezes every weight, and none is trainable. Name fewer."
        )


def train_only(model: PreTrainedModel, patterns: tuple[str, ...]) -> None:
    """Freezes every weight but those of which a name matches one of the shell `patterns`.

    Raises `ConfigError` for a pattern that matches nothing.
    """
    weights = _weights(model, patterns, "model.train_only")
    model.requires_grad_(False)
    for name, weight in weights.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            weight.requires_grad_(True)


def _weights(model: PreTrainedModel, patterns: tuple[str, ...], setting: str) -> dict[str, Parameter]:
    """The weights by every name that they have."""
    weights = dict(model.named_parameters(remove_duplicate=False))
    unknown = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in weights)]
    if unknown:
        raise ConfigError(*(f"{setting}: {_matches_nothing(pattern, list(weights))}" for pattern in unknown))
    return weights


def _matches_nothing(pattern: str, names: list[str]) -> str:
    similar = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4) or names[:3]
    return f"{pattern} matches no weight. Names are such as {', '.join(similar)}."
