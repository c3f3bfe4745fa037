"""Do words for a machine mean what they say, and does a mistake get one clear answer?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.plan.estimate import gpus
from tunefleet.plan.estimate.gpus import cluster, host_memory, this_machine
from tunefleet.plan.estimate.known_gpus import GPUS, like
from tunefleet.plan.processes.machine import Machine


@pytest.mark.parametrize(
    ("words", "hosts", "gpus", "memory"),
    [
        ("8xH100-80G", 1, 8, 79.1),
        ("2x8xA100-40G", 2, 8, 39.4),
        ("1xRTX4090-24G", 1, 1, 23.6),
        ("4xh200", 1, 4, 139.8),
        ("64x8xH100", 64, 8, 79.1),
    ],
)
def test_hosts_times_gpus(words: str, hosts: int, gpus: int, memory: float) -> None:
    found = cluster(words)
    assert (found.hosts, found.gpus, found.device_memory) == (hosts, gpus, memory)


def test_the_machine_to_plan_for() -> None:
    one, two = cluster("8xH100-80G").machine(), cluster("2x8xA100-40G").machine()
    assert (one.gpus, one.world_size, one.processes_here) == (8, None, None)
    assert (two.gpus, two.world_size, two.processes_here) == (8, 16, 8)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("H100", r"plan.machine: 'H100' is not a machine. Allowed: 8xH100-80G"),
        ("8x", "is not a machine"),
        ("0xH100-80G", "has no GPUs"),
        ("8xH1000-80G", "no GPU is called H1000-80G. Known: H100-80G"),
        ("8xA100", "no GPU is called A100. Known: A100-80G, A100-40G"),
        ("none.yaml", "none.yaml cannot be read: No such file"),
    ],
)
def test_other_words_are_refused(words: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        cluster(words)


def written(folder: Path, text: str) -> str:
    path = folder / "own.yaml"
    path.write_text(text)
    return str(path)


def test_an_own_machine(tmp_path: Path) -> None:
    found = cluster(written(tmp_path, "hosts: 2\ngpus: 4\ngpu: A100-80G\nmfu: 0.5\nhost_memory: 100\n"))
    assert (found.name, found.hosts, found.gpus, found.host_memory) == ("own", 2, 4, 100)
    assert found.gpu is not None
    assert (found.gpu.memory, found.gpu.mfu) == (79.1, 0.5)


def test_an_own_gpu(tmp_path: Path) -> None:
    found = cluster(written(tmp_path, "gpus: 2\nmemory: 10\ntflops: 20\nlink: 8\nnetwork: 1\nhost: 32\n"))
    assert found.gpu is not None
    assert (found.gpu.memory, found.gpu.mfu, found.host_memory) == (10, 0.4, 64)


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("gpu: H100-80G\nmemry: 3\n", ["unknown key memry"]),
        ("gpu: H100-80G\ngpus: -1\nmfu: much\n", ["gpus must be a number above 0", "mfu must be a number above 0"]),
        ("memory: 10\ntflops: 3\n", ["lacks link, network, host"]),
        ("- a\n", ["must hold keys and values"]),
        ("a: [\n", ["is no YAML"]),
    ],
)
def test_mistakes_in_an_own_machine(tmp_path: Path, text: str, complaints: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        cluster(written(tmp_path, text))
    assert len(caught.value.complaints) == len(complaints)
    for said, expected in zip(caught.value.complaints, complaints, strict=True):
        assert expected in said


def test_this_host_has_memory() -> None:
    assert (host_memory() or 0) > 0.1
    assert this_machine(Machine(gpus=0, cores=2)).host_memory == host_memory()


@pytest.mark.parametrize(
    ("name", "mib", "known", "memory"),
    [
        ("NVIDIA H100 80GB HBM3", 81559, "H100-80G", 78.85),
        ("NVIDIA A100-SXM4-40GB", 40960, "A100-40G", 39.4),
        ("NVIDIA A100-SXM4-80GB", 81920, "A100-80G", 79.1),
        ("NVIDIA GeForce RTX 4090", 24564, "RTX4090-24G", 23.6),
        ("Tesla V100-SXM2-32GB", 32768, "V100-32G", 31.68),
        ("NVIDIA Unheard Of", 10240, None, 9.9),
        ("NVIDIA H100 PCIe", 81559, "H100-PCIE-80G", 78.85),
    ],
)
def test_what_nvidia_smi_says(
    name: str, mib: int, known: str | None, memory: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\necho '{name}, {mib}'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    gpus.installed.cache_clear()
    found = this_machine(Machine(gpus=1, cores=2)).gpu
    gpus.installed.cache_clear()
    assert found is not None
    assert found.memory == pytest.approx(memory, abs=0.02)
    assert found.tflops == (GPUS[known].tflops if known else 0)


@pytest.mark.parametrize(
    ("name", "gib", "kind"),
    [
        ("NVIDIA H100 NVL", 93.6, "H100-NVL-94G"),
        ("NVIDIA H200", 140.4, "H200-141G"),
        ("NVIDIA H200 NVL", 140.4, "H200-NVL-141G"),
        ("NVIDIA H20", 95.6, "H20-96G"),
        ("NVIDIA A100 80GB PCIe", 80.0, "A100-PCIE-80G"),
        ("NVIDIA A100-PCIE-40GB", 40.0, "A100-PCIE-40G"),
        ("NVIDIA A800-SXM4-80GB", 80.0, "A800-80G"),
        ("NVIDIA A10", 22.5, "A10-24G"),
        ("NVIDIA A10G", 22.5, "A10G-24G"),
        ("NVIDIA A30", 24.0, "A30-24G"),
        ("NVIDIA A40", 45.0, "A40-48G"),
        ("NVIDIA L4", 22.5, "L4-24G"),
        ("NVIDIA L40", 45.0, "L40-48G"),
        ("NVIDIA L40S", 45.0, "L40S-48G"),
        ("NVIDIA RTX 6000 Ada Generation", 48.0, "RTX6000ADA-48G"),
        ("NVIDIA RTX A6000", 48.0, "A6000-48G"),
        ("Tesla V100-PCIE-16GB", 16.0, "V100-PCIE-16G"),
        ("Tesla T4", 15.0, "T4-16G"),
        ("NVIDIA GB200", 185.0, "GB200-186G"),
        ("NVIDIA B200", 179.0, "B200-180G"),
        ("NVIDIA B300 SXM6 AC", 268.6, "B300-288G"),
        ("NVIDIA GH200 480GB", 95.6, "GH200-96G"),
        ("NVIDIA GeForce RTX 5090", 31.8, "RTX5090-32G"),
    ],
)
def test_the_longest_name_is_the_kind(name: str, gib: float, kind: str) -> None:
    gpu, known = like(name, gib), GPUS[kind]
    assert (gpu.tflops, gpu.link, gpu.capability) == (known.tflops, known.link, known.capability)


def test_only_gpus_since_ampere_multiply_bf16() -> None:
    assert {kind for kind, gpu in GPUS.items() if not gpu.bf16} == {kind for kind in GPUS if kind[:2] in ("V1", "T4")}


_SMI = """#!/bin/sh
case "$*" in
-L) printf 'GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-1)\nGPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2)\n'
    printf '  MIG 3g.40gb     Device  0: (UUID: MIG-7)\n' ;;
"-i 1 "*) echo 'NVIDIA H100 80GB HBM3, 81559' ;;
*) echo 'NVIDIA A100-SXM4-80GB, 81920' ;;
esac
"""


@pytest.mark.parametrize(
    ("visible", "tflops", "memory"),
    [("", 312, 79.1), ("0,1", 312, 79.1), ("1,0", 989, 78.85), ("MIG-7", 989 * 3 / 7, 38.4), ("MIG-8", None, None)],
)
def test_the_first_visible_gpu_is_asked(
    visible: str, tflops: float | None, memory: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(_SMI)
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpus.installed.cache_clear()
    gpu = gpus.installed()
    gpus.installed.cache_clear()
    assert (gpu.tflops if gpu else None) == pytest.approx(tflops)
    assert (gpu.memory if gpu else None) == pytest.approx(memory, abs=0.02)
