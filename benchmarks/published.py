"""The planner against what others measured and published: benchmarks/published.yaml, a line for each row.

    python -m benchmarks.published

Needs no GPU and no torch. "As is" is what the planner forecasts of tunefleet; "alike" is the same with what the
publisher's software does otherwise: gradients of several micro-batches added in 16 bits, more bytes of loss, and fused
kernels.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tunefleet.base.units import GIB
from tunefleet.config.adapter import AdapterConfig, AdapterName
from tunefleet.config.parallel import Place
from tunefleet.config.train import Precision
from tunefleet.plan.estimate.activations import LOSS_CHUNK
from tunefleet.plan.estimate.forecast import Forecast, forecast
from tunefleet.plan.estimate.gpus import Cluster, cluster
from tunefleet.plan.estimate.known_gpus import GPUS, Gpu
from tunefleet.plan.estimate.memory_item import Item, Phase
from tunefleet.plan.estimate.memory_items import total
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.lora_targets import lora_parameters

DATA = Path(__file__).with_name("published.yaml")
MEMORY_BAND = (0.9, 1.1)
SPEED_BAND = (0.7, 1.3)
FUSED = {"S1", "S2", "S4", "S7", "S9", "S10", "S11"}
"""Sources whose software fuses norms, rotations or losses, or is compiled."""
_FUSED_MFU = {"A100": 0.6, "H100": 0.5}  # published of that software: 55 to 74 %, and 38 to 59 %
_LOSS = {"S3": 17, "S14": 17, "S1": 15}  # bytes a logit: slopes of the same sources; of all others torch's
_TORCH_LOSS, _OUR_LOSS = 12, 2
_OTHERS = {
    "H100-96G": replace(GPUS["H100-80G"], memory=94.0),  # HBM2e, 500 W: torchtitan's
    "TITAN-24G": Gpu(23.6, 130, 16, 1.25, 64, capability=7.5),
}


@dataclass(frozen=True)
class Compared:
    """A published row and its forecasts: GiB of a GPU by the publisher's counter, tokens/s of a GPU, seconds."""

    name: str
    published: dict[str, Any]
    seen: Forecast
    memory: float
    alike_memory: float
    speed: float
    alike_speed: float
    alike_communication: float

    @property
    def fits(self) -> bool:
        """Whether the planner lets it start on those GPUs."""
        limit = self.seen.device_limit
        return limit is None or self.seen.device_need <= limit

    def ratios(self) -> dict[str, float]:
        """Forecast over published, of what was published."""
        gib, rate = self.published.get("gib"), self.published.get("tokens_per_second")
        memory = {"memory": self.memory / gib, "alike memory": self.alike_memory / gib} if gib else {}
        speed = {"speed": self.speed / rate, "alike speed": self.alike_speed / rate} if rate else {}
        return {**memory, **speed}


def rows() -> list[Compared]:
    """Every published row with its forecasts."""
    return [compared(name, row) for name, row in _data()["rows"].items()]


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return data


def compared(name: str, row: dict[str, Any]) -> Compared:
    """`row` of the table, planned as it is and alike."""
    machine = machine_of(row["machine"])
    shape, spread, work = architecture(row["model"]), spread_of(row, machine), work_of(row)
    seen = forecast(shape, spread, work, machine, True, machine.gpus)
    alike = forecast(shape, spread, work, _alike_machine(row, machine), True, machine.gpus)
    gpus = spread.world_size
    return Compared(
        name,
        row,
        seen,
        _counted(seen.memory.device, row.get("counter", "whole")) / GIB,
        _counted(_alike_items(row, seen), row.get("counter", "whole")) / GIB,
        (seen.speed.tokens_per_second or 0) / gpus,
        (alike.speed.tokens_per_second or 0) / gpus,
        (alike.speed.communication or 0) - alike.speed.hidden,
    )


def machine_of(name: str) -> Cluster:
    """The machine of a row, also of GPUs that the planner has no name for."""
    kind = name.rsplit("x", 1)[1]
    if kind not in _OTHERS:
        return cluster(name)
    like = cluster(name.replace(kind, "H100-80G"))
    gpu = _OTHERS[kind]
    return replace(like, name=name, gpu=gpu, host_memory=gpu.host * like.gpus)


def architecture(model: str) -> Architecture:
    """The published sizes of a model: hidden, inner, layers, heads, heads of keys, words."""
    return Architecture(_data()["models"][model])


def spread_of(row: dict[str, Any], machine: Cluster) -> Spread:
    """The strategy of a row over all GPUs of `machine`."""
    tensor, sequence = row.get("tensor", 1), row.get("sequence", 1)
    copies = machine.hosts * machine.gpus // (tensor * sequence)
    offload = row.get("offload")
    return Spread(
        row["stage"],
        copies,
        tensor=tensor,
        sequence=sequence,
        optimizer_on=Place.CPU if offload else Place.NONE,
        parameters_on=Place.CPU if offload == "both" else Place.NONE,
    )


def work_of(row: dict[str, Any]) -> Work:
    """The micro-batch of a row; publishers use no float mask."""
    has_masters = row.get("master_weights", True)
    return Work(
        row["rows"],
        row["length"],
        row["steps"],
        precision=Precision(row.get("precision", "bf16")),
        checkpointing=row.get("checkpointing", False),
        state_bytes=8 if has_masters else 4,
        trained=_trained(row),
        tile=row.get("tile"),
        from_files=True,
        master_weights=has_masters,
    )


def _trained(row: dict[str, Any]) -> int | None:
    if "lora" not in row:
        return None
    adapter = AdapterConfig(AdapterName.LORA, row["lora"], targets=tuple(row.get("targets", ["all-linear"])))
    return lora_parameters(architecture(row["model"]), adapter)


def _alike_machine(row: dict[str, Any], machine: Cluster) -> Cluster:
    kind = row["machine"].rsplit("x", 1)[1].split("-")[0]
    if row["source"] not in FUSED or machine.gpu is None:
        return machine
    return replace(machine, gpu=replace(machine.gpu, mfu=_FUSED_MFU[kind]))


def _alike_items(row: dict[str, Any], seen: Forecast) -> tuple[Item, ...]:
    """16-bit sums of gradients, and the publisher's bytes of loss. Without masters DeepSpeed's clone is ours alone."""
    factors = {"clone of the weights (bf16)": 0.0}
    if row["steps"] > 1 and row["stage"] > 1 and row.get("precision") != "fp16":
        factors["gradients"] = 0.5
    alike = [replace(item, bytes=round(item.bytes * factors.get(item.name, 1))) for item in seen.memory.device]
    return tuple(_alike_loss(row, item) if item.name == "logits and loss" else item for item in alike)


def _alike_loss(row: dict[str, Any], item: Item) -> Item:
    """All logits as the publisher has them, instead of two bytes each and fp32 copies of a few."""
    logits = item.bytes - 2 * 4 * LOSS_CHUNK["cuda"]
    return replace(item, bytes=round(logits * _LOSS.get(row["source"], _TORCH_LOSS) / _OUR_LOSS))


def _counted(items: tuple[Item, ...], counter: str) -> int:
    """Bytes at the peak by torch's `allocated` or `reserved`, or of the `whole` GPU."""
    taken = tuple(item for item in items if item.allocated or item.name in _BESIDES[counter])
    return max(total(taken, phase) for phase in Phase)


_BESIDES: dict[str, tuple[str, ...]] = {
    "allocated": (),
    "reserved": ("fragmentation",),
    "whole": ("fragmentation", "NCCL", "CUDA context"),
}


def summary(table: Iterable[Compared]) -> dict[str, str]:
    """How many rows are in the bands, and what is wrong."""
    table = list(table)
    ratios = {name: [row.ratios()[name] for row in table if name in row.ratios()] for name in _BANDS}
    lines = {name: _share(values, _BANDS[name]) for name, values in ratios.items()}
    for scale, many in (("one host", False), ("several hosts", True)):
        chosen = [row.ratios() for row in table if (row.seen.machine.hosts > 1) is many]
        values = [ratio["alike speed"] for ratio in chosen if "alike speed" in ratio]
        lines[f"alike speed, {scale}"] = _share(values, SPEED_BAND)
    refused = [row.name for row in table if not row.fits]
    lines["refused, though they ran"] = f"{len(refused)} of {len(table)}: {', '.join(refused) or 'none'}"
    longer = [row.name for row in table if row.alike_communication > row.published.get("seconds", float("inf"))]
    lines["communication longer than the measured step"] = f"{len(longer)}: {', '.join(longer) or 'none'}"
    return lines


_BANDS = {"memory": MEMORY_BAND, "alike memory": MEMORY_BAND, "speed": SPEED_BAND, "alike speed": SPEED_BAND}


def _share(values: list[float], band: tuple[float, float]) -> str:
    within = sum(band[0] <= value <= band[1] for value in values)
    return f"{within} of {len(values)} within {band[0]} to {band[1]}, median {statistics.median(values):.2f}"


def main() -> None:
    """Reads the command line, and prints."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    show()


def show() -> None:
    """Prints the table and its summary, in Markdown."""
    table = rows()
    print("| row | source | model | GPUs | memory | alike | speed | alike | verdict |\n" + "|---" * 9 + "|")
    print(*map(_line, table), sep="\n")
    print()
    for name, line in summary(table).items():
        print(f"- {name}: {line}")
    print()
    for key, address in _data()["sources"].items():
        print(f"- {key}: {address}")


def _line(row: Compared) -> str:
    ratios, published = row.ratios(), row.published
    cells = [f"{ratios[name]:.2f}" if name in ratios else "" for name in _BANDS]
    work = f"{published['model']}, {published['length']} x {published['rows']} x {published['steps']}"
    verdict = "fits" if row.fits else "refused"
    return "| " + " | ".join([row.name, published["source"], work, row.seen.machine.name, *cells, verdict]) + " |"


if __name__ == "__main__":
    main()
