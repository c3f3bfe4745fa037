"""`tunefleet plan`: what a run or a grid would need, whether it fits, how long it takes, what would fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunefleet.base import text
from tunefleet.base.errors import ConfigError
from tunefleet.base.units import GIB, clock, count
from tunefleet.config import RunConfig
from tunefleet.config.adapter import AdapterName
from tunefleet.config.model import Init
from tunefleet.doors import compose
from tunefleet.doors.plan_summary import announce
from tunefleet.plan import Machine, Plan, machine_for, make
from tunefleet.plan.choose import auto, calibration
from tunefleet.plan.choose.advice import Advice, advice
from tunefleet.plan.choose.fit_check import expected_forecast
from tunefleet.plan.estimate.forecast import Forecast
from tunefleet.plan.estimate.gpus import cluster
from tunefleet.plan.estimate.memory_item import Item, Phase
from tunefleet.plan.horizon import total_steps
from tunefleet.plan.paths.data_files import DEMO
from tunefleet.plan.rules.notes import from_scratch

_HEAD = ("point", "strategy", "GiB", "of", "tokens/s", "time", "GPU-hours")


@dataclass(frozen=True)
class _Planned:
    """A planned run, the overrides that stand for it, and the machine."""

    overrides: tuple[str, ...]
    plan: Plan
    machine: Machine
    rows: int | None

    def forecast(self) -> Forecast | None:
        return expected_forecast(self.plan, self.machine)

    def steps(self) -> int | None:
        """Optimizer steps; without max_steps they need the number of rows, which only the data know."""
        return total_steps(self.plan, self.rows)


@dataclass(frozen=True)
class Cost:
    """What a run needs of a machine, as far as the planner knows it."""

    gpu_hours: float
    gib: float
    """Of one GPU, at the peak."""
    limit_gib: float
    """Of one GPU, all that there is."""


def cost(config: RunConfig, machine_name: str) -> Cost:
    """What a run with `train.max_steps` costs on a machine with known GPUs, as `--machine` takes it.

    Raises `ConfigError` where it cannot be planned there, does not fit, or cannot be counted.
    """
    planned = _plan_one((), config, machine_name, None)
    estimated, hours = planned.forecast(), _gpu_hours(planned)
    if estimated is None or hours is None or estimated.device_limit is None:
        raise ConfigError(f"plan: the cost of {planned.plan.name} on {machine_name} cannot be counted.")
    if not estimated.fits:
        raise ConfigError(f"plan: {planned.plan.name} does not fit {machine_name}: {'; '.join(estimated.shortfalls)}")
    return Cost(hours, estimated.device_need, estimated.device_limit)


def single(overrides: Sequence[str], machine_name: str | None, rows: int | None) -> None:
    """Prints the plan and the forecast of `train.py OVERRIDES`. Raises `ConfigError`."""
    planned = _plan_one(overrides, compose.from_overrides(overrides), machine_name, rows)
    announce(planned.plan)
    print()
    print(*_lines(planned), sep="\n")


def learn(outputs: Path) -> None:
    """Writes the factors of finished runs in `outputs` for later plans, and prints them. Raises `ConfigError`."""
    for kind, spreads in calibration.calibrate(outputs).items():
        print(f"{kind}: " + ", ".join(f"{name} {spread.text}" for name, spread in spreads.items()))
    print(f"Measured over forecast; plans of runs in {outputs} use it from now on.")
    print(f"To forget it: rm {outputs / calibration.FILE}")


def grid(argv: Sequence[str], machine_name: str | None, rows: int | None) -> None:
    """Prints a line for each point of `train.py -m OVERRIDES`, and the sum. Raises `ConfigError`."""
    points = [_plan_one(point, config, machine_name, rows) for point, config in compose.grid(argv)]
    lines = [_HEAD, *(_row(point, argv) for point in points)]
    print(text.columns(lines))
    costs = [_gpu_hours(point) for point in points]
    known_costs = [cost for cost in costs if cost is not None]
    unknown = (
        "" if len(known_costs) == len(points) else f", and {len(points) - len(known_costs)} points of unknown length"
    )
    print(f"\n{len(points)} points: {sum(known_costs):.1f} GPU-hours{unknown}")


def shortfalls(config: RunConfig, machine_name: str) -> str:
    """What a run lacks on a machine, as `--machine` takes it; empty where it fits, or cannot be counted.

    Raises `ConfigError` where it cannot be planned there.
    """
    planned = _plan_one((), config, machine_name, None)
    estimated = planned.forecast()
    return "" if estimated is None or estimated.fits else "; ".join(estimated.shortfalls)


def _plan_one(
    overrides: Sequence[str], config: RunConfig | ConfigError, machine_name: str | None, rows: int | None
) -> _Planned:
    if isinstance(config, ConfigError):
        raise config
    config = replace(config, plan=replace(config.plan, machine=machine_name)) if machine_name else config
    config, machine = _on_machine(config)
    return _Planned(tuple(overrides), _planned(config, machine, overrides), machine, rows)


def _planned(config: RunConfig, machine: Machine, overrides: Sequence[str]) -> Plan:
    """The plan; a published architecture is enough for one, where the model's files are on another machine."""
    try:
        return make(config, machine, overrides)
    except ConfigError as error:
        if all(map(_is_of_bitsandbytes, error.complaints)):  # a plan computes nothing with it
            plan = make(_without_quantisation(config), machine, overrides)
            return replace(plan, config=replace(plan.config, adapter=config.adapter), notes=(*plan.notes, str(error)))
        architecture = config.model.published or config.model.architecture
        if not architecture or not all(map(_is_of_files, error.complaints)):
            raise
        plan = make(_without_files(config), machine, overrides)
        absent = f"planned without the model's files, so the run's name will be another. {error.complaints[0]}"
        sources = replace(plan.sources, weights=config.model.path)
        notes = [note for note in plan.notes if note not in from_scratch(plan.config)]
        planned = replace(plan.config, model=config.model, adapter=config.adapter)
        return replace(plan, config=planned, sources=sources, notes=(*notes, absent))


def _is_of_bitsandbytes(complaint: str) -> bool:
    return complaint.startswith("adapter:") and "needs bitsandbytes" in complaint


def _without_quantisation(config: RunConfig) -> RunConfig:
    return replace(config, adapter=replace(config.adapter, name=AdapterName.LORA))


def _is_of_files(complaint: str) -> bool:
    """Whether it is about what the machine of the run must have, and a forecast need not."""
    return complaint.startswith("model.") or "needs bitsandbytes" in complaint


def _without_files(config: RunConfig) -> RunConfig:
    """The same run from scratch. An adapter is then one that can be merged, as such a run needs it."""
    adapter = config.adapter
    if adapter.name is not AdapterName.NONE:
        adapter = replace(adapter, name=AdapterName.LORA, merge=True)
    model = replace(config.model, init=Init.RANDOM, tokenizer=DEMO)
    return replace(config, model=model, adapter=adapter)


def _on_machine(config: RunConfig) -> tuple[RunConfig, Machine]:
    """A named machine replaces this one; a job asks for as many of its hosts and GPUs."""
    if config.plan.machine in (None, "this"):
        return config, machine_for(config)
    hardware = cluster(str(config.plan.machine))
    launch = replace(config.launch, nodes=hardware.hosts, gpus_per_node=hardware.gpus)
    return replace(config, launch=launch), hardware.machine()


def _lines(planned: _Planned) -> Iterator[str]:
    estimated = planned.forecast()
    if estimated is None:
        family = planned.plan.sources.architecture.model_type
        yield f"memory     not counted: no formula for the family {family}"
        return
    yield from _memory(estimated)
    yield ""
    yield from _verdict(planned, estimated)
    yield ""
    yield from _time(planned, estimated)
    if estimated.factors.note:
        yield estimated.factors.note


def _memory(estimated: Forecast) -> Iterator[str]:
    """Each item that is there at the peak, and in brackets those that are not."""
    device = f"each GPU of {estimated.machine.name}" if estimated.on_gpu else "each process"
    yield f"GiB in {device}, at the peak ({_phase_name(estimated.memory.phase)}):"
    yield from _items(estimated.memory.device, estimated.memory.phase)
    absent = [item for item in estimated.memory.device if estimated.memory.phase not in item.phases]
    if absent:
        yield "  at other times: " + ", ".join(f"{item.name} {item.bytes / GIB:.2f}" for item in absent)
    if not estimated.on_gpu:
        return
    yield "GiB in each host:"
    yield from _items(estimated.memory.host, max(Phase, key=lambda phase: _sum(estimated.memory.host, phase)))
    for item in estimated.memory.disk:
        yield f"on each host's disk: {item.name} {item.bytes / GIB:.1f} GiB"


def _items(items: Sequence[Item], phase: Phase) -> Iterator[str]:
    present = sorted((item for item in items if phase in item.phases and item.bytes), key=lambda item: -item.bytes)
    rows = [(item.name, f"{item.bytes / GIB:>9.2f}") for item in present]
    rows.append(("total", f"{_sum(items, phase) / GIB:>9.2f}"))
    yield from (f"  {line}" for line in text.columns(rows).split("\n"))


def _sum(items: Sequence[Item], phase: Phase) -> int:
    return sum(item.bytes for item in items if phase in item.phases)


def _phase_name(phase: Phase) -> str:
    names = {Phase.FORWARD: "end of a forward pass", Phase.BACKWARD: "backward pass", Phase.SUM: "sum of gradients"}
    return names.get(phase, "update")


def _verdict(planned: _Planned, estimated: Forecast) -> Iterator[str]:
    if estimated.shortfalls:
        yield f"does not fit: {'; '.join(estimated.shortfalls)}"
        alternatives = advice(planned.plan, estimated)
        yield "these fit, best first:" if alternatives else f"nothing near it fits. {auto.nearest(estimated)}"
        yield from (f"  {line}" for line in _advised(planned, alternatives))
    elif not estimated.is_known:
        yield f"fits? the GPU memory of {estimated.machine.name} is unknown; name the machine: --machine 8xH100-80G"
    else:
        yield f"fits: {_room(estimated)}"


def _room(estimated: Forecast) -> str:
    rooms = []
    if estimated.device_limit is not None:
        headroom = estimated.device_limit - estimated.device_need
        rooms.append(f"{headroom:.1f} of {estimated.device_limit:.1f} GiB of each GPU are left")
    if estimated.host_limit is not None:
        headroom = estimated.host_limit - estimated.host_need
        rooms.append(f"{headroom:.1f} of {estimated.host_limit:.1f} GiB of each host are left")
    return ", ".join(rooms)


def _advised(planned: _Planned, alternatives: Sequence[Advice]) -> list[str]:
    if not alternatives:
        return []
    rows = [
        (_need(advised.forecast), _pace(advised.forecast), _command(planned.overrides, advised.overrides))
        for advised in alternatives
    ]
    return text.columns(rows).split("\n")


def _command(overrides: Sequence[str], changed: Sequence[str]) -> str:
    """The command with the changed words, in the place of those that they replace."""
    keys = {override.split("=")[0] for override in changed}
    return " ".join(
        ["tunefleet train", *(override for override in overrides if override.split("=")[0] not in keys), *changed]
    )


def _need(estimated: Forecast) -> str:
    return f"{estimated.device_need if estimated.on_gpu else estimated.host_need:.1f} GiB"


def _pace(estimated: Forecast) -> str:
    return f"{count(estimated.speed.tokens_per_second)} tokens/s" if estimated.speed.tokens_per_second else ""


def _time(planned: _Planned, estimated: Forecast) -> Iterator[str]:
    rate, seconds, gpu = estimated.speed, estimated.speed.seconds, estimated.machine.gpu
    if seconds is None or gpu is None:
        yield f"time: {count(rate.flops)} FLOPs a step; the speed of {estimated.machine.name} is not known"
        return
    yield (
        f"{count(rate.tokens_per_second or 0)} tokens/s: {seconds:.3g} s a step = {rate.compute:.3g} s computing "
        f"{count(rate.flops)} FLOPs + {rate.communication:.3g} s sending {rate.sent / 1e9:.3g} GB from each GPU"
        + (f" - {rate.hidden:.3g} s at the same time" if rate.hidden else "")
        + (f" + {rate.offload:.3g} s of offload" if rate.offload else "")
    )
    yield (
        f"assumed: {gpu.mfu:.0%} of {gpu.tflops:g} TFLOP/s; {gpu.reached:.0%} of {gpu.link:g} GB/s within a host"
        + (f", of {gpu.network:g} GB/s a GPU between hosts" if estimated.machine.hosts > 1 else "")
    )
    steps, hours = planned.steps(), _gpu_hours(planned)
    if steps is None or hours is None:
        yield f"1,000 steps: {clock(1000 * seconds)}. The whole run: set train.max_steps, or --rows NUMBER of the data"
    else:
        yield f"{steps} steps: {clock(steps * seconds)}, {hours:.1f} GPU-hours"


def _gpu_hours(planned: _Planned) -> float | None:
    estimated, steps = planned.forecast(), planned.steps()
    if estimated is None or estimated.speed.seconds is None or steps is None:
        return None
    return steps * estimated.speed.seconds * estimated.spread.world_size / 3600


def _row(planned: _Planned, common: Sequence[str]) -> tuple[str, ...]:
    """A point's line under _HEAD."""
    name = " ".join(override for override in planned.overrides if override not in common) or "-"
    estimated, steps, hours = planned.forecast(), planned.steps(), _gpu_hours(planned)
    if estimated is None:
        return (name, planned.plan.config.parallel.name, "not counted", "", "", "", "")
    limit = estimated.device_limit if estimated.on_gpu else estimated.host_limit
    need = f"{estimated.device_need if estimated.on_gpu else estimated.host_need:.1f}"
    limit_text = f"{limit:.1f}{'' if estimated.fits else ' does not fit'}" if limit else "unknown"
    time = clock(steps * estimated.speed.seconds) if steps and estimated.speed.seconds else "-"
    pace = count(estimated.speed.tokens_per_second) if estimated.speed.tokens_per_second else "-"
    cost = f"{hours:.1f}" if hours is not None else "-"
    return (name, planned.plan.config.parallel.name, need, limit_text, pace, time, cost)
