"""Which optimizer goes with which strategy, which settings it reads, and what computes it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from tunefleet.config import RunConfig
from tunefleet.config.optimizer import CpuKernel, OptimizerConfig, OptimizerName, ScheduleConfig, ScheduleName
from tunefleet.config.parallel import Place
from tunefleet.plan.processes.layout import Layout
from tunefleet.plan.processes.machine import Machine


@dataclass(frozen=True)
class _Rule:
    """The settings of the group that an optimizer reads beside the common ones, and whether it needs whole matrices."""

    reads: tuple[str, ...]
    whole: str = ""
    """Why it cannot work on parts of a matrix."""


_RULES = {
    OptimizerName.ADAMW: _Rule(("betas", "eps", "cpu_kernel")),
    OptimizerName.ADAM: _Rule(("betas", "eps", "cpu_kernel")),
    OptimizerName.ADAMW_8BIT: _Rule(("betas", "eps")),
    OptimizerName.ADAFACTOR: _Rule((), whole="it keeps one moment for each row and column"),
    OptimizerName.LION: _Rule(("betas",)),
    OptimizerName.MUON: _Rule(("betas", "eps", "momentum"), whole="it makes the rows of a matrix orthogonal"),
    OptimizerName.ADAGRAD: _Rule(("eps",)),
    OptimizerName.SGD: _Rule(("momentum",)),
}
_SCHEDULE_READS = {"decay": ScheduleName.WSD, "power": ScheduleName.POLYNOMIAL}
_ADAMS = (OptimizerName.ADAMW, OptimizerName.ADAM)


def complaints(config: RunConfig, degrees: Layout) -> list[str]:
    """What cannot work with the strategy or on the machine."""
    rule, name, parallel = _RULES[config.optimizer.name], config.optimizer.name.value, config.parallel
    found = []
    if rule.whole and (parallel.zero_stage or parallel.tensor > 1):
        found.append(
            f"optimizer: {name} needs whole matrices ({rule.whole}), and {parallel.name} gives every process a part. "
            "Use parallel=ddp, or optimizer=adamw."
        )
    if parallel.offload_optimizer is Place.NVME and config.optimizer.name not in _ADAMS:
        found.append(
            f"optimizer: {name} has not been tried with its states on a drive. "
            "Use parallel.offload_optimizer=cpu, or optimizer=adamw."
        )
    return found + (_eight_bit(config, degrees) if config.optimizer.name is OptimizerName.ADAMW_8BIT else [])


def _eight_bit(config: RunConfig, degrees: Layout) -> list[str]:
    where = ""
    if degrees.device != "cuda":
        where = "needs a GPU"
    elif config.parallel.offload_optimizer is not Place.NONE:
        where = "keeps its states on the GPU"
    elif find_spec("bitsandbytes") is None:
        return ["optimizer: adamw_8bit needs bitsandbytes: pip install 'bitsandbytes>=0.45'. Or use optimizer=adamw."]
    return [f"optimizer: adamw_8bit {where}. Use optimizer=adamw."] if where else []


def takes_cpu_adam(config: RunConfig, machine: Machine) -> bool:
    """Whether DeepSpeed's CPU Adam updates offloaded states; else torch does."""
    kernel, name = config.optimizer.cpu_kernel, config.optimizer.name
    if config.parallel.offload_optimizer is Place.NONE or name not in _ADAMS or kernel is CpuKernel.TORCH:
        return False
    return kernel is CpuKernel.DEEPSPEED or machine.compiler


def notes(config: RunConfig, on_cpu: bool) -> list[str]:
    """Settings that are not used, and what computes an offloaded optimizer."""
    name, said = config.optimizer.name, []
    default = OptimizerConfig()
    for setting in ("betas", "eps", "momentum", "cpu_kernel"):
        if setting not in _RULES[name].reads and getattr(config.optimizer, setting) != getattr(default, setting):
            said.append(f"optimizer.{setting} is not used by {name.value}.")
    if config.parallel.offload_optimizer is Place.NONE and config.optimizer.cpu_kernel is not CpuKernel.AUTO:
        said.append("optimizer.cpu_kernel is not used: no optimizer states are offloaded.")
    if config.parallel.offload_optimizer is not Place.NONE:
        said.append(_computed_by(config.optimizer, on_cpu))
    return said + _unused_by_schedule(config.schedule)


def _unused_by_schedule(schedule: ScheduleConfig) -> list[str]:
    default = ScheduleConfig()
    return [
        f"schedule.{setting} is not used by {schedule.name.value}."
        for setting, reader in _SCHEDULE_READS.items()
        if schedule.name is not reader and getattr(schedule, setting) != getattr(default, setting)
    ]


def _computed_by(optimizer: OptimizerConfig, on_cpu: bool) -> str:
    name = optimizer.name.value
    if on_cpu:
        return (
            f"DeepSpeed's CPU Adam computes {name}: the first run takes a minute longer where it is not built, and a "
            "continued run agrees within rounding (bit by bit with optimizer.cpu_kernel=torch, which is slower)."
        )
    why = "there is no C++ compiler here" if optimizer.cpu_kernel is CpuKernel.AUTO and name in _adam_names() else ""
    return f"torch computes {name} on the CPU" + (f": {why}, and DeepSpeed's CPU Adam would be faster." if why else ".")


def _adam_names() -> set[str]:
    return {name.value for name in _ADAMS}
