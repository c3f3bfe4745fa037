"""Precision: the dtype that `train.precision=auto` means, and those that are slow on this machine."""

from __future__ import annotations

from dataclasses import replace

from tunefleet.config import RunConfig
from tunefleet.config.train import Precision
from tunefleet.plan.processes.machine import Machine

_SLOW = (
    "this CPU multiplies no 16-bit numbers (no AVX-512, or bf16 of ARM), and torch takes dozens of times as long for "
    "them as for fp32"
)


def resolved(config: RunConfig, machine: Machine) -> RunConfig:
    """`config` with a precision: bf16 where the machine computes with it, fp32 elsewhere."""
    if config.train.precision is not Precision.AUTO:
        return config
    dtype = Precision.FP32 if is_slow(machine) else Precision.BF16
    return replace(config, train=replace(config.train, precision=dtype))


def notes(typed: Precision, machine: Machine) -> tuple[str, ...]:
    """What is worth knowing about the precision that was typed."""
    if not is_slow(machine) or typed is Precision.FP32:
        return ()
    if typed is Precision.AUTO:
        return (f"train.precision=auto is fp32: {_SLOW}.",)
    return (f"train.precision={typed.value} will be slow: {_SLOW}. Use train.precision=fp32.",)


def is_slow(machine: Machine) -> bool:
    """Whether 16-bit numbers are slow there."""
    return not machine.gpus and not machine.fast_bf16
