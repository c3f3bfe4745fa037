"""Memory of a run on each device and on each host, item by item.

Parameters, gradients and optimizer states follow Rajbhandari et al. 2020 (ZeRO, arXiv:1910.02054, section 3 and
figure 1). What DeepSpeed adds to the paper is read from its source (0.19): an fp32 accumulator of gradients, buckets of
5e8 elements that exist whatever the model's size, a flat copy of the gradients in the step of the optimizer, and
parameters that stage 3 leaves gathered up to 1e9 elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Flag, auto

from tunefleet.base.units import GIB
from tunefleet.config.parallel import Place
from tunefleet.config.train import Precision
from tunefleet.plan.estimate.activations import Activations, activations
from tunefleet.plan.estimate.pipeline_stages import Stage, stages_of
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture

BUCKET = 500_000_000  # elements: zero_optimization.reduce_bucket_size
LIVE = 1_000_000_000  # elements: stage3_max_live_parameters
PREFETCH = 50_000_000  # elements: stage3_prefetch_bucket_size
SUB_GROUP = 1_000_000_000  # elements: sub_group_size, what stage 3 updates at once
_CONTEXT = 0.6 * GIB  # CUDA context and cuBLAS workspaces: an assumption
_NCCL = 0.5 * GIB  # NCCL's channels and buffers, where there is more than one rank: an assumption
_FRAGMENTS = 0.04  # share of the peak that the caching allocator cannot use: an assumption
_QUANTISED = {4: 0.53, 8: 1.0}  # bytes a weight: NF4 with its constants (Dettmers et al. 2023, section 3), int8
_HEAP = 2**25  # glibc's largest M_MMAP_THRESHOLD: what is larger goes back to the system when it is freed
PROCESS = 0.47 * GIB  # Python, torch, DeepSpeed, transformers and the data, resident: benchmarks/memory.py
_PROCESS_WITH_GPU = 3 * GIB  # the same with CUDA's libraries: an assumption


class Phase(Flag):
    """When an item is there: before the first step, at the end of a forward pass, while gradients come, while they
    are summed over ranks, in the update."""

    START = auto()
    FORWARD = auto()
    BACKWARD = auto()
    SUM = auto()
    UPDATE = auto()
    ALWAYS = FORWARD | BACKWARD | SUM | UPDATE


@dataclass(frozen=True)
class Item:
    """`bytes` of something, in `phases` of a step. Not everything on a GPU is counted by torch's allocator."""

    name: str
    bytes: int
    phases: Phase = Phase.ALWAYS
    allocated: bool = True


@dataclass(frozen=True)
class Memory:
    """Items of one device, of one host (all its processes together), and on one host's disk.

    On a CPU the device is one process's part of the host.
    """

    device: tuple[Item, ...]
    host: tuple[Item, ...]
    disk: tuple[Item, ...] = ()

    @property
    def phase(self) -> Phase:
        """When a device has the least room."""
        return max(Phase, key=lambda phase: total(self.device, phase))

    @property
    def device_bytes(self) -> int:
        """The peak of one device."""
        return total(self.device, self.phase)

    @property
    def measurable_bytes(self) -> int:
        """What torch.cuda.max_memory_allocated says on a GPU, and the resident size of a process on a CPU."""
        counted = tuple(item for item in self.device if item.allocated)
        return max(total(counted, phase) for phase in Phase)

    @property
    def host_bytes(self) -> int:
        """The peak of one host."""
        return max(total(self.host, phase) for phase in Phase)


def total(items: tuple[Item, ...], phase: Phase) -> int:
    """Bytes that are there in `phase`."""
    return sum(item.bytes for item in items if phase in item.phases)


def memory(architecture: Architecture, spread: Spread, work: Work, on_gpu: bool, processes_here: int) -> Memory:
    """The memory of a run: its fullest stage stands for all. Raises ValueError for a family that cannot be counted."""
    stages = dict.fromkeys(stages_of(architecture, spread, work.accumulation))
    memories = [_of_stage(architecture, spread, work, stage, on_gpu, processes_here) for stage in stages]
    return max(memories, key=lambda memory: memory.device_bytes)


def _of_stage(
    architecture: Architecture, spread: Spread, work: Work, stage: Stage, on_gpu: bool, processes_here: int
) -> Memory:
    size = _Sizes.in_stage(architecture, spread, work, stage)
    tensors = activations(architecture, work, spread, stage, on_gpu)
    states = list(_states(size, spread, work))
    on_device = (Place.NONE,) if on_gpu else (Place.NONE, Place.CPU)
    device = [item for place, item in states if place in on_device]
    device += [*_buffers(size, spread, work, on_gpu), *_activations(tensors, on_gpu)]
    device = [item for item in device if item.bytes]
    device += _overhead(tuple(device), spread, on_gpu)
    outside = [item for place, item in states if place is Place.CPU and place not in on_device]
    host = [_times(item, processes_here) for item in [*outside, *_start(size, spread, work, on_gpu, device)]]
    disk = [_times(item, processes_here) for place, item in states if place is Place.NVME]
    return Memory(tuple(device), tuple(item for item in host if item.bytes), tuple(disk))


@dataclass(frozen=True)
class _Sizes:
    """Elements: all weights of the model, those of this stage, the trainable ones of these, and bytes of a weight."""

    model: int
    staged: int
    trained: int
    largest: int
    width: int  # bytes of a weight
    is_16bit: bool  # whether products are in 16 bits
    tied: bool  # whether embedding and head are one

    @staticmethod
    def in_stage(architecture: Architecture, spread: Spread, work: Work, stage: Stage) -> _Sizes:
        """Tensor-parallel ranks shard the blocks, not the embeddings. The last stage has a copy of a tied embedding."""
        counted, shape = architecture.parameters, architecture.dimensions
        head = counted.head if stage.first else counted.head or counted.embedding
        ends = counted.embedding * stage.first + (head + counted.outside) * stage.last
        staged = round(counted.layers / shape.layers * stage.blocks / spread.tensor + ends)
        trainable = 1.0 if work.trained is None else work.trained / counted.total
        trained = round(staged * trainable)
        is_16bit = work.precision is not Precision.FP32
        vocab_rows = shape.vocab * (stage.first or stage.last)
        largest = max(vocab_rows, shape.ffn) * shape.hidden
        return _Sizes(
            model=counted.total,
            staged=staged,
            trained=trained,
            largest=min(trained, largest),
            width=2 if is_16bit and spread.zero_stage else 4,
            is_16bit=is_16bit,
            tied=not counted.head,
        )


def _states(size: _Sizes, spread: Spread, work: Work) -> Iterator[tuple[Place, Item]]:
    """What training must remember, and where: ZeRO, figure 1."""
    weights = size.staged * size.width
    if work.frozen_bits:  # linear layers, with their constants; the embedding stays as it is
        weights = round((size.staged - size.largest) * _QUANTISED[work.frozen_bits]) + size.largest * size.width
    yield spread.parameters_on, Item("parameters", weights // spread.share(3))
    if size.is_16bit and spread.zero_stage == 0:
        yield Place.NONE, Item("autocast's 16-bit copies", size.staged * 2, Phase.FORWARD | Phase.BACKWARD)
    if spread.zero_stage and not (spread.zero_stage == 3 and size.width == 4):
        yield spread.optimizer_on, Item("master weights (fp32)", size.trained * 4 // spread.share(1))
    if spread.copy_among > 1:
        yield Place.NONE, Item("second copy of the parameters", size.staged * size.width // spread.copy_among)
    yield Place.CPU, Item("buffers of NVMe offload", spread.nvme_buffer * size.width)
    yield spread.optimizer_on, Item("optimizer states", size.trained * work.state_bytes // spread.share(1))
    if work.snapshot:
        yield Place.CPU, Item("copy of what is being saved", _saved_bytes(size, spread, work))
    yield _gradients(size, spread, work)


def _saved_bytes(size: _Sizes, spread: Spread, work: Work) -> int:
    """A process's part of a checkpoint, of the one that has most: the first, which writes the weights too."""
    weights = size.trained * size.width if spread.zero_stage < 3 else 0
    masters = size.trained * 4 // spread.share(1) if spread.zero_stage else 0
    return weights + masters + size.trained * work.state_bytes // spread.share(1)


def _gradients(size: _Sizes, spread: Spread, work: Work) -> tuple[Place, Item]:
    """They are there during the forward pass where a step has several micro-batches, or DeepSpeed keeps a buffer."""
    fp16 = work.precision is Precision.FP16  # DeepSpeed accumulates fp16 gradients as they are
    persist = spread.zero_stage == 3 or (spread.zero_stage == 1 and size.width == 2 and not fp16)
    width = 2 if fp16 and spread.zero_stage else 4
    phases = Phase.ALWAYS if persist or work.accumulation > 1 else Phase.BACKWARD | Phase.SUM | Phase.UPDATE
    place = spread.optimizer_on if spread.optimizer_on is Place.CPU else Place.NONE
    return place, Item("gradients", size.trained * width // spread.share(2), phases)


def _buffers(size: _Sizes, spread: Spread, work: Work, on_gpu: bool) -> Iterator[Item]:
    """What DeepSpeed and torch hold to communicate and to update."""
    if spread.zero_stage == 0 or (spread.zero_stage == 1 and work.precision is Precision.BF16):
        yield Item("bucket of gradients", min(BUCKET, size.trained) * 4, Phase.SUM)  # even where there is one rank
    else:
        yield from _zero_buffers(size, spread, on_gpu)
    copies = 2 if size.tied else 1  # a tied embedding has two gradients before they are one
    yield Item("largest gradient", size.largest * copies * size.width, Phase.BACKWARD)
    if spread.zero_stage == 3:
        live = min(size.staged, LIVE + PREFETCH) * size.width
        yield Item("gathered parameters", live, Phase.FORWARD | Phase.BACKWARD)
    if not on_gpu:  # torch's Adam is not fused there: two temporaries of the largest tensor
        largest = size.trained // spread.share(1) if spread.zero_stage else size.largest
        yield Item("temporaries of the update", 2 * 4 * largest * bool(work.state_bytes), Phase.UPDATE)


def _zero_buffers(size: _Sizes, spread: Spread, on_gpu: bool) -> Iterator[Item]:
    """Buckets are asked for whole, whatever the model's size; a CPU gives memory only to what is written of them."""
    touched = min(BUCKET, size.trained)
    width = 4 if spread.zero_stage == 1 else size.width
    formats = 2 if spread.zero_stage == 3 and size.is_16bit else 1  # stage 3 has one for each dtype
    bucket = BUCKET * width * formats if on_gpu else touched * width
    yield Item("buckets of gradients", bucket, Phase.ALWAYS if spread.zero_stage == 3 else Phase.BACKWARD)
    if spread.shards > 1 and size.is_16bit:
        yield Item("bucket in fp32 for the sum", touched * 4, Phase.BACKWARD)
    if spread.optimizer_on is Place.NONE:
        flat = size.trained // spread.share(1)
        at_once = min(flat, SUB_GROUP) if spread.zero_stage == 3 else flat
        yield Item("flat gradients of the update", 4 * at_once, Phase.UPDATE)


def _activations(tensors: Activations, on_gpu: bool) -> Iterator[Item]:
    """On a CPU small tensors come from the heap of C, which gradients pin before it could shrink again."""
    pinned = not on_gpu and tensors.largest < _HEAP
    yield Item("activations", tensors.saved, Phase.ALWAYS if pinned else Phase.FORWARD)
    yield Item("attention mask", tensors.mask, Phase.FORWARD | Phase.BACKWARD)
    yield Item("logits and loss", tensors.loss, Phase.FORWARD)
    yield Item("one layer at work", tensors.layer, Phase.BACKWARD)


def _overhead(items: tuple[Item, ...], spread: Spread, on_gpu: bool) -> list[Item]:
    peak = max(total(items, phase) for phase in Phase)
    if not on_gpu:
        return [Item("Python and libraries", round(PROCESS)), Item("fragmentation", round(_FRAGMENTS * peak))]
    return [
        Item("CUDA context", round(_CONTEXT), allocated=False),
        Item("NCCL", round(_NCCL) if spread.world_size > 1 else 0, allocated=False),
        Item("fragmentation", round(_FRAGMENTS * peak), allocated=False),
    ]


def _start(size: _Sizes, spread: Spread, work: Work, on_gpu: bool, device: list[Item]) -> list[Item]:
    """What a process holds on its host: beside a GPU the libraries, and from scratch the whole model at the start.

    Weights of files are read one by one (`engine/shard_parameters.py`); under ZeRO-3 what 16 bits would round is kept
    until master weights have it. ZeRO++ and NVMe offload read the whole model.
    """
    if not on_gpu:
        return device
    if work.from_files and spread.one_by_one:
        share = size.model // spread.share(3) if size.is_16bit and spread.zero_stage == 3 else 0
        start = Item("weights at the start, read one by one (fp32)", (size.largest + share) * 4, Phase.START)
    else:
        start = Item("the whole model at the start (fp32)", size.model * 4, Phase.START)
    return [Item("Python and libraries", round(_PROCESS_WITH_GPU), Phase.START | Phase.ALWAYS), start]


def _times(item: Item, number: int) -> Item:
    return Item(item.name, item.bytes * number, item.phases)
