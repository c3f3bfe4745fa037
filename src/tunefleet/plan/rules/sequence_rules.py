"""Rules of sequence parallelism: what it cannot be combined with, and which models can be split so."""

from __future__ import annotations

from tunefleet.config import RunConfig
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.sequence import refusal
from tunefleet.plan.rules.request import Request


def with_pipeline(config: RunConfig) -> list[str]:
    """Stages pass whole sequences on."""
    degree, stages = config.parallel.sequence, config.parallel.pipeline
    if degree == 1 or stages == 1:
        return []
    return [
        f"parallel.sequence: {degree} cannot be combined with parallel.pipeline={stages}. "
        "Use parallel.pipeline=1, or parallel.sequence=1."
    ]


def model(request: Request) -> list[str]:
    """The sequences of the model can be split, and the degree divides its heads."""
    config, architecture = request.config, request.architecture
    if config.parallel.sequence == 1 or architecture is None:
        return []
    if reason := refusal(architecture, config.train.sequence_length):
        return [
            f"parallel.sequence: sequences of {config.model.name} cannot be split: it is of the family "
            f"{architecture.model_type}, and {reason}. Use parallel.sequence=1."
        ]
    return _heads(config, architecture, request.given_processes or 0)


def _heads(config: RunConfig, architecture: Architecture, processes: int) -> list[str]:
    """Each rank computes attention of some heads; `processes` (0 is any number) are there already."""
    degree, name = config.parallel.sequence, config.model.name
    heads = architecture.config.get(architecture.family.keys.heads)
    if not isinstance(heads, int):
        return [f"parallel.sequence: the config.json of {name} does not say how many heads it has."]
    if heads % degree == 0:
        return []
    legal = [number for number in range(1, heads + 1) if heads % number == 0 == processes % number]
    lower, upper = max(n for n in legal if n < degree), min((n for n in legal if n > degree), default=None)
    nearest = f"{lower} or {upper}" if upper else f"{lower}"
    return [
        f"parallel.sequence: {degree} does not divide the {heads} attention heads of {name}. "
        f"Use parallel.sequence={nearest}."
    ]
