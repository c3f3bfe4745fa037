"""Efficiency of a run: model FLOPs utilization (MFU, of PaLM), of a peak that is stated or measured."""

from __future__ import annotations

import torch

from tunefleet.contracts import StepResult
from tunefleet.engine.dtypes import torch_dtype
from tunefleet.engine.peak_speed import measured_tflops
from tunefleet.plan.choose.auto import estimate
from tunefleet.plan.estimate import gpus
from tunefleet.plan.estimate.gpus import Cluster
from tunefleet.plan.estimate.speed import flops_per_token
from tunefleet.plan.plan import Plan


class Efficiency:
    """What part of the peak of all processes the model's arithmetic is.

    The peak of one process is `tracking.peak_tflops`, else what is known of its GPU, else what it reaches here.
    """

    def __init__(self, plan: Plan) -> None:
        self._flops_per_token = _flops_per_token(plan)
        self._tflops, self._origin = _peak(plan) if self._flops_per_token else (0.0, "")
        self._processes = plan.layout.world_size

    @property
    def legend(self) -> dict[str, str]:
        """What MFU is of, for the console; empty where it is not known."""
        if not self._tflops:
            return {}
        return {"MFU": f"of {self._tflops:.3g} TFLOP/s for each process, {self._origin}"}

    def mfu(self, result: StepResult) -> dict[str, float]:
        """{"train/mfu": the share} of a step; empty where it is not known. What is computed again does not count."""
        if not (self._tflops and self._flops_per_token):
            return {}
        flops = result.tokens_per_second * self._flops_per_token
        return {"train/mfu": flops / (self._processes * self._tflops * 1e12)}


def _flops_per_token(plan: Plan) -> float | None:
    try:
        work = estimate(plan.config, plan.layout, plan.sources.architecture, Cluster("")).work
        return flops_per_token(plan.sources.architecture, work.length, work.trained)
    except ValueError:
        return None  # a family that is not counted


def _peak(plan: Plan) -> tuple[float, str]:
    """(TFLOP/s of one process, where that is from)."""
    if stated := plan.config.tracking.peak_tflops:
        return stated, "as tracking.peak_tflops says"
    device = plan.layout.device
    gpu = gpus.installed() if device == "cuda" else None
    if gpu and gpu.tflops:
        return gpu.tflops, "by the data sheet of its GPU for 16 bits"
    return measured_tflops(torch_dtype(plan.config.train.precision), torch.device(device)), "as measured here"
