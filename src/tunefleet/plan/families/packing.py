"""Which models may have several conversations in one row, and why not the others?

`tests/model/test_packing_families.py` measures every entry: loss and gradients of packed rows are those of the
conversations one by one, or they are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WINDOWED = (
    "cohere2",
    "exaone4",
    "gemma2",
    "gemma3_text",
    "gpt_oss",
    "ministral",
    "ministral3",
    "mistral",
    "mixtral",
    "olmo3",
    "phi3",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "smollm3",
    "starcoder2",
)
"""Exact families (`model_type`) that may attend within a sliding window."""

EXACT = (
    *WINDOWED,
    "apertus",
    "arcee",
    "biogpt",
    "bloom",
    "codegen",
    "cohere",
    "ctrl",
    "deepseek_v2",
    "deepseek_v3",
    "ernie4_5",
    "falcon",
    "gemma",
    "glm",
    "glm4",
    "gpt2",
    "gpt_bigcode",
    "gpt_neo",
    "gpt_neox",
    "gpt_neox_japanese",
    "gptj",
    "granite",
    "granitemoe",
    "helium",
    "hunyuan_v1_dense",
    "jetmoe",
    "llama",
    "mpt",
    "nemotron",
    "olmo",
    "olmo2",
    "olmoe",
    "opt",
    "persimmon",
    "phi",
    "seed_oss",
    "stablelm",
    "xglm",
)
"""Families (`model_type`) whose packed loss equals the unpacked one."""

_STATE = "it carries a state from token to token, which runs on into the next conversation of a row"
INEXACT = {
    "bamba": _STATE,
    "falcon_h1": _STATE,
    "falcon_mamba": _STATE,
    "jamba": _STATE,
    "lfm2": _STATE,
    "llama4_text": "it attends in chunks that are counted from the start of a row",
    "mamba": _STATE,
    "mamba2": _STATE,
    "openai-gpt": "it takes no mask that tells the conversations of a row apart",
    "qwen3_next": _STATE,
    "recurrent_gemma": _STATE,
    "rwkv": _STATE,
}
"""Families (`model_type`) that cannot be packed, and why."""

Architecture = Mapping[str, Any]


def refusal(architecture: Architecture, length: int) -> str | None:
    """Why rows of `length` tokens of several conversations would train another loss; None where they do not."""
    family = architecture.get("model_type")
    if family in INEXACT:
        return INEXACT[family]
    if family not in EXACT:
        return "nobody has measured that its packed loss is the unpacked one"
    if family == "falcon" and architecture.get("alibi"):
        return "with ALiBi it takes no mask that tells the conversations of a row apart"
    if architecture.get("sliding_window") and family not in WINDOWED:
        return "its config.json has a sliding_window, which the family does not use"
    return stretching(architecture, length)


def stretching(architecture: Architecture, length: int) -> str | None:
    """Why a rotary embedding changes for a whole batch with its longest conversation; None where it does not."""
    rope = architecture.get("rope_parameters") or architecture.get("rope_scaling") or {}
    kind = rope.get("rope_type") or rope.get("type")
    keys = ("original_max_position_embeddings", "max_position_embeddings")
    native = next((places[key] for key in keys for places in (rope, architecture) if places.get(key)), 0)
    if kind not in ("dynamic", "longrope", "su") or length <= native:
        return None
    return f"its {kind} rotary embedding changes for all conversations of a batch when one has over {native} tokens"
