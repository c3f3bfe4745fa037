"""Plans for tests: tiny architectures and real planning, without files of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.shared import architecture
from tunefleet.config import RunConfig
from tunefleet.config.load import dump, load
from tunefleet.plan import Machine, Plan, make

OPT: dict[str, Any] = {
    "model_type": "opt",
    "vocab_size": 97,
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "ffn_dim": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "do_layer_norm_before": True,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 2,
}
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
DEEP: dict[str, Any] = {**OPT, "num_hidden_layers": 4, "word_embed_proj_dim": 16}
"""As OPT 350M, its embedding is narrower than its blocks."""
ARCHITECTURES = {"opt": OPT, "llama": LLAMA, "deep": DEEP}
ARCHITECTURES |= {family: architecture(family) for family in ("gpt2", "gpt_neox", "mistral", "qwen2")}


def tiny_plan(
    folder: Path, model: str | dict[str, Any] = "opt", ranks: int = 1, stage: int = 0, **settings: Any
) -> Plan:
    """The plan of a tiny model on this machine's CPU; `settings` are `train` settings, or whole groups."""
    values = dump(RunConfig())
    groups = {key: settings.pop(key) for key in list(settings) if isinstance(settings[key], dict)}
    changes = {
        "output_dir": str(folder),
        "data": {"path": str(rows_file(folder)), "tokenizer": str(tokenizer_folder(folder))},
        "model": _model(model),
        "parallel": {"name": f"stage{stage}", "zero_stage": stage},
        "optimizer": {"lr": 3e-3, "weight_decay": 0.1},
        "train": {"precision": "fp32", "sequence_length": 48, "micro_batch": 4, **settings},
        "tracking": {"wandb": "disabled"},
        **groups,
    }
    for group, change in changes.items():
        values[group] = {**values[group], **change} if isinstance(change, dict) else change
    return make(load(RunConfig, values), Machine(gpus=0, cores=1, world_size=ranks))


def _model(model: str | dict[str, Any]) -> dict[str, Any]:
    if isinstance(model, dict):
        return model
    return {"name": model, "init": "random", "architecture": ARCHITECTURES[model]}


def rows_file(folder: Path) -> Path:
    """A file with one row."""
    path = folder / "rows.jsonl"
    if not path.exists():
        path.write_text(json.dumps({"prompt": "one", "completion": "two"}) + "\n")
    return path


def tokenizer_folder(folder: Path) -> Path:
    """A folder that the planner takes for a tokenizer; nothing is read from it."""
    path = folder / "tokenizer"
    path.mkdir(exist_ok=True)
    (path / "tokenizer.json").touch()
    return path
