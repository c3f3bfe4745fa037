"""Memory of a run on each device and on each host, item by item.

Parameters, gradients and optimizer states follow Rajbhandari et al. 2020 (ZeRO, arXiv:1910.02054, section 3 and
figure 1). What DeepSpeed adds to the paper is read from its source (0.19): an fp32 accumulator of gradients, buckets of
fixed sizes that exist whatever the model has, a flat copy of the gradients in the step of the optimizer, and
parameters that stage 3 leaves gathered up to 1e9 elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunefleet.base.units import GIB
from tunefleet.config.parallel import Place
from tunefleet.plan.estimate.activations import Activations, activations
from tunefleet.plan.estimate.gradient_items import buffers, gradients
from tunefleet.plan.estimate.memory_item import Item, Phase, Sizes
from tunefleet.plan.estimate.pipeline_stages import Stage, stages_of
from tunefleet.plan.estimate.spread import Spread
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture

_CONTEXT = 0.6 * GIB  # CUDA context and cuBLAS workspaces: an assumption
_NCCL = 0.5 * GIB  # NCCL's channels and buffers, where there is more than one rank: an assumption
_FRAGMENTS = 0.04  # share of the peak that the caching allocator cannot use: an assumption
_QUANTISED = {4: 0.53, 8: 1.0}  # bytes a weight: NF4 with its constants (Dettmers et al. 2023, section 3), int8
_HEAP = 2**25  # glibc's largest M_MMAP_THRESHOLD: what is larger goes back to the system when it is freed
PROCESS = 0.47 * GIB  # Python, torch, DeepSpeed, transformers and the data, resident: benchmarks/memory.py
_PROCESS_WITH_GPU = 3 * GIB  # the same with CUDA's libraries: an assumption


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
    size = Sizes.in_stage(architecture, spread, work, stage)
    tensors = activations(architecture, work, spread, stage, on_gpu)
    states = list(_states(size, spread, work))
    on_device = (Place.NONE,) if on_gpu else (Place.NONE, Place.CPU)
    device = [item for place, item in states if place in on_device]
    device += [*buffers(size, spread, work, on_gpu), *_activations(tensors, on_gpu)]
    device = [item for item in device if item.bytes]
    device += _overhead(tuple(device), spread, on_gpu)
    outside = [item for place, item in states if place is Place.CPU and place not in on_device]
    host = [_times(item, processes_here) for item in [*outside, *_start(size, spread, work, on_gpu, device)]]
    disk = [_times(item, processes_here) for place, item in states if place is Place.NVME]
    return Memory(tuple(device), tuple(item for item in host if item.bytes), tuple(disk))


def _states(size: Sizes, spread: Spread, work: Work) -> Iterator[tuple[Place, Item]]:
    """What training must remember, and where: ZeRO, figure 1."""
    weights = size.staged * size.width
    if work.frozen_bits:  # linear layers, with their constants; bitsandbytes leaves embedding and head as they are
        weights = round((size.staged - size.ends) * _QUANTISED[work.frozen_bits]) + size.ends * size.width
    yield spread.parameters_on, Item("parameters", weights // spread.share(3))
    if size.is_16bit and spread.zero_stage == 0:
        copies = 2 * _autocast(size, work)
        yield Place.NONE, Item("autocast's 16-bit copies", copies, Phase.FORWARD | Phase.BACKWARD)
    yield from _masters(size, spread, work)
    if spread.copy_among > 1:
        yield Place.NONE, Item("second copy of the parameters", size.staged * size.width // spread.copy_among)
    yield Place.CPU, Item("buffers of NVMe offload", spread.nvme_buffer * size.width)
    yield spread.optimizer_on, Item("optimizer states", size.trained * work.state_bytes // spread.share(1))
    if work.snapshot:
        yield Place.CPU, Item("copy of what is being saved", _saved_bytes(size, spread, work))
    yield gradients(size, spread, work)


def _autocast(size: Sizes, work: Work) -> int:
    """Weights of which there is a 16-bit copy between forward and backward pass.

    torch's cache of casts holds what requires a gradient alone (ATen/autocast_mode.cpp). The copy of a frozen weight
    lives until the backward pass of its product: with checkpointing only that of the head is there long.
    """
    head = size.ends if size.tied else size.ends // 2
    frozen = head if work.checkpointing or work.frozen_bits else size.staged - size.trained
    return min(size.staged, size.trained + frozen)


def _masters(size: Sizes, spread: Spread, work: Work) -> Iterator[tuple[Place, Item]]:
    """fp32 copies of what is trained. Without them DeepSpeed clones its flat weights at stages 1 and 2 all the same
    (zero/stage_1_and_2.py, `single_partition_of_fp32_groups`); at stage 3 it updates the weights themselves."""
    if not spread.zero_stage or (spread.zero_stage == 3 and (size.width == 4 or not work.master_weights)):
        return
    name, width = ("master weights (fp32)", 4) if work.master_weights else ("clone of the weights (bf16)", 2)
    yield spread.optimizer_on, Item(name, size.trained * width // spread.share(1))


def _saved_bytes(size: Sizes, spread: Spread, work: Work) -> int:
    """A process's part of a checkpoint, of the one that has most: the first, which writes the weights too."""
    weights = size.trained * size.width if spread.zero_stage < 3 else 0
    masters = sum(item.bytes for _, item in _masters(size, spread, work))
    return weights + masters + size.trained * work.state_bytes // spread.share(1)


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


def _start(size: Sizes, spread: Spread, work: Work, on_gpu: bool, device: list[Item]) -> list[Item]:
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
