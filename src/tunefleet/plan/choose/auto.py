"""`auto`: the simplest strategy and the largest micro-batch that fit by the forecast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.fields import as_typed
from tunefleet.config.parallel import AUTO, ParallelConfig
from tunefleet.plan.choose.strategies import offered
from tunefleet.plan.estimate import gpus
from tunefleet.plan.estimate.forecast import Forecast, forecast
from tunefleet.plan.estimate.gpus import Cluster
from tunefleet.plan.estimate.spread import spread
from tunefleet.plan.estimate.work import work
from tunefleet.plan.families import by_document, lora_targets
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.processes.batch import batch
from tunefleet.plan.processes.layout import Layout
from tunefleet.plan.processes.machine import Machine
from tunefleet.plan.processes.slurm_job import expected

_OBEYED = ("name", "max_processes")  # the layout is made before there is a choice


def cluster_of(config: RunConfig, machine: Machine) -> Cluster:
    """What the run will be on, as far as it is known. Raises `ConfigError` where `plan.machine` names no machine."""
    if config.plan.machine and config.plan.machine != gpus.THIS_MACHINE:
        return gpus.cluster(config.plan.machine)
    if expected(config.launch) and not config.plan.machine:
        return Cluster("the machines of the job", config.launch.nodes, config.launch.gpus_per_node)
    return gpus.this_machine(machine)


def estimate(config: RunConfig, layout: Layout, architecture: Architecture, cluster: Cluster) -> Forecast:
    """The forecast of a run. Raises ValueError for a family that cannot be counted."""
    on_gpu = layout.device == "cuda"
    alone = by_document.applies(config.model.attention, architecture, on_gpu)
    masked = not (alone and by_document.without_mask(architecture, config.train.sequence_length))
    task = work(config, batch(config.train, layout.data_parallel), _trainable(config, architecture), masked)
    return forecast(architecture, spread(config.parallel, layout), task, cluster, on_gpu, layout.processes_here)


def _trainable(config: RunConfig, architecture: Architecture) -> int | None:
    """How many parameters are trainable, where an adapter freezes the others."""
    return lora_targets.lora_parameters(architecture, config.adapter) or None


def resolve(
    config: RunConfig, layout: Layout, architecture: Architecture, machine: Machine
) -> tuple[RunConfig, tuple[str, ...]]:
    """`config` without `auto`, and a note on the choice. Raises `ConfigError` where nothing fits, or is known."""
    setting = _auto_settings(config)
    if not setting:
        return config, ()
    _expect_unset(config.parallel)
    cluster = cluster_of(config, machine)
    try:
        choices = [
            (choice, estimate(choice, layout, architecture, cluster))
            for choice in _choices(config, layout, architecture)
        ]
    except ValueError as error:
        raise ConfigError(f"{setting}: the model's memory is not known: {error}. Choose yourself.") from None
    if not choices[0][1].is_known:
        raise ConfigError(f"{setting}: GPU memory of {cluster.name} is unknown; set plan.machine=8xH100-80G.")
    fitting = next((choice for choice in choices if choice[1].fits), None)
    if fitting is None and not config.plan.force:
        raise ConfigError(f"{setting}: nothing fits: with {_describe(*choices[-1])}. {nearest(choices[-1][1])}")
    choice = fitting or choices[-1]
    return choice[0], (f"{setting} chose {_describe(*choice)}.",)


def _expect_unset(parallel: ParallelConfig) -> None:
    """What `auto` chooses is a whole strategy: settings that are typed beside it would be dropped."""
    defaults = ParallelConfig(AUTO)
    names = [field.name for field in fields(ParallelConfig) if field.name not in _OBEYED]
    typed = [name for name in names if getattr(parallel, name) != getattr(defaults, name)]
    if parallel.name == AUTO and typed:
        settings, move = (
            " ".join(f"parallel.{name}={as_typed(getattr(values, name))}" for name in typed)
            for values in (parallel, defaults)
        )
        raise ConfigError(
            f"parallel: auto does not choose with {settings}. Use {move}, or choose the strategy yourself."
        )


def nearest(tried: Forecast) -> str:
    """What to do where no setting helps."""
    if all(shortfall.startswith("each host") for shortfall in tried.shortfalls) and tried.on_gpu:
        return "Use fewer processes on each host, or say what it has: host_memory in a YAML file (docs/planner.md)."
    return "Use more or larger GPUs, a smaller model, or a shorter train.sequence_length; plan.force=true tries it."


def _auto_settings(config: RunConfig) -> str:
    """The settings that say `auto`, as they are typed."""
    parallel = "parallel=auto" if config.parallel.name == AUTO else ""
    rows = "train.micro_batch=auto" if not config.train.micro_batch else ""
    return " and ".join(setting for setting in (parallel, rows) if setting)


def _describe(config: RunConfig, forecast: Forecast) -> str:
    return f"parallel={config.parallel.name} train.micro_batch={config.train.micro_batch}, {forecast.need}"


def _choices(config: RunConfig, layout: Layout, architecture: Architecture) -> Iterator[RunConfig]:
    """From the best to the most modest: strategies first, then micro-batches that divide the global batch."""
    for parallel in _strategies(config, layout, architecture):
        for rows in _micro_batches(config, layout):
            yield replace(config, parallel=parallel, train=replace(config.train, micro_batch=rows))


def _strategies(config: RunConfig, layout: Layout, architecture: Architecture) -> list[ParallelConfig]:
    if config.parallel.name != AUTO:
        return [config.parallel]
    return offered(config, layout, architecture)


def _micro_batches(config: RunConfig, layout: Layout) -> list[int]:
    if config.train.micro_batch:
        return [config.train.micro_batch]
    if config.train.global_batch is None:
        raise ConfigError("train.micro_batch: auto keeps the global batch, so it needs one. Set train.global_batch=32.")
    per_process, remainder = divmod(config.train.global_batch, layout.data_parallel)
    if remainder or not per_process:
        nearest_up = (per_process + 1) * layout.data_parallel
        raise ConfigError(
            f"train.global_batch: {config.train.global_batch} is not a multiple of data-parallel"
            f"({layout.data_parallel}). Use {nearest_up}."
        )
    return [rows for rows in range(per_process, 0, -1) if per_process % rows == 0]
