"""Evaluation mode of a model: no dropout, no recomputing of activations; its mode returns afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Within, nothing in `model` (a torch module) drops out; afterwards every module has its mode from before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
