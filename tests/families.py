"""Which tiny architectures stand for the families of causal language models?"""

from __future__ import annotations

from typing import Any

from tests.shared import TINY, architecture

Config = dict[str, Any]

_LLAMA: Config = {**architecture("llama"), "head_dim": 8}
_GPT = architecture("gpt2")
_NEOX: Config = {**architecture("gpt_neox"), "embed_dropout": 0.0, "resid_dropout": 0.0}
_LAYERS = {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64, "expansion_ratio": 2}
_WINDOW = {"sliding_window": 4}
_MIXED = {**_WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
_QWEN_WINDOW = {**_WINDOW, "use_sliding_window": True}
_FEW_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_GEMMA = {"query_pre_attn_scalar": 8}
_MULTIPLIERS = {"attention_multiplier": 0.3, "embedding_multiplier": 2.0, "residual_multiplier": 0.5}
_LATENT = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}


def _of(base: Config, family: str, *changes: Config, **more: Any) -> Config:
    """`base`, changed and renamed to `family`; no family drops anything out."""
    dropouts = dict.fromkeys(("hidden_dropout", "residual_dropout", "resid_pdrop", "embd_pdrop"), 0.0)
    merged: Config = {**base, **dropouts}
    for change in (*changes, more):
        merged.update(change)
    return {**merged, "model_type": family}


def _llama(family: str, *changes: Config, **more: Any) -> Config:
    return _of(_LLAMA, family, *changes, **more)


PLAIN: dict[str, Config] = {family: architecture(family) for family in TINY} | {
    "apertus": _llama("apertus"),
    "arcee": _llama("arcee"),
    "biogpt": _of(_NEOX, "biogpt", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
    "bloom": _of(_NEOX, "bloom", n_layer=2, n_head=4),
    "codegen": _of(_GPT, "codegen", rotary_dim=4),
    "cohere": _llama("cohere", logit_scale=0.25),
    "ctrl": _of(_GPT, "ctrl", dff=64),
    "deepseek_v2": _of(_LLAMA, "deepseek_v2", _LATENT),
    "deepseek_v3": _of(_LLAMA, "deepseek_v3", _LATENT),
    "ernie4_5": _llama("ernie4_5"),
    "falcon": _of(_NEOX, "falcon", alibi=False),
    "gemma": _llama("gemma"),
    "glm": _llama("glm"),
    "glm4": _llama("glm4"),
    "gpt_bigcode": _of(_GPT, "gpt_bigcode"),
    "gpt_neo": _of(
        _NEOX, "gpt_neo", num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=4
    ),
    "gpt_neox_japanese": _of(_NEOX, "gpt_neox_japanese", intermediate_multiple_size=2),
    "gptj": _of(_GPT, "gptj", rotary_dim=4),
    "granite": _llama("granite", _MULTIPLIERS, logits_scaling=3.0),
    "granitemoe": _llama("granitemoe", _LOCAL_EXPERTS, _MULTIPLIERS, logits_scaling=3.0),
    "helium": _llama("helium"),
    "hunyuan_v1_dense": _llama("hunyuan_v1_dense"),
    "jetmoe": _llama("jetmoe", _LOCAL_EXPERTS, kv_channels=8),
    "mpt": _of(_LAYERS | {key: _GPT[key] for key in ("vocab_size", "initializer_range", "eos_token_id")}, "mpt"),
    "nemotron": _llama("nemotron"),
    "olmo": _llama("olmo"),
    "olmo2": _llama("olmo2"),
    "olmoe": _llama("olmoe", _FEW_EXPERTS),
    "persimmon": _llama("persimmon"),
    "phi": _llama("phi"),
    "seed_oss": _llama("seed_oss"),
    "stablelm": _llama("stablelm"),
    "xglm": {
        "model_type": "xglm",
        **{key: _GPT[key] for key in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")},
        "d_model": 32,
        "ffn_dim": 64,
        "num_layers": 2,
        "attention_heads": 4,
        "max_position_embeddings": 64,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "init_std": 0.3,
    },
}
"""Families without a window, or with theirs switched off."""

WINDOWED: dict[str, Config] = {
    "cohere2": _llama("cohere2", _MIXED, logit_scale=0.25),
    "exaone4": _llama("exaone4", _MIXED),
    "gemma2": _llama("gemma2", _MIXED, _GEMMA, attn_logit_softcapping=5.0, final_logit_softcapping=3.0),
    "gemma3_text": _llama("gemma3_text", _MIXED, _GEMMA),
    "gpt_oss": _llama("gpt_oss", _MIXED, _LOCAL_EXPERTS),
    "ministral": _llama("ministral", _MIXED),
    "ministral3": _llama("ministral3", _WINDOW),
    "mistral, window": _llama("mistral", _WINDOW),
    "mixtral": _llama("mixtral", _WINDOW, _LOCAL_EXPERTS),
    "olmo3": _llama("olmo3", _MIXED),
    "phi3": _llama("phi3", _WINDOW),
    "qwen2, window": _llama("qwen2", _QWEN_WINDOW, max_window_layers=0),
    "qwen2, window in the upper layer": _llama("qwen2", _QWEN_WINDOW, max_window_layers=1),
    "qwen2_moe": _llama(
        "qwen2_moe", _QWEN_WINDOW, _FEW_EXPERTS, shared_expert_intermediate_size=16, max_window_layers=1
    ),
    "qwen3": _llama("qwen3", _QWEN_WINDOW, max_window_layers=1),
    "qwen3_moe": _llama("qwen3_moe", _QWEN_WINDOW, _FEW_EXPERTS),
    "smollm3": _llama("smollm3", _QWEN_WINDOW, no_rope_layers=[1, 0], layer_types=_MIXED["layer_types"]),
    "starcoder2": _llama("starcoder2", _WINDOW, embedding_dropout=0.0),
}
"""Families with a window of 4 tokens, in every layer or in some."""

VARIANTS: dict[str, Config] = {
    "gpt_bigcode, a key for each head": _of(_GPT, "gpt_bigcode", multi_query=False),
    "qwen2, window switched off": _llama("qwen2", _WINDOW, use_sliding_window=False),
    "falcon, new decoder": _of(_NEOX, "falcon", alibi=False, new_decoder_architecture=True, num_kv_heads=2),
    "phi3, longrope": _llama(
        "phi3",
        original_max_position_embeddings=16,
        rope_scaling={"type": "longrope", "short_factor": [1.0, 1.5, 2.0, 2.5], "long_factor": [2.0, 4.0, 6.0, 8.0]},
    ),
}

EVERY: dict[str, Config] = PLAIN | WINDOWED | VARIANTS
"""Every tiny architecture that packing is claimed exact for."""

_STATE = {"state_size": 4, "expand": 2}
_DELTA = {f"linear_{name}": 2 for name in ("num_key_heads", "num_value_heads")}
_DELTA |= {f"linear_{name}": 8 for name in ("key_head_dim", "value_head_dim")}
INEXACT: dict[str, Config] = {
    "bamba": _llama("bamba", mamba_n_heads=4, mamba_d_head=16, mamba_d_state=4, attn_layer_indices=[1]),
    "falcon, alibi": _of(_NEOX, "falcon", alibi=True),
    "falcon_h1": _llama("falcon_h1", mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=4),
    "falcon_mamba": _llama("falcon_mamba", _STATE),
    "jamba": _llama(
        "jamba",
        attn_layer_period=2,
        attn_layer_offset=1,
        num_experts=2,
        use_mamba_kernels=False,
        mamba_d_state=4,
    ),
    "lfm2": _llama("lfm2", layer_types=["conv", "full_attention"]),
    "llama, a window that it does not have": _llama("llama", _WINDOW),
    "llama4_text": _llama(
        "llama4_text", attention_chunk_size=4, num_local_experts=4, num_experts_per_tok=1, intermediate_size_mlp=64
    ),
    "mamba": _llama("mamba", _STATE),
    "mamba2": _llama("mamba2", _STATE, num_heads=4, head_dim=16, n_groups=1),
    "openai-gpt": _of(_GPT, "openai-gpt"),
    "qwen3_next": _llama(
        "qwen3_next",
        _FEW_EXPERTS,
        _DELTA,
        layer_types=["linear_attention", "full_attention"],
        shared_expert_intermediate_size=16,
    ),
    "recurrent_gemma": _llama("recurrent_gemma", num_hidden_layers=3, lru_width=32, attention_window_size=8),
    "rwkv": _of(_NEOX, "rwkv", attention_hidden_size=32, context_length=64),
}
"""Architectures that the plan refuses to pack, each measured to be wrong or impossible."""
