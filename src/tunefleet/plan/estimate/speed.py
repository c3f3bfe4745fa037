"""Speed: seconds of a step, from its arithmetic, what is sent beside it, and what a host updates.

Arithmetic: 6 N + 12 L H Q T FLOPs a token (Chowdhery et al. 2022, PaLM, arXiv:2204.02311, appendix B), with N without
embeddings that are only looked up; a causal kernel skips half of the scores (Dao 2023, FlashAttention-2,
arXiv:2307.08691, section 3.1), which a mask of numbers forbids. Computing activations again adds a third. In 1F1B's
bubble (arXiv:2104.04473) all wait for the slowest stage. The longer one of arithmetic and ZeRO's communication hides
half of the other: three lengths of Qwen 72B under ZeRO-3 fit it (docs/planner.md#against-published-measurements).
"""

from __future__ import annotations

from dataclasses import dataclass

from tunefleet.config.parallel import Place
from tunefleet.plan.estimate.communication import Links, Traffic, links, stage_weights, traffic
from tunefleet.plan.estimate.gpus import Cluster
from tunefleet.plan.estimate.pipeline_stages import stages_of
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture

_PCIE = 16.0  # GB/s between a GPU and its host, in practice: an assumption
_NVME = 3.0  # GB/s of one host's disks: an assumption
_HIDDEN = 0.5  # of the shorter one of arithmetic and communication: Qwen 72B with LoRA under ZeRO-3 on 4 A100
_HOST_ADAM = 2.5e-9  # seconds a weight on _CORES cores: LLaMA 7B, ZeRO-2 and 3 on 8 A800, 17 to 20 s for 6.74e9 weights
_CORES = 64  # of the host on which that was measured
_LAUNCH = 5e-3  # seconds a layer and micro-batch with checkpointing: Qwen 1.8B, 7B and 14B at 256 tokens, 4.7 to 5.2 ms
_LAUNCH_STAGE_3 = 11e-3  # the same where weights are gathered: Qwen 1.8B and 7B at 256 tokens, 11 to 16 ms


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
    """Seconds of arithmetic, or of starting it where that takes longer."""
    communication: float | None
    """Seconds of what is sent, as if nothing were hidden."""
    hidden: float = 0.0
    """Seconds of communication that pass beside the arithmetic."""
    offload: float = 0.0
    """Seconds of what goes over PCIe and disks, and of a host's optimizer."""

    @property
    def seconds(self) -> float | None:
        """The whole step."""
        if self.compute is None or self.communication is None:
            return None
        return self.compute + self.communication - self.hidden + self.offload

    @property
    def tokens_per_second(self) -> float | None:
        """Of all processes."""
        return self.tokens / self.seconds if self.seconds else None


def flops_per_token(
    architecture: Architecture, length: int, trained: int | None = None, skips_masked: bool = False
) -> float:
    """Forward and backward pass; frozen weights need no gradient of their own (a third less).

    `skips_masked` is whether attention leaves out the scores above the diagonal, half of all. Raises ValueError for a
    family that cannot be counted.
    """
    counted, size = architecture.parameters, architecture.dimensions
    products = counted.layers + (counted.head or size.vocab * size.hidden)
    expert = 3 * size.hidden * size.ffn * size.layers
    products -= expert * (architecture.experts - architecture.active_experts)
    learning = 2 * (products if trained is None else trained)
    scores = 12 * size.layers * size.heads * size.head_dim * length
    return 4 * products + learning + (scores / 2 if skips_masked else scores)


def speed(architecture: Architecture, spread: Spread, work: Work, machine: Cluster) -> Speed:
    """The step of a run on `machine`. Raises ValueError for a family that cannot be counted."""
    tokens = work.tokens * work.accumulation * spread.data_parallel
    skips_masked = not (work.packed and work.masked) and not architecture.activations.scores
    flops = tokens * flops_per_token(architecture, work.length, work.trained, skips_masked)
    sent = traffic(architecture, spread, work)
    gpu = machine.gpu
    if gpu is None or not gpu.tflops:
        return Speed(flops, sent.total, tokens, None, None)
    compute = _compute(architecture, spread, work, flops / (spread.world_size * gpu.tflops * 1e12 * gpu.mfu))
    between = links(spread, machine, gpu)
    return Speed(
        flops,
        sent.total,
        tokens,
        compute,
        between.seconds(sent),
        _hidden(spread, work, compute, between, sent),
        _offload(architecture, spread, work, machine),
    )


def _compute(architecture: Architecture, spread: Spread, work: Work, arithmetic: float) -> float:
    """Seconds of a step whose `arithmetic` takes so many; small micro-batches wait for their kernels to be started."""
    recompute = 4 / 3 if work.checkpointing else 1
    layer = _LAUNCH_STAGE_3 if spread.zero_stage == 3 else _LAUNCH
    starting = layer * 3 / 4 * architecture.dimensions.layers / spread.pipeline * work.accumulation
    bubble = 1 + (spread.pipeline - 1) / work.accumulation
    return max(arithmetic, starting) * recompute * bubble * _unevenness(architecture, spread, work)


def _hidden(spread: Spread, work: Work, compute: float, between: Links, sent: Traffic) -> float:
    """Seconds that both take at once. Stages 0 and 1 and pipelines sum gradients after the last backward pass."""
    overlaps = spread.zero_stage >= 2 and spread.pipeline == 1
    return _HIDDEN * min(compute, between.data_seconds(sent)) if overlaps else 0.0


def _unevenness(architecture: Architecture, spread: Spread, work: Work) -> float:
    """How much longer the slowest stage of a pipeline takes than the mean one: the head is as much work as blocks."""
    counted, size = architecture.parameters, architecture.dimensions
    block, head = counted.layers / size.layers, counted.head or size.vocab * size.hidden
    stages = [stage.blocks * block + head * stage.last for stage in stages_of(architecture, spread, work.accumulation)]
    return max(stages) * len(stages) / sum(stages)


def _offload(architecture: Architecture, spread: Spread, work: Work, machine: Cluster) -> float:
    """Seconds over PCIe and to the disks: gradients out, weights back; states in and out of a disk; and the update of
    all weights of a host on its cores."""
    weights = stage_weights(architecture, spread)
    trained = (weights if work.trained is None else min(work.trained, weights)) / spread.share(1)
    processes = min(spread.world_size, max(1, machine.gpus))
    seconds = 0.0
    if spread.optimizer_on is not Place.NONE:
        seconds += trained * 6 / (_PCIE * 1e9) + trained * processes * _HOST_ADAM * _CORES / machine.cores
    if spread.parameters_on is not Place.NONE:
        seconds += 2 * work.accumulation * weights * 2 / spread.share(3) / (_PCIE * 1e9)
    if spread.optimizer_on is Place.NVME:
        seconds += 2 * trained * 12 * processes / (_NVME * 1e9)
    return seconds
