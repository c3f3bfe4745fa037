"""Which weights do the processes of a tensor group divide, and why not those of every model?

`tests/engine/test_tensor_families.py` measures every family of `DIVISIONS`: losses, gradient norms and trained
weights of two tensor peers are those of one process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Architecture = Mapping[str, Any]


@dataclass(frozen=True)
class Division:
    """Projections of a block by their names: peers hold a part of the outputs of `columns`, of the inputs of `rows`.

    Peers add up what `rows` return. `shared` norms work on single heads: every peer holds them whole and sees the
    gradients of its own heads, which are added up. Embeddings, other norms and the output projection are whole.
    """

    columns: tuple[str, ...]
    rows: tuple[str, ...]
    shared: tuple[str, ...] = ()


_QKV = ("q_proj", "k_proj", "v_proj")
_GATED = ((*_QKV, "gate_proj", "up_proj"), ("o_proj", "down_proj"))
_FAIRSEQ = Division((*_QKV, "fc1"), ("out_proj", "fc2"))
_NORMED = Division(*_GATED, ("q_norm", "k_norm"))
_FUSED = (("query_key_value", "dense_h_to_4h"), ("dense", "dense_4h_to_h"))

DIVISIONS: Mapping[str, Division] = {
    "arcee": Division((*_QKV, "up_proj"), ("o_proj", "down_proj")),
    "biogpt": _FAIRSEQ,
    "cohere": Division(*_GATED),
    "cohere2": Division(*_GATED),
    "ernie4_5": Division(*_GATED),
    "exaone4": _NORMED,
    "gemma": Division(*_GATED),
    "gemma2": Division(*_GATED),
    "gemma3_text": _NORMED,
    "gpt_neo": Division((*_QKV, "c_fc"), ("out_proj", "c_proj")),
    "gpt_neox": Division(*_FUSED),
    "gptj": Division((*_QKV, "fc_in"), ("out_proj", "fc_out")),
    "granite": Division(*_GATED),
    "helium": Division(*_GATED),
    "hunyuan_v1_dense": Division(*_GATED, ("query_layernorm", "key_layernorm")),
    "llama": Division(*_GATED),
    "ministral": Division(*_GATED),
    "ministral3": Division(*_GATED),
    "mistral": Division(*_GATED),
    "nemotron": Division((*_QKV, "up_proj"), ("o_proj", "down_proj")),
    "olmo": Division(*_GATED),
    "opt": _FAIRSEQ,
    "persimmon": Division(*_FUSED, ("q_layernorm", "k_layernorm")),
    "phi": Division((*_QKV, "fc1"), ("dense", "fc2"), ("q_layernorm", "k_layernorm")),
    "qwen2": Division(*_GATED),
    "qwen3": _NORMED,
    "seed_oss": Division(*_GATED),
    "smollm3": Division(*_GATED),
    "stablelm": Division(*_GATED),
    "starcoder2": Division((*_QKV, "c_fc"), ("o_proj", "c_proj")),
    "xglm": _FAIRSEQ,
}
"""Families (`model_type`) whose blocks are divided, and how."""

_CONV = "its projections are stored transposed (Conv1D), which DeepSpeed does not divide for training"
_PACKED = "it has gate and up in one weight, of which a peer would get a part that does not match"
_OVER_ALL_HEADS = "it normalises over all heads at once, and a peer has only some of them"
_EXPERTS = "most of its weights are experts, which are not divided here"
_NOT_DIVIDED: Mapping[str, str] = {
    "apertus": "its activation has weights of its own, of which a peer would see a part of the gradient",
    "bloom": "its ALiBi slopes are counted over all heads, and a peer has only some of them",
    "falcon": "all its query heads share one key head, or lie in one weight with theirs",
    "glm": _PACKED,
    "glm4": _PACKED,
    "gpt2": _CONV,
    "gpt_bigcode": "all its query heads share one key head",
    "olmo2": _OVER_ALL_HEADS,
    "olmo3": _OVER_ALL_HEADS,
    "phi3": "it has queries, keys and values in one weight, one after another, and so gate and up",
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "gpt_oss", "granitemoe", "jetmoe", "mixtral"), _EXPERTS),
    **dict.fromkeys(("olmoe", "qwen2_moe", "qwen3_moe", "qwen3_next"), _EXPERTS),
}


def refusal(architecture: Architecture) -> str | None:
    """Why tensor peers would not train the model that one process trains; None where they do."""
    family = str(architecture.get("model_type"))
    if family in _NOT_DIVIDED:
        return _NOT_DIVIDED[family]
    if family not in DIVISIONS:
        return "nobody has measured that dividing its layers is exact"
    if family in ("cohere", "stablelm") and (architecture.get("use_qk_norm") or architecture.get("qk_layernorm")):
        return "with its norms of queries and keys every head has weights of its own, which are not divided here"
    return None


def divisible(architecture: Architecture) -> dict[str, int]:
    """What the degree must divide, by a name to read: heads, key heads, and the width of the feed-forward."""
    heads = _first(architecture, ("num_attention_heads", "n_head", "num_heads", "attention_heads"))
    found = {
        "attention heads": heads,
        "key heads": _first(architecture, ("num_key_value_heads",)),
        "feed-forward columns": _first(architecture, ("intermediate_size", "ffn_dim", "n_inner")),
    }
    return {name: number for name, number in found.items() if number}


def dimension(family: str, weight: str) -> int | None:
    """Along which dimension the weight of that name is divided; None where every peer holds the whole of it."""
    division = DIVISIONS[family]
    module, _, kind = weight.rpartition(".")
    projection = module.rpartition(".")[2]
    if projection in division.columns:
        return 0
    return 1 if projection in division.rows and kind == "weight" else None


def divided(family: str) -> dict[str, Any]:
    """What DeepSpeed's AutoTP is told: every weight by name, so that it guesses nothing and leaves the rest whole."""
    division = DIVISIONS[family]
    layers: list[dict[str, Any]] = [
        {"patterns": [_pattern(division.columns, "weight")], "partition_type": "column"},
        {"patterns": [_pattern(division.rows, "weight")], "partition_type": "row"},
    ]
    if division.shared:
        norms = [_pattern(division.shared, "(weight|bias)")]
        layers.append({"patterns": norms, "partition_type": "skip", "grad_allreduce": True})
    return {"use_default_specs": False, "layer_specs": layers}


def _first(architecture: Architecture, keys: tuple[str, ...]) -> int | None:
    return next((architecture[key] for key in keys if architecture.get(key)), None)


def _pattern(projections: tuple[str, ...], kind: str) -> str:
    return rf".*\.({'|'.join(projections)})\.{kind}$"
