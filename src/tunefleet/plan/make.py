"""Making the Plan: from a configuration and a machine to everything that needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tunefleet import __version__
from tunefleet.base.errors import ConfigError
from tunefleet.base.units import GIB
from tunefleet.config import RunConfig, profile_steps
from tunefleet.config.load import dump
from tunefleet.config.model import Attention
from tunefleet.plan import answers, precision, start_from
from tunefleet.plan.choose.auto import cluster_of, estimate, resolve
from tunefleet.plan.deepspeed.config import engine_config
from tunefleet.plan.estimate.pipeline_stages import boundaries
from tunefleet.plan.horizon import total_steps
from tunefleet.plan.naming import run_name
from tunefleet.plan.paths import data_files
from tunefleet.plan.paths.model_files import Sources, absolute, sources
from tunefleet.plan.plan import Expected, Plan
from tunefleet.plan.processes.batch import Batch, batch
from tunefleet.plan.processes.layout import Layout, given_processes, layout
from tunefleet.plan.processes.machine import Machine
from tunefleet.plan.processes.sbatch_options import job
from tunefleet.plan.processes.slurm_job import expected, promised
from tunefleet.plan.rules import all_rules, data_rules, secret_rules
from tunefleet.plan.rules.notes import notes
from tunefleet.plan.rules.optimizer_rules import takes_cpu_adam
from tunefleet.plan.rules.request import Request

T = TypeVar("T")


def make(config: RunConfig, machine: Machine, overrides: Sequence[str] = ()) -> Plan:
    """Decides the whole run that `overrides` ask for.

    Raises `ConfigError` with every complaint at once, or with the one that the data of an experiment are not there yet.
    """
    if complaint := data_rules.unprepared(config):
        raise ConfigError(complaint)
    machine, typed_precision = _machine(config, machine), config.train.precision
    complaints: list[str] = []
    gpu = _collect(lambda: cluster_of(config, machine).gpu, complaints) if machine.gpus else None
    typed = precision.resolved(_absolute(config), machine, gpu)
    config, start_notes = _collect(lambda: start_from.applied(typed), complaints) or (typed, ())
    slurm_job = _collect(lambda: job(config.launch), complaints) if expected(config.launch) else None
    degrees = _collect(lambda: layout(config.parallel, config.launch, machine), complaints)
    model = _collect(lambda: sources(config.model, config.data.tokenizer), complaints)
    choice_notes: tuple[str, ...] = ()
    if degrees and model and not complaints:
        config, choice_notes = _resolved(config, degrees, model, machine, complaints)
    split = _split(config, degrees, complaints)
    architecture, processes = model.architecture if model else None, given_processes(config.launch, machine)
    complaints += all_rules.complaints(Request(config, degrees, architecture, processes, machine.launcher))
    complaints = complaints or secret_rules.in_overrides(overrides)
    if complaints or not (degrees and model and split):
        raise ConfigError(*complaints)
    config = answers.resolved(config, degrees, _parameters(model))
    plan = _plan(config, degrees, model, split, machine)
    _expect_profiled_steps(plan)
    all_notes = (*start_notes, *choice_notes, *precision.notes(typed_precision, machine, gpu), *plan.notes)
    expectation = _expected(plan, machine)
    return replace(plan, job=slurm_job, overrides=tuple(overrides), notes=all_notes, expected=expectation)


def _expect_profiled_steps(plan: Plan) -> None:
    """Raises `ConfigError` where the run does not have them, as far as its length is known before its data are."""
    text, total = plan.config.train.profile, total_steps(plan, None)
    if text and total and (complaint := profile_steps.outside(text, total)):
        raise ConfigError(complaint)


def _split(config: RunConfig, degrees: Layout | None, complaints: list[str]) -> Batch | None:
    """How the rows of a step are split; None where that cannot be, or `auto` was not resolved."""
    if degrees is None or not config.train.micro_batch:
        return None
    return _collect(lambda: batch(config.train, degrees.data_parallel), complaints)


def _machine(config: RunConfig, machine: Machine) -> Machine:
    """What the run will be on: the machines of a job are taken to be like this one."""
    if not expected(config.launch):
        return machine
    return replace(promised(config.launch), compiler=machine.compiler, fast_bf16=machine.fast_bf16)


def _plan(config: RunConfig, degrees: Layout, model: Sources, split: Batch, machine: Machine) -> Plan:
    cpu_adam = takes_cpu_adam(config, machine)
    identity = _identity(config, split, cpu_adam)
    name = run_name(config, identity)
    return Plan(
        name=name,
        run_dir=str(Path(config.output_dir).expanduser().resolve() / name),
        identity=identity,
        config=config,
        layout=degrees,
        batch=split,
        sources=model,
        parameters=_parameters(model),
        threads=config.train.threads or max(1, machine.cores // degrees.processes_here),
        engine=engine_config(config.parallel, config.train, split, degrees, _hidden(model)),
        notes=notes(config, degrees, model, split, cpu_adam),
        version=__version__,
        stages=boundaries(model.architecture, config.parallel.pipeline, config.parallel.partition),
        cpu_adam=cpu_adam,
        trajectory=_trajectory(config, split, cpu_adam),
    )


def _resolved(
    config: RunConfig, degrees: Layout, model: Sources, machine: Machine, complaints: list[str]
) -> tuple[RunConfig, tuple[str, ...]]:
    """`config` without `auto`; with it, where that fails."""
    return _collect(lambda: resolve(config, degrees, model.architecture, machine), complaints) or (config, ())


def _collect(decide: Callable[[], T], complaints: list[str]) -> T | None:
    try:
        return decide()
    except ConfigError as error:
        complaints += error.complaints
        return None


def _absolute(config: RunConfig) -> RunConfig:
    """Paths as ranks see them, wherever they are started."""
    data, model = config.data, config.model
    data = replace(data_files.absolute(data), tokenizer=absolute(data.tokenizer))
    model = replace(model, path=absolute(model.path), tokenizer=absolute(model.tokenizer))
    return replace(config, data=data, model=model)


def _identity(config: RunConfig, split: Batch, cpu_adam: bool) -> str:
    return _hash(_deciding(config, split, cpu_adam))


def _trajectory(config: RunConfig, split: Batch, cpu_adam: bool) -> str:
    """Of `parallel` only what rounds: other strategies add the same numbers in another order."""
    values = _deciding(config, split, cpu_adam)
    values["parallel"] = [config.parallel.quantized_weights, config.parallel.quantized_gradients]
    return _hash(values)


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _deciding(config: RunConfig, split: Batch, cpu_adam: bool) -> dict[str, Any]:
    """What changes the weights: not where it runs, how it is watched, or how often it is saved.

    The rows of a step count, and not their split: any number of processes may resume a run.
    """
    sections = ("data", "model", "adapter", "parallel", "optimizer", "schedule", "train")
    values: dict[str, Any] = {name: dump(getattr(config, name)) for name in sections}
    for setting in ("cache", "max_truncated", "max_unfilled", "workers", "test_path", "test_target_path", "test_split"):
        values["data"].pop(setting)
    for setting in ("threads", "micro_batch", "on_oom", "on_non_finite", "skip_budget", "check_replicas"):
        values["train"].pop(setting)
    for setting in ("callbacks", "profile"):
        values["train"].pop(setting)
    if config.train.spike_sigma is None:
        for setting in ("spike_sigma", "spike_window", "on_spike"):
            values["train"].pop(setting)
    if config.data.validation_share is None:
        values["data"].pop("validation_share")  # as before there was such a setting, and so below
    if config.train.neftune is None:
        values["train"].pop("neftune")
    for setting in ("special_tokens", "new_tokens"):
        if not getattr(config.model, setting):
            values["model"].pop(setting)
    if not config.model.train_only:
        values["model"].pop("train_only")
    if config.adapter.lr_ratio_b == 1:
        values["adapter"].pop("lr_ratio_b")
    if config.train.start_from is None:
        values["train"].pop("start_from")  # as before there was such a setting
    if config.train.early_stopping.patience is None:
        values["train"].pop("early_stopping")  # the same; with it other weights are the last
    for setting in ("nvme_path", "nvme_buffers", "nvme_buffer_size"):
        values["parallel"].pop(setting)
    for source in (values["data"], *values["data"]["mix"]):
        source.pop("license")
        if source["own_format"] is None:
            source.pop("own_format")
    values["adapter"].pop("merge")
    if config.model.attention is Attention.AUTO:
        values["model"].pop("attention")  # as before there was such a setting
    values["model"].pop("allow_pickle")  # the digests of the files tell what was read
    values["train"]["global_batch"] = split.total
    values["optimizer"]["cpu_kernel"] = cpu_adam
    return values


def _expected(plan: Plan, machine: Machine) -> Expected | None:
    try:
        cluster = cluster_of(plan.config, machine)
        forecast = estimate(plan.config, plan.layout, plan.sources.architecture, cluster)
    except ValueError:
        return None
    return Expected(forecast.memory.measurable_bytes / GIB, forecast.speed.tokens_per_second)


def _hidden(model: Sources) -> int | None:
    """The model's hidden size; None for a family that is not counted."""
    try:
        return model.architecture.dimensions.hidden
    except ValueError:
        return None


def _parameters(model: Sources) -> int | None:
    try:
        return model.architecture.parameters.total
    except ValueError:
        return None  # a family that we cannot count yet: the model itself will say
