"""Makes the Plan: from a configuration and a machine to everything that needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tunefleet import __version__
from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.load import dump
from tunefleet.plan import adapters, checks, inputs, parameters
from tunefleet.plan.batch import Batch, batch
from tunefleet.plan.deepspeed import engine_config
from tunefleet.plan.job import expected, job, promised
from tunefleet.plan.layout import Layout, layout
from tunefleet.plan.machine import Machine
from tunefleet.plan.plan import Plan
from tunefleet.plan.sources import Sources, sources

T = TypeVar("T")


def make(config: RunConfig, machine: Machine, words: Sequence[str] = ()) -> Plan:
    """Decides the whole run that was asked for with `words`. Raises `ConfigError` with every complaint at once."""
    config = _absolute(config)
    complaints = checks.values(config)
    asked = _collect(lambda: job(config.launch), complaints) if expected(config.launch) else None
    machine = promised(config.launch) if expected(config.launch) else machine
    degrees = _collect(lambda: layout(config.parallel, config.launch, machine), complaints)
    found = _collect(lambda: sources(config.model, config.data.tokenizer), complaints)
    split = _collect(lambda: batch(config.train, degrees.data_parallel), complaints) if degrees else None
    if degrees:
        complaints += checks.device(config, degrees)
    if found:
        complaints += checks.architecture(config, found.architecture)
    if degrees and found:
        complaints += adapters.complaints(config, degrees.device, found.architecture)
    if complaints or not (degrees and found and split):
        raise ConfigError(*complaints)
    return replace(_plan(config, degrees, found, split, machine), job=asked, words=tuple(words))


def _plan(config: RunConfig, degrees: Layout, found: Sources, split: Batch, machine: Machine) -> Plan:
    identity = _identity(config, degrees, split)
    name = config.name or f"{config.data.name}_{config.model.name}_{config.parallel.name}-{identity[:8]}"
    return Plan(
        name=name,
        run_dir=str(Path(config.output_dir).expanduser().resolve() / name),
        identity=identity,
        config=config,
        layout=degrees,
        batch=split,
        sources=found,
        parameters=_parameters(found),
        threads=config.train.threads or max(1, machine.cores // degrees.processes_here),
        engine=engine_config(config.parallel, config.train, split),
        notes=checks.notes(config, degrees, found),
        version=__version__,
    )


def _collect(decide: Callable[[], T], complaints: list[str]) -> T | None:
    try:
        return decide()
    except ConfigError as error:
        complaints += error.complaints
        return None


def _absolute(config: RunConfig) -> RunConfig:
    """Paths of data as ranks see them, wherever they are started."""
    data = inputs.absolute(config.data)
    if Path(data.template).is_file():
        data = replace(data, template=str(Path(data.template).resolve()))
    return replace(config, data=data)


def _identity(config: RunConfig, degrees: Layout, split: Batch) -> str:
    """SHA-256 over what changes the weights: not where it runs, how it is watched, or how often it is saved."""
    sections = ("data", "model", "adapter", "parallel", "optimizer", "schedule", "train")
    values: dict[str, Any] = {name: dump(getattr(config, name)) for name in sections}
    for setting in ("cache", "max_truncated", "max_unfilled"):
        values["data"].pop(setting)
    values["train"].pop("threads")
    values["adapter"].pop("merge")
    values["batch"] = dump(split)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _parameters(found: Sources) -> int | None:
    try:
        return parameters.count(found.architecture).total
    except ValueError:
        return None  # a family that we cannot count yet: the model itself will say
