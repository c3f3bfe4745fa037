"""Rules of optimizers: which strategies they go with, which settings they read, what computes them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from tunefleet.config import RunConfig
from tunefleet.config.adapter import AdapterName
from tunefleet.config.optimizer import CpuKernel, OptimizerConfig, OptimizerName, ScheduleConfig, ScheduleName
from tunefleet.config.parallel import Place
from tunefleet.plan.processes.layout import Layout
from tunefleet.plan.processes.machine import Machine
from tunefleet.plan.rules.request import Request


@dataclass(frozen=True)
class _Traits:
    """The settings of the group that an optimizer reads beside the common ones, and whether it needs whole matrices."""

    reads: tuple[str, ...]
    needs_whole_matrices: str = ""
    """Why it cannot work on shards of a matrix."""


_TRAITS = {
    OptimizerName.ADAMW: _Traits(("betas", "eps", "cpu_kernel")),
    OptimizerName.ADAM: _Traits(("betas", "eps", "cpu_kernel")),
    OptimizerName.ADAMW_8BIT: _Traits(("betas", "eps")),
    OptimizerName.ADAFACTOR: _Traits((), "it keeps one moment for each row and column"),
    OptimizerName.LION: _Traits(("betas",)),
    OptimizerName.MUON: _Traits(("betas", "eps", "momentum"), "it makes the rows of a matrix orthogonal"),
    OptimizerName.ADAGRAD: _Traits(("eps",)),
    OptimizerName.SGD: _Traits(("momentum",)),
}
_SCHEDULE_READS = {"decay": ScheduleName.WSD, "power": ScheduleName.POLYNOMIAL}
_MOST_8BIT = 2**31  # https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1785
_ADAMS = (OptimizerName.ADAMW, OptimizerName.ADAM)


def whole_matrices(config: RunConfig) -> list[str]:
    """Some optimizers would be others on shards of a matrix."""
    name, parallel = config.optimizer.name, config.parallel
    reason = _TRAITS[name].needs_whole_matrices
    if not reason or not (parallel.zero_stage or parallel.tensor > 1):
        return []
    return [
        f"optimizer: {name.value} needs whole matrices ({reason}), and {parallel.name} gives every process a part. "
        "Use parallel=ddp, or optimizer=adamw."
    ]


def states_on_nvme(config: RunConfig) -> list[str]:
    """Adam's states alone have been tried on NVMe."""
    if config.parallel.offload_optimizer is not Place.NVME or config.optimizer.name in _ADAMS:
        return []
    return [
        f"optimizer: {config.optimizer.name.value} has not been tried with its states on nvme. "
        "Use parallel.offload_optimizer=cpu, or optimizer=adamw."
    ]


def eight_bit(config: RunConfig, layout: Layout) -> list[str]:
    """8-bit states are on GPUs, and an optional package computes them."""
    if config.optimizer.name is not OptimizerName.ADAMW_8BIT:
        return []
    if layout.device != "cuda":
        return ["optimizer: adamw_8bit needs a GPU. Use optimizer=adamw."]
    if config.parallel.offload_optimizer is not Place.NONE:
        return ["optimizer: adamw_8bit keeps its states on the GPU. Use optimizer=adamw."]
    if find_spec("bitsandbytes") is None:
        return ["optimizer: adamw_8bit needs bitsandbytes: pip install 'bitsandbytes>=0.45'. Or use optimizer=adamw."]
    return []


def eight_bit_size(request: Request) -> list[str]:
    """bitsandbytes counts elements of a tensor in 32 bits, and stages 1 and 2 make one of all of a rank's weights."""
    config, layout, architecture = request.config, request.layout, request.architecture
    is_flat = config.optimizer.name is OptimizerName.ADAMW_8BIT and config.parallel.zero_stage in (1, 2)
    is_partial = config.adapter.name is not AdapterName.NONE or config.model.freeze or config.model.train_only
    if not is_flat or is_partial or layout is None or architecture is None:
        return []
    try:
        size = architecture.parameters.total / layout.replicas
    except ValueError:
        return []  # the model itself will say
    if size < _MOST_8BIT:
        return []
    return [
        f"optimizer: adamw_8bit holds at most {_MOST_8BIT:.3g} weights of a process, and {config.parallel.name} gives "
        f"it {size:.3g}. Use parallel=zero3, more processes, or optimizer=adamw."
    ]


def takes_cpu_adam(config: RunConfig, machine: Machine) -> bool:
    """Whether DeepSpeed's CPU Adam updates offloaded states; else torch does."""
    kernel, name = config.optimizer.cpu_kernel, config.optimizer.name
    if config.parallel.offload_optimizer is Place.NONE or name not in _ADAMS or kernel is CpuKernel.TORCH:
        return False
    return kernel is CpuKernel.DEEPSPEED or machine.compiler


def notes(config: RunConfig, cpu_adam: bool) -> list[str]:
    """Settings that are not used, and what computes an offloaded optimizer."""
    notes = _unused(config.optimizer)
    if config.parallel.offload_optimizer is not Place.NONE:
        notes.append(_computed_by(config.optimizer, cpu_adam))
    elif config.optimizer.cpu_kernel is not CpuKernel.AUTO:
        notes.append("optimizer.cpu_kernel is not used: no optimizer states are offloaded.")
    return notes + _unused_by_schedule(config.schedule)


def _unused(optimizer: OptimizerConfig) -> list[str]:
    default, reads = OptimizerConfig(), _TRAITS[optimizer.name].reads
    return [
        f"optimizer.{setting} is not used by {optimizer.name.value}."
        for setting in ("betas", "eps", "momentum", "cpu_kernel")
        if setting not in reads and getattr(optimizer, setting) != getattr(default, setting)
    ]


def _unused_by_schedule(schedule: ScheduleConfig) -> list[str]:
    default = ScheduleConfig()
    return [
        f"schedule.{setting} is not used by {schedule.name.value}."
        for setting, reader in _SCHEDULE_READS.items()
        if schedule.name is not reader and getattr(schedule, setting) != getattr(default, setting)
    ]


def _computed_by(optimizer: OptimizerConfig, cpu_adam: bool) -> str:
    name = optimizer.name.value
    if cpu_adam:
        return (
            f"DeepSpeed's CPU Adam computes {name}: the first run takes a minute longer where it is not built, and a "
            "resumed run agrees within rounding (bit by bit with optimizer.cpu_kernel=torch, which is slower)."
        )
    if optimizer.cpu_kernel is CpuKernel.AUTO and optimizer.name in _ADAMS:
        reason = ": there is no C++ compiler here, and DeepSpeed's CPU Adam would be faster."
        return f"torch computes {name} on the CPU{reason}"
    return f"torch computes {name} on the CPU."
