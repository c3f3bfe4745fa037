"""Known GPUs: what each kind holds and computes, and which one nvidia-smi's name means.

From NVIDIA's data sheets: dense 16-bit peak (without sparsity), NVLink in one direction (half of what is stated for
both). Cards for PCIe have its lanes: their NVLink bridges join pairs alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU. `mfu` is the share of `tflops` that training reaches without communication: an assumption."""

    memory: float
    """GiB that torch can use, as its out-of-memory message says it (`total capacity`)."""
    tflops: float
    """Dense 16-bit TFLOP/s with fp32 accumulation; 0 is unknown."""
    link: float
    """GB/s in one direction to the other GPUs of the host: NVLink, or PCIe where there is none."""
    network: float
    """GB/s in one direction and for each GPU to other hosts: an assumption on usual hosts."""
    host: float
    """GiB of host memory for each GPU: an assumption on usual hosts."""
    mfu: float = 0.4
    capability: float = 8.0
    """CUDA compute capability, at least: below 8.0 torch emulates bf16, slowly."""
    reached: float = 0.5
    """Share of `link` and `network` that collectives reach: 370 of 450 GB/s on H100 (nccl-tests issue 212), half on
    A100 under DeepSpeed (Qwen 72B, ZeRO-3: docs/planner.md)."""

    @property
    def bf16(self) -> bool:
        """Whether it multiplies bf16 itself."""
        return self.capability >= 8.0


GPUS: Mapping[str, Gpu] = MappingProxyType(
    {
        "GB300-288G": Gpu(268, 2500, 900, 50, 480, 0.35, 10.3, 0.8),
        "GB200-186G": Gpu(184, 2500, 900, 50, 480, 0.35, 10.0, 0.8),
        "B300-288G": Gpu(268, 2250, 900, 50, 256, 0.35, 10.3, 0.8),
        "B200-180G": Gpu(178.3, 2250, 900, 50, 256, 0.35, 10.0, 0.8),
        "GH200-144G": Gpu(139.8, 989, 450, 50, 480, 0.4, 9.0, 0.8),
        "GH200-96G": Gpu(94.5, 989, 450, 50, 480, 0.4, 9.0, 0.8),
        "H200-141G": Gpu(139.8, 989, 450, 50, 256, 0.4, 9.0, 0.8),
        "H200-NVL-141G": Gpu(139.8, 836, 450, 25, 256, 0.4, 9.0, 0.8),
        "H100-80G": Gpu(79.1, 989, 450, 50, 256, 0.4, 9.0, 0.8),
        "H100-NVL-94G": Gpu(93.1, 835, 64, 25, 256, 0.4, 9.0),
        "H100-PCIE-80G": Gpu(79.1, 756, 64, 25, 256, 0.4, 9.0),
        "H800-80G": Gpu(79.1, 989, 200, 50, 256, 0.4, 9.0, 0.8),
        "H800-PCIE-80G": Gpu(79.1, 756, 64, 25, 256, 0.4, 9.0),
        "H20-96G": Gpu(95.1, 148, 450, 50, 256, 0.45, 9.0, 0.8),
        "A100-80G": Gpu(79.1, 312, 300, 25, 256, 0.45),
        "A100-40G": Gpu(39.4, 312, 300, 25, 128, 0.45),
        "A100-PCIE-80G": Gpu(79.1, 312, 32, 12.5, 256, 0.45),
        "A100-PCIE-40G": Gpu(39.4, 312, 32, 12.5, 128, 0.45),
        "A800-80G": Gpu(79.1, 312, 200, 25, 256, 0.45),
        "A800-PCIE-80G": Gpu(79.1, 312, 32, 12.5, 256, 0.45),
        "L40S-48G": Gpu(44.4, 362, 32, 3, 128, capability=8.9),
        "L40-48G": Gpu(44.4, 181, 32, 3, 128, capability=8.9),
        "RTX6000ADA-48G": Gpu(47.4, 364, 32, 3, 128, capability=8.9),
        "A6000-48G": Gpu(47.4, 155, 32, 3, 128, capability=8.6),
        "A40-48G": Gpu(44.4, 150, 32, 3, 128, capability=8.6),
        "V100-32G": Gpu(31.7, 125, 150, 6, 64, 0.35, capability=7.0),
        "V100-16G": Gpu(15.8, 125, 150, 6, 64, 0.35, capability=7.0),
        "V100-PCIE-32G": Gpu(31.7, 112, 16, 6, 64, 0.35, capability=7.0),
        "V100-PCIE-16G": Gpu(15.8, 112, 16, 6, 64, 0.35, capability=7.0),
        "A30-24G": Gpu(23.5, 165, 32, 3, 64),
        "A10-24G": Gpu(22.1, 125, 32, 3, 48, capability=8.6),
        "A10G-24G": Gpu(22.1, 70, 32, 3, 48, capability=8.6),
        "L4-24G": Gpu(22.0, 121, 32, 3, 48, capability=8.9),
        "T4-16G": Gpu(14.6, 65, 16, 1.5, 48, 0.3, capability=7.5),
        "RTX5090-32G": Gpu(31.4, 209, 64, 1.25, 64, capability=12.0),
        "RTX4090-24G": Gpu(23.6, 165, 32, 1.25, 64, capability=8.9),
        "RTX3090-24G": Gpu(23.7, 71, 32, 1.25, 64, capability=8.6),
    }
)
_CLOSE = 6  # GiB by which the memory of one kind differs: ECC, and units of 1e9 or 2^30 bytes
_TORCH = 0.99  # of what nvidia-smi states
_MIG = re.compile(r"MIG (?P<sevenths>\d+)g\.(?P<memory>\d+)gb")
_MIG_MEMORY = 0.96  # of a profile's name: 3g.40gb of an H100 holds 39.5 GiB, 1g.10gb 9.75


def like(name: str, memory: float) -> Gpu:
    """The known GPU of nvidia-smi's `name` and about `memory` GiB; one of unknown speed where there is none."""
    parts = _parts(name)
    similar = [kind for kind in GPUS if _kind_parts(kind) <= parts and abs(GPUS[kind].memory - memory) < _CLOSE]
    if not similar:
        return Gpu(memory * _TORCH, 0, 16, 1.25, 64)
    gpu = GPUS[max(similar, key=lambda kind: len(_kind_parts(kind)))]
    return replace(gpu, memory=min(gpu.memory, memory * _TORCH))


def slice_of(gpu: Gpu, profile: str) -> Gpu | None:
    """The part of `gpu` that a MIG device is, of nvidia-smi's line `MIG 3g.40gb  Device 0: ...`; None where it is none.

    Slices have sevenths of the cores, and no link to each other.
    """
    match = _MIG.search(profile)
    if not match:
        return None
    share = int(match["sevenths"]) / 7
    return replace(gpu, memory=int(match["memory"]) * _MIG_MEMORY, tflops=gpu.tflops * share, link=min(gpu.link, 16))


def _parts(name: str) -> set[str]:
    return set(re.split(r"[\s-]+", name.upper()))


def _kind_parts(kind: str) -> set[str]:
    """What must stand in nvidia-smi's name: `RTX6000ADA-48G` is an RTX 6000 Ada, `A100-PCIE-40G` an A100-PCIE."""
    plain = re.sub(r"RTX(\d+)(ADA)?", r"RTX-\1-\2", kind.rsplit("-", 1)[0])
    return _parts(plain.strip("-"))
