"""Precision: the dtype that `train.precision=auto` means, and those that are slow on this machine."""

from __future__ import annotations

from dataclasses import replace

from tunefleet.config import RunConfig
from tunefleet.config.train import Precision
from tunefleet.plan.estimate.known_gpus import Gpu
from tunefleet.plan.processes.machine import Machine

_SLOW = (
    "this CPU multiplies no 16-bit numbers (no AVX-512, or bf16 of ARM), and torch takes dozens of times as long for "
    "them as for fp32"
)


def resolved(config: RunConfig, machine: Machine, gpu: Gpu | None = None) -> RunConfig:
    """`config` with a precision: bf16 where the machine computes with it; else fp16 on a GPU, and fp32 on a CPU.

    `gpu` is the kind that the machine has, None where it is not known.
    """
    if config.train.precision is not Precision.AUTO:
        return config
    return replace(config, train=replace(config.train, precision=_best(machine, gpu)))


def _best(machine: Machine, gpu: Gpu | None) -> Precision:
    if machine.gpus:
        return Precision.FP16 if gpu and not gpu.bf16 else Precision.BF16
    return Precision.FP32 if is_slow(machine) else Precision.BF16


def notes(typed: Precision, machine: Machine, gpu: Gpu | None = None) -> tuple[str, ...]:
    """What is worth knowing about the precision that was typed."""
    if machine.gpus:
        return _on_gpu(typed, gpu)
    if not is_slow(machine) or typed is Precision.FP32:
        return ()
    if typed is Precision.AUTO:
        return (f"train.precision=auto is fp32: {_SLOW}.",)
    return (f"train.precision={typed.value} will be slow: {_SLOW}. Use train.precision=fp32.",)


def _on_gpu(typed: Precision, gpu: Gpu | None) -> tuple[str, ...]:
    if typed is Precision.FP32:
        return (
            "train.precision=fp32 is true fp32 on a GPU (no TF32): exact, and up to fifteen times slower than bf16.",
        )
    if gpu is None or gpu.bf16 or typed is Precision.FP16:
        return ()
    if typed is Precision.AUTO:
        return ("train.precision=auto is fp16: this GPU does not multiply bf16, and torch only emulates it.",)
    return ("train.precision=bf16: this GPU does not multiply bf16, and the run will end. Use train.precision=fp16.",)


def is_slow(machine: Machine) -> bool:
    """Whether 16-bit numbers are slow there."""
    return not machine.gpus and not machine.fast_bf16
