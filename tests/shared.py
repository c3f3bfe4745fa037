"""What do several tests need: real data at hand, a tokenizer that always exists, tiny models, data sets from arrays?"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


def shared_data(name: str) -> Path:
    """The real public file or folder `name`; the test is skipped where this machine has none."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"../shared/data/{name} is not on this machine")
    return path


_TEXTS = [
    "User: What is the capital of France?\nAssistant: The capital of France is Paris.",
    "Below is an instruction that describes a task.\n\n### Instruction:\nAdd two numbers.\n\n### Response: four",
    "System: You are a helpful assistant. Human: turn on the light, please. Assistant: I have turned on the light.",
]


def tiny_tokenizer() -> Any:
    """A byte-level BPE of 320 tokens with <s> = 0, <pad> = 1, </s> = 2; a new one at each call."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<s>", "<pad>", "</s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(_TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )


_SIZES = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_ENDS = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
_LLAMA = {
    **_SIZES,
    **_ENDS,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "attention_dropout": 0.0,
    "initializer_range": 0.3,
}
TINY: dict[str, dict[str, Any]] = {
    "opt": {
        **_SIZES,
        **_ENDS,
        "model_type": "opt",
        "word_embed_proj_dim": 32,
        "ffn_dim": 64,
        "max_position_embeddings": 64,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "init_std": 0.3,
    },
    "llama": {**_LLAMA, "model_type": "llama"},
    "mistral": {**_LLAMA, "model_type": "mistral", "sliding_window": None},
    "qwen2": {**_LLAMA, "model_type": "qwen2"},
    "gpt2": {
        **_ENDS,
        "model_type": "gpt2",
        "vocab_size": 97,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 64,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "initializer_range": 0.3,
    },
    "gpt_neox": {
        **_SIZES,
        **_ENDS,
        "model_type": "gpt_neox",
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "rotary_pct": 0.25,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "initializer_range": 0.3,
    },
}
"""One small architecture for each family; weights are large, so that attention matters to the loss."""


def architecture(family: str, **changes: Any) -> dict[str, Any]:
    """The tiny architecture of `family`, changed."""
    return {**copy.deepcopy(TINY[family]), **changes}


def tiny_model(family: str, seed: int = 0, **changes: Any) -> Any:
    """A tiny model of `family` with random weights."""
    from tunefleet.model.build import build
    from tunefleet.plan.families.architecture import Architecture
    from tunefleet.plan.paths.model_files import Sources

    return build(Sources(None, "", Architecture(architecture(family, **changes))), seed)


def dataset_of(
    conversations: Sequence[tuple[Sequence[int], Sequence[bool]]], sequences: Sequence[Sequence[int]] | None = None
) -> Any:
    """A data set in memory: conversations as (tokens, loss mask), sequences as lists of their numbers."""
    from tunefleet.data.store.dataset import Card, Dataset

    sequences = [[i] for i in range(len(conversations))] if sequences is None else sequences
    return Dataset(
        card=Card("made", len(conversations), len(sequences), 0, 0, 0, 0, 0, 0),
        tokens=np.concatenate([np.asarray(tokens, dtype=np.int32) for tokens, _ in conversations]),
        loss_mask=np.concatenate([np.asarray(mask, dtype=np.bool_) for _, mask in conversations]),
        starts=np.cumsum([0, *(len(tokens) for tokens, _ in conversations)]),
        packs=np.asarray([i for sequence in sequences for i in sequence], dtype=np.int64),
        bounds=np.cumsum([0, *(len(sequence) for sequence in sequences)]),
        examples=[],
    )
