"""Speed: arithmetic of a step, what is sent, and how much of a machine's peak is assumed.

Arithmetic: 6 N + 12 L H Q T FLOPs a token (Chowdhery et al. 2022, PaLM, arXiv:2204.02311, appendix B), with N without
embeddings that are only looked up; computing activations again adds a third. What is sent: ZeRO section 7 (an
all-reduce moves 2 Ψ, gathering and scattering Ψ each), Megatron (arXiv:1909.08053) four all-reduces a layer for
tensor-parallel ranks, Ulysses (arXiv:2309.14509) eight all-to-alls a layer, and 1F1B's bubble (arXiv:2104.04473), in
which all wait for the slowest stage. Nothing of it is assumed to overlap, so the time is rather too long than too
short.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.config.parallel import Place
from tunefleet.plan.estimate.gpus import Cluster, Gpu
from tunefleet.plan.estimate.pipeline_stages import stages_of
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture

_PCIE = 16.0  # GB/s between a GPU and its host, in practice: an assumption
_NVME = 3.0  # GB/s of one host's disks: an assumption


@dataclass(frozen=True)
class Speed:
    """One optimizer step. Seconds are None where the machine's speed is unknown."""

    flops: float
    """Model FLOPs of all processes, without what is computed again."""
    sent: float
    """Bytes that one process sends."""
    tokens: int
    """Tokens of all processes."""
    compute: float | None
    communication: float | None

    @property
    def seconds(self) -> float | None:
        """The whole step."""
        return None if self.compute is None or self.communication is None else self.compute + self.communication

    @property
    def tokens_per_second(self) -> float | None:
        """Of all processes."""
        return self.tokens / self.seconds if self.seconds else None


def flops_per_token(architecture: Architecture, length: int, trained: int | None = None) -> float:
    """Forward and backward pass; frozen weights need no gradient of their own (a third less).

    Raises ValueError for a family that cannot be counted.
    """
    counted, size = architecture.parameters, architecture.dimensions
    products = counted.layers + (counted.head or size.vocab * size.hidden)
    expert = 3 * size.hidden * size.ffn * size.layers
    products -= expert * (architecture.experts - architecture.active_experts)
    learning = 2 * (products if trained is None else trained)
    return 4 * products + learning + 12 * size.layers * size.heads * size.head_dim * length


def speed(architecture: Architecture, spread: Spread, work: Work, machine: Cluster) -> Speed:
    """The step of a run on `machine`. Raises ValueError for a family that cannot be counted."""
    tokens = work.tokens * work.accumulation * spread.data_parallel
    flops = tokens * flops_per_token(architecture, work.length, work.trained)
    sent = _sent(architecture, spread, work)
    gpu = machine.gpu
    if gpu is None or not gpu.tflops:
        return Speed(flops, sum(sent.values()), tokens, None, None)
    recompute = 4 / 3 if work.checkpointing else 1
    bubble = 1 + (spread.pipeline - 1) / work.accumulation
    waiting = bubble * _unevenness(architecture, spread, work)
    compute = flops * recompute * waiting / (spread.world_size * gpu.tflops * 1e12 * gpu.mfu)
    within = {"tensor": gpu.link, "sequence": gpu.link, "pipeline": _between(spread, machine, gpu)}
    across = _between(spread, machine, gpu)
    seconds = sum(bytes_ / (within.get(kind, across) * 1e9) for kind, bytes_ in sent.items())
    return Speed(flops, sum(sent.values()), tokens, compute, seconds + _offload(architecture, spread, work, machine))


def _unevenness(architecture: Architecture, spread: Spread, work: Work) -> float:
    """How much longer the slowest stage of a pipeline takes than the mean one: the head is as much work as blocks."""
    counted, size = architecture.parameters, architecture.dimensions
    block, head = counted.layers / size.layers, counted.head or size.vocab * size.hidden
    stages = [stage.blocks * block + head * stage.last for stage in stages_of(architecture, spread, work.accumulation)]
    return max(stages) * len(stages) / sum(stages)


def _between(spread: Spread, machine: Cluster, gpu: Gpu) -> float:
    """GB/s of the slowest link on the way of data-parallel ranks."""
    return gpu.network if spread.world_size > machine.gpus and machine.hosts > 1 else gpu.link


def _sent(architecture: Architecture, spread: Spread, work: Work) -> dict[str, float]:
    """Bytes that one process sends in a step, by the group that it communicates with."""
    size, weights = architecture.dimensions, _stage_weights(architecture, spread)
    trained = weights if work.trained is None else min(work.trained, weights)
    width = 4 if work.precision.value == "fp32" else 2
    layer = work.tokens / spread.sequence * size.hidden * width * size.layers / spread.pipeline
    recompute = 1.5 if work.checkpointing else 1
    return {
        "data": _data(weights, trained, spread, work, width) * (spread.shards - 1) / spread.shards,
        "tensor": 4 * recompute * 2 * layer * work.accumulation * (spread.tensor - 1) / spread.tensor,
        "sequence": 8 * recompute * layer * work.accumulation * (spread.sequence - 1) / spread.sequence,
        "pipeline": 2 * work.tokens * size.hidden * width * work.accumulation * (spread.pipeline > 1),
    }


def _data(weights: float, trained: float, spread: Spread, work: Work, width: int) -> float:
    """Gradients are summed in fp32; ZeRO-2 and 3 do so after every micro-batch."""
    if spread.zero_stage == 0:
        return 2 * 4 * trained
    if spread.zero_stage == 3:
        gathers = 3 if work.checkpointing else 2
        return work.accumulation * (gathers * width * weights + 4 * trained)
    times = work.accumulation if spread.zero_stage == 2 else 1
    return times * 2 * 4 * trained + width * trained


def _stage_weights(architecture: Architecture, spread: Spread) -> float:
    return architecture.parameters.total / (spread.tensor * spread.pipeline)


def _offload(architecture: Architecture, spread: Spread, work: Work, machine: Cluster) -> float:
    """Seconds over PCIe and to the disks: gradients out, weights back; states in and out of a disk."""
    weights = _stage_weights(architecture, spread)
    trained = (weights if work.trained is None else min(work.trained, weights)) / spread.share(1)
    seconds = 0.0
    if spread.optimizer_on is not Place.NONE:
        seconds += trained * 6 / (_PCIE * 1e9)
    if spread.parameters_on is not Place.NONE:
        seconds += 2 * work.accumulation * weights * 2 / spread.share(3) / (_PCIE * 1e9)
    if spread.optimizer_on is Place.NVME:
        seconds += 2 * trained * 12 * min(spread.world_size, max(1, machine.gpus)) / (_NVME * 1e9)
    return seconds
