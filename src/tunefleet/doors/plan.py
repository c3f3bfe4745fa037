"""The command `tunefleet plan`: what a run or a grid would need, whether it fits, how long it takes, what would fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tunefleet.base import text
from tunefleet.base.errors import ConfigError
from tunefleet.base.units import GIB, clock, count
from tunefleet.config import RunConfig
from tunefleet.config.model import Init
from tunefleet.doors import compose
from tunefleet.doors.start import announce
from tunefleet.plan import Machine, Plan, machine_for, make
from tunefleet.plan.choose import auto
from tunefleet.plan.choose.advice import Advice, advice
from tunefleet.plan.choose.fit_check import expected_forecast
from tunefleet.plan.estimate.forecast import Forecast
from tunefleet.plan.estimate.gpus import cluster
from tunefleet.plan.estimate.memory_items import Item, Phase
from tunefleet.plan.horizon import total_steps
from tunefleet.plan.paths.data_files import DEMO
from tunefleet.plan.rules.notes import from_scratch

_HEAD = ("point", "strategy", "GiB", "of", "tokens/s", "time", "GPU-hours")


@dataclass(frozen=True)
class _Asked:
    """A planned run, the words that stand for it, and the machine."""

    words: tuple[str, ...]
    plan: Plan
    machine: Machine
    rows: int | None

    def forecast(self) -> Forecast | None:
        return expected_forecast(self.plan, self.machine)

    def steps(self) -> int | None:
        """Optimizer steps; without max_steps they need the number of rows, which only the data know."""
        return total_steps(self.plan, self.rows)


def one(words: Sequence[str], where: str | None, rows: int | None) -> None:
    """Prints the plan and the forecast of `train.py WORDS`. Raises `ConfigError`."""
    asked = _asked(words, compose.from_words(words), where, rows)
    announce(asked.plan)
    print()
    print(*_lines(asked), sep="\n")


def grid(words: Sequence[str], where: str | None, rows: int | None) -> None:
    """Prints a line for each point of `train.py -m WORDS`, and the sum. Raises `ConfigError`."""
    points = [_asked(point, compose.typed(config), where, rows) for point, config in compose.grid(words)]
    lines = [_HEAD, *(_row(point, words) for point in points)]
    print(text.columns(lines))
    costs = [_gpu_hours(point) for point in points]
    known = [cost for cost in costs if cost is not None]
    unknown = "" if len(known) == len(points) else f", and {len(points) - len(known)} points of unknown length"
    print(f"\n{len(points)} points: {sum(known):.1f} GPU-hours{unknown}")


def _asked(words: Sequence[str], config: RunConfig, where: str | None, rows: int | None) -> _Asked:
    config = replace(config, plan=replace(config.plan, machine=where)) if where else config
    config, machine = _placed(config)
    return _Asked(tuple(words), _planned(config, machine, words), machine, rows)


def _planned(config: RunConfig, machine: Machine, words: Sequence[str]) -> Plan:
    """The plan; a published architecture is enough for one, where the model's files are on another machine."""
    try:
        return make(config, machine, words)
    except ConfigError as error:
        known = config.model.published or config.model.architecture
        if not known or not all(said.startswith("model.") for said in error.complaints):
            raise
        scratch = replace(config.model, init=Init.RANDOM, tokenizer=DEMO)
        plan = make(replace(config, model=scratch), machine, words)
        absent = f"planned without the model's files, so the run's name will be another. {error.complaints[0]}"
        there = replace(plan.sources, weights=config.model.path)
        notes = [note for note in plan.notes if note not in from_scratch(plan.config)]
        return replace(plan, config=replace(plan.config, model=config.model), sources=there, notes=(*notes, absent))


def _placed(config: RunConfig) -> tuple[RunConfig, Machine]:
    """A named machine replaces this one; a job asks for as many of its hosts and GPUs."""
    if config.plan.machine in (None, "this"):
        return config, machine_for(config)
    place = cluster(str(config.plan.machine))
    launch = replace(config.launch, nodes=place.hosts, gpus_per_node=place.gpus)
    return replace(config, launch=launch), place.machine()


def _lines(asked: _Asked) -> Iterator[str]:
    seen = asked.forecast()
    if seen is None:
        family = asked.plan.sources.architecture.model_type
        yield f"memory     not counted: no formula for the family {family}"
        return
    yield from _memory(seen)
    yield ""
    yield from _verdict(asked, seen)
    yield ""
    yield from _time(asked, seen)


def _memory(seen: Forecast) -> Iterator[str]:
    """Each item that is there at the peak, and in brackets those that are not."""
    what = f"each GPU of {seen.machine.name}" if seen.on_gpu else "each process"
    yield f"GiB in {what}, at the peak ({_when(seen.memory.phase)}):"
    yield from _items(seen.memory.device, seen.memory.phase)
    others = [item for item in seen.memory.device if seen.memory.phase not in item.phases]
    if others:
        yield "  at other times: " + ", ".join(f"{item.name} {item.bytes / GIB:.2f}" for item in others)
    if not seen.on_gpu:
        return
    yield "GiB in each host:"
    yield from _items(seen.memory.host, max(Phase, key=lambda phase: _sum(seen.memory.host, phase)))
    for item in seen.memory.disk:
        yield f"on each host's disk: {item.name} {item.bytes / GIB:.1f} GiB"


def _items(items: Sequence[Item], phase: Phase) -> Iterator[str]:
    there = sorted((item for item in items if phase in item.phases and item.bytes), key=lambda item: -item.bytes)
    rows = [(item.name, f"{item.bytes / GIB:>9.2f}") for item in there]
    rows.append(("total", f"{_sum(items, phase) / GIB:>9.2f}"))
    yield from (f"  {line}" for line in text.columns(rows).split("\n"))


def _sum(items: Sequence[Item], phase: Phase) -> int:
    return sum(item.bytes for item in items if phase in item.phases)


def _when(phase: Phase) -> str:
    told = {Phase.FORWARD: "end of a forward pass", Phase.BACKWARD: "backward pass", Phase.SUM: "sum of gradients"}
    return told.get(phase, "update")


def _verdict(asked: _Asked, seen: Forecast) -> Iterator[str]:
    if seen.shortfalls:
        yield f"does not fit: {'; '.join(seen.shortfalls)}"
        others = advice(asked.plan, seen)
        yield "these fit, best first:" if others else f"nothing near it fits. {auto.nearest(seen)}"
        yield from (f"  {line}" for line in _advised(asked, others))
    elif not seen.is_known:
        yield f"fits? Nobody knows the memory of {seen.machine.name}: give --machine 8xH100-80G or so"
    else:
        yield f"fits: {_room(seen)}"


def _room(seen: Forecast) -> str:
    rooms = []
    if seen.device_limit is not None:
        rooms.append(f"{seen.device_limit - seen.device_need:.1f} of {seen.device_limit:.1f} GiB of each GPU are left")
    if seen.host_limit is not None:
        rooms.append(f"{seen.host_limit - seen.host_need:.1f} of {seen.host_limit:.1f} GiB of each host are left")
    return ", ".join(rooms)


def _advised(asked: _Asked, others: Sequence[Advice]) -> list[str]:
    if not others:
        return []
    rows = [(_need(one.forecast), _pace(one.forecast), _command(asked.words, one.overrides)) for one in others]
    return text.columns(rows).split("\n")


def _command(words: Sequence[str], changed: Sequence[str]) -> str:
    """The command with the changed words, in the place of those that they replace."""
    keys = {word.split("=")[0] for word in changed}
    return " ".join(["tunefleet train", *(word for word in words if word.split("=")[0] not in keys), *changed])


def _need(seen: Forecast) -> str:
    return f"{seen.device_need if seen.on_gpu else seen.host_need:.1f} GiB"


def _pace(seen: Forecast) -> str:
    return f"{count(seen.speed.tokens_per_second)} tokens/s" if seen.speed.tokens_per_second else ""


def _time(asked: _Asked, seen: Forecast) -> Iterator[str]:
    rate, seconds, gpu = seen.speed, seen.speed.seconds, seen.machine.gpu
    if seconds is None or gpu is None:
        yield f"time: {count(rate.flops)} FLOPs a step; the speed of {seen.machine.name} is not known"
        return
    yield (
        f"{count(rate.tokens_per_second or 0)} tokens/s: {seconds:.3g} s a step = {rate.compute:.3g} s computing "
        f"{count(rate.flops)} FLOPs + {rate.communication:.3g} s sending {rate.sent / 1e9:.3g} GB from each GPU"
    )
    yield (
        f"assumed: {gpu.mfu:.0%} of {gpu.tflops:g} TFLOP/s; {gpu.link:g} GB/s within a host"
        + (f", {gpu.network:g} GB/s between hosts" if seen.machine.hosts > 1 else "")
        + "; nothing overlaps"
    )
    steps, hours = asked.steps(), _gpu_hours(asked)
    if steps is None or hours is None:
        yield f"1,000 steps: {clock(1000 * seconds)}. The whole run: set train.max_steps, or --rows NUMBER of the data"
    else:
        yield f"{steps} steps: {clock(steps * seconds)}, {hours:.1f} GPU-hours"


def _gpu_hours(asked: _Asked) -> float | None:
    seen, steps = asked.forecast(), asked.steps()
    if seen is None or seen.speed.seconds is None or steps is None:
        return None
    return steps * seen.speed.seconds * seen.spread.world_size / 3600


def _row(asked: _Asked, words: Sequence[str]) -> tuple[str, ...]:
    """A point's line under _HEAD."""
    name = " ".join(word for word in asked.words if word not in words) or "-"
    seen, steps, hours = asked.forecast(), asked.steps(), _gpu_hours(asked)
    if seen is None:
        return (name, asked.plan.config.parallel.name, "not counted", "", "", "", "")
    limit = seen.device_limit if seen.on_gpu else seen.host_limit
    need = f"{seen.device_need if seen.on_gpu else seen.host_need:.1f}"
    told = f"{limit:.1f}{'' if seen.fits else ' does not fit'}" if limit else "unknown"
    time = clock(steps * seen.speed.seconds) if steps and seen.speed.seconds else "-"
    pace = count(seen.speed.tokens_per_second) if seen.speed.tokens_per_second else "-"
    cost = f"{hours:.1f}" if hours is not None else "-"
    return (name, asked.plan.config.parallel.name, need, told, pace, time, cost)
