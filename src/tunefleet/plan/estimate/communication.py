"""Communication: bytes that one process sends in a step, the links that they take, and the seconds.

What is sent: ZeRO section 7 (Rajbhandari et al. 2020; an all-reduce moves 2 Ψ, gathering and scattering Ψ each),
Megatron (arXiv:1909.08053) four all-reduces a layer for tensor-parallel ranks, Ulysses (arXiv:2309.14509) eight
all-to-alls a layer, and a stage's output to the next one.

How fast: NCCL's rings use every network card of a host, and each byte enters a host once, so members of a group on one
host share their cards: `min(link, members x card)` (nccl-tests, doc/PERFORMANCE.md; NVIDIA/nccl issue 1218 measures
200 to 340 GB/s on 256 H100 with eight cards of 50). An all-to-all and what goes from stage to stage have one card
(nccl-tests issue 267). Of that rate `Gpu.reached` is reached.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.plan.estimate.gpus import Cluster
from tunefleet.plan.estimate.known_gpus import Gpu
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture


@dataclass(frozen=True)
class Traffic:
    """Bytes that one process sends in a step, by the group that it communicates with."""

    data: float
    tensor: float
    sequence: float
    pipeline: float

    @property
    def total(self) -> float:
        """All of them, bytes."""
        return self.data + self.tensor + self.sequence + self.pipeline


@dataclass(frozen=True)
class Links:
    """GB/s in one direction that a process has, by the group that it communicates with."""

    data: float
    tensor: float
    sequence: float
    pipeline: float

    def seconds(self, sent: Traffic) -> float:
        """How long all of `sent` takes, one after another."""
        return self.waited(sent) + self.data_seconds(sent)

    def data_seconds(self, sent: Traffic) -> float:
        """How long gradients and gathered weights take."""
        return sent.data / (self.data * 1e9)

    def waited(self, sent: Traffic) -> float:
        """How long what the next product waits for takes: it cannot be sent beside the arithmetic."""
        return (
            sent.tensor / (self.tensor * 1e9)
            + sent.sequence / (self.sequence * 1e9)
            + sent.pipeline / (self.pipeline * 1e9)
        )


def links(spread: Spread, machine: Cluster, gpu: Gpu) -> Links:
    """The links of a run. Ranks count tensor-parallel or sequence-parallel ones first, then rows, then stages."""
    whole_copies = spread.tensor * spread.shards
    return Links(
        data=_ring(whole_copies, machine, gpu, spread.tensor),
        tensor=_ring(spread.tensor, machine, gpu),
        sequence=_direct(spread.sequence, machine, gpu),
        pipeline=_direct(spread.world_size, machine, gpu),
    )


def _ring(ranks: int, machine: Cluster, gpu: Gpu, stride: int = 1) -> float:
    """GB/s of a collective whose members are every `stride`-th of `ranks` neighbours."""
    if machine.hosts == 1 or ranks <= machine.gpus:
        return gpu.link * gpu.reached
    members = max(1, machine.gpus // stride)
    return min(gpu.link, members * gpu.network) * gpu.reached


def _direct(ranks: int, machine: Cluster, gpu: Gpu) -> float:
    """GB/s between two of `ranks` neighbours, of the slowest pair."""
    rate = gpu.link if machine.hosts == 1 or ranks <= machine.gpus else gpu.network
    return rate * gpu.reached


def traffic(architecture: Architecture, spread: Spread, work: Work) -> Traffic:
    """What one process sends in a step. Raises ValueError for a family that cannot be counted."""
    size, weights = architecture.dimensions, stage_weights(architecture, spread)
    trained = weights if work.trained is None else min(work.trained, weights)
    width = 4 if work.precision.value == "fp32" else 2
    layer = work.tokens / spread.sequence * size.hidden * width * size.layers / spread.pipeline
    recompute = 1.5 if work.checkpointing else 1
    return Traffic(
        data=_data(weights, trained, spread, work, width) * (spread.shards - 1) / spread.shards,
        tensor=4 * recompute * 2 * layer * work.accumulation * (spread.tensor - 1) / spread.tensor,
        sequence=8 * recompute * layer * work.accumulation * (spread.sequence - 1) / spread.sequence,
        pipeline=2 * work.tokens * size.hidden * width * work.accumulation * (spread.pipeline > 1),
    )


def _data(weights: float, trained: float, spread: Spread, work: Work, width: int) -> float:
    """Gradients are summed in fp32; ZeRO-2 and 3 do so after every micro-batch."""
    if spread.zero_stage == 0:
        return 2 * 4 * trained
    if spread.zero_stage == 3:
        gathers = 3 if work.checkpointing else 2
        return work.accumulation * (gathers * width * weights + 4 * trained)
    times = work.accumulation if spread.zero_stage == 2 else 1
    return times * 2 * 4 * trained + width * trained


def stage_weights(architecture: Architecture, spread: Spread) -> float:
    """Weights of one process, before ZeRO shards them."""
    return architecture.parameters.total / (spread.tensor * spread.pipeline)
