"""Strategies by another tool's name: a DeepSpeed JSON, FSDP, a stage, and what 4-bit weights leave of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.imports.draft import Draft
from tunefleet.imports.option import Kind, is_in_force

_LARGEST = 1 << 20  # bytes of a DeepSpeed JSON
_OF_STAGE = {0: "ddp", 1: "zero1", 2: "zero2", 3: "zero3"}
_IN_NAME = {"z0": 0, "z1": 1, "z2": 2, "z3": 3, "zero0": 0, "zero1": 1, "zero2": 2, "zero3": 3}


def of_deepspeed(draft: Draft, name: str, value: Any, folder: Path) -> None:
    """The strategy of a DeepSpeed configuration: by what it says where it is on this machine, else by its name."""
    config = value if isinstance(value, dict) else _config(str(value), folder)
    if config is None:
        _by_name(draft, name, str(value))
        return
    zero = config.get("zero_optimization") or {}
    stage = zero.get("stage", 0)
    if stage not in _OF_STAGE or not isinstance(zero, dict):
        draft.refuse(name, f"{value!r:.60} has no ZeRO stage from 0 to 3")
        return
    devices = {key: (zero.get(f"offload_{key}") or {}).get("device", "none") for key in ("optimizer", "param")}
    offloads = {key for key, device in devices.items() if device != "none"}
    _put(draft, name, stage, offloads)
    if "nvme" in devices.values():
        draft.refuse(name, "keeps states on NVMe: choose parallel=zero3_nvme with parallel.nvme_path by hand")


def _config(path: str, folder: Path) -> dict[str, Any] | None:
    """What the JSON at `path` holds, seen from the file or from here; None where it is not there."""
    for candidate in (folder / path, Path(path)):
        if candidate.is_file() and candidate.stat().st_size <= _LARGEST:
            try:
                config = json.loads(files.read_bytes(candidate))
            except (ValueError, RecursionError):
                return None
            return config if isinstance(config, dict) else None
    return None


def _by_name(draft: Draft, name: str, value: str) -> None:
    text = Path(value).stem.lower()
    if "fp8" in text:
        draft.refuse(name, f"{value} computes in 8-bit floats")
        return
    if "autotp" in text:
        draft.put("parallel", "tensor_zero2" if "z2" in text else "tensor", name)
        return
    stages = [stage for part, stage in _IN_NAME.items() if part in text]
    if not stages:
        draft.refuse(
            name, f"{value} is not on this machine, and its name has no ZeRO stage: choose parallel=... by hand"
        )
        return
    offloads = {"optimizer", "param"} if "offload" in text else set()
    _put(draft, name, stages[0], {"param"} if "offload_params" in text else offloads)


def _put(draft: Draft, name: str, stage: int, offloads: set[str]) -> None:
    """The name of a stage with what lies in host memory."""
    if stage == 3 and offloads == {"param"}:
        draft.put("parallel", "zero3", name)
        draft.put("parallel.offload_parameters", "cpu", name)
    else:
        draft.put("parallel", _OF_STAGE[stage] + "_offload" * bool(offloads and stage >= 2), name)


def of_fsdp(draft: Draft, name: str, value: Any, offload: bool) -> None:
    """FSDP's full shard is ZeRO-3, its shard of gradients and states ZeRO-2, by another engine."""
    parts = str(value).lower()
    strategy = "zero2" if "shard_grad_op" in parts else "zero3"
    if "no_shard" in parts:
        strategy = "ddp"
    draft.put("parallel", strategy + "_offload" * (offload and strategy != "ddp"), name)


def quantised_beside_stage_3(draft: Draft) -> None:
    """Quantised weights are whole on every GPU here: ZeRO-2 computes the same as FSDP or ZeRO-3 around them."""
    adapter, strategy = draft.value("adapter"), str(draft.value("parallel"))
    if adapter not in ("qlora", "lora_8bit") or not strategy.startswith("zero3"):
        return
    draft.put("parallel", "zero2", draft.settings["parallel"].origin)
    draft.settings.pop("parallel.offload_parameters", None)
    draft.remark(
        f"{draft.settings['parallel'].origin} with quantised weights",
        Kind.APPROXIMATE,
        "trains the same as zero2, but each GPU holds all quantised weights: half a byte (4 bits) or one (8 bits) each",
    )


def pure_bf16(draft: Draft, name: str) -> None:
    """Weights and moments of bf16 need an engine that keeps them so, which begins at ZeRO-1."""
    if draft.value("train.master_weights") is False and draft.value("parallel") in ("ddp", "single", None):
        draft.put("parallel", "zero1", name)


def degrees(draft: Draft) -> int:
    """Processes of one copy of the model that read the same rows."""
    sizes = [draft.value(f"parallel.{kind}") for kind in ("tensor", "pipeline", "sequence")]
    copies = 1
    for size in sizes:
        copies *= int(size) if is_in_force(size) else 1
    return copies
