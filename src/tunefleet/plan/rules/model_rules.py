"""Rules of models: how long their sequences may be, and with how many conversations in each."""

from __future__ import annotations

from tunefleet.config import RunConfig
from tunefleet.config.model import Attention
from tunefleet.config.train import Precision
from tunefleet.plan.families import by_document, packing
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.rules.request import Request

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


def tokens(config: RunConfig) -> list[str]:
    """Special tokens by their names; a longer embedding is that of a whole model."""
    complaints = [
        f"model.special_tokens.{name}: no special token. Allowed: {', '.join(SPECIAL_TOKENS)}."
        for name in config.model.special_tokens
        if name not in SPECIAL_TOKENS
    ]
    degrees = [name for name in ("tensor", "pipeline") if getattr(config.parallel, name) > 1]
    if config.model.new_tokens and (degrees or config.adapter.frozen_bits):
        typed = " ".join(f"parallel.{name}=1" for name in degrees) or "adapter=lora"
        complaints.append(f"model.new_tokens: a longer embedding needs whole, unquantised weights. Use {typed}.")
    return complaints


def packing_is_exact(config: RunConfig, architecture: Architecture) -> list[str]:
    """Packed sequences must have the loss of their conversations one by one."""
    reason = packing.refusal(architecture, config.train.sequence_length) if config.data.packing else None
    if not reason:
        return []
    return [
        f"data.packing: {config.model.name} cannot be packed: it is of the family {architecture.model_type}, "
        f"and {reason}. Use data.packing=false."
    ]


def attention(request: Request) -> list[str]:
    """Attention by document is that of a family that allows it; kernels of GPUs take 16-bit numbers."""
    config, architecture = request.config, request.architecture
    if config.model.attention is not Attention.DOCUMENT or architecture is None:
        return []
    on_gpu = request.layout is not None and request.layout.device != "cpu"
    reason = by_document.refusal(architecture)
    if reason is None and on_gpu and config.train.precision is Precision.FP32:
        return [
            "model.attention: document needs 16-bit numbers on a GPU. "
            "Use model.attention=auto, or train.precision=bf16."
        ]
    if reason is None:
        return []
    return [
        f"model.attention: {config.model.name} cannot attend by document: it is of the family "
        f"{architecture.model_type}, and {reason}. Use model.attention=auto."
    ]


def positions(config: RunConfig, architecture: Architecture) -> list[str]:
    """A sequence has no more tokens than the model has positions."""
    longest = _max_positions(architecture)
    if not longest or config.train.sequence_length <= longest:
        return []
    return [
        f"train.sequence_length: {config.train.sequence_length} is more than the {longest} positions of "
        f"{config.model.name}. Use train.sequence_length={longest} or less."
    ]


def _max_positions(architecture: Architecture) -> int | None:
    try:
        return architecture.dimensions.max_positions
    except ValueError:
        return None
