"""Metrics of answers: each a function of answers and references, by its name in `evaluation.metrics`."""
