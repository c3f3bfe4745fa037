"""What is measured besides the training loss, and how often."""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.base.units import Duration
from tunefleet.config.fields import ranged

ALL = -1  # `all`: every row


@dataclass(frozen=True)
class EvaluationConfig:
    """Validation loss, exact match by greedy generation, and samples."""

    every: Duration | None = None
    """Optimizer steps between evaluations; null evaluates only at the end."""
    max_rows: int | None = ranged(None, at_least=1)
    """Validation rows of each split that enter the loss, drawn evenly over it; null is all."""
    batch: int = ranged(8, at_least=1)
    """Rows of one forward pass."""
    generate_rows: int = ranged(0, at_least=0, words={"all": ALL})
    """Conversations of each split that are answered by greedy generation at the end, drawn evenly over it, or `all`."""
    generate_batch: int = ranged(64, at_least=1)
    """Conversations answered at once."""
    max_new_tokens: int = ranged(128, at_least=1)
    """Longest answer in tokens."""
    samples: int = ranged(5, at_least=0)
    """Answers shown at the end of a run."""
