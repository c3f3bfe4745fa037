"""Trainable model: all weights, all but frozen ones, or an adapter's alone."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from tunefleet.config.adapter import AdapterName
from tunefleet.model import build
from tunefleet.model.freeze import freeze, train_only
from tunefleet.model.neftune import add_embedding_noise
from tunefleet.plan.plan import Plan


def build_model(plan: Plan, tokenizer: Any) -> PreTrainedModel:
    """The model on the CPU, or still in its files, with `requires_grad` set on its trainable weights alone."""
    config = plan.config
    frozen_bits = config.adapter.frozen_bits
    model = build.build(
        plan.sources,
        config.train.seed,
        config.train.gradient_checkpointing,
        # DoRA measures fp32 weights
        keep_file_dtype=plan.reads_one_by_one and not config.adapter.dora and not frozen_bits,
        frozen_bits=frozen_bits,
        tokenizer=tokenizer,
    )
    set_trainable(plan, model)
    return model


def set_trainable(plan: Plan, model: PreTrainedModel) -> None:
    """Freezes what is not trainable, attaches the adapter, and the noise of training."""
    config = plan.config
    if config.adapter.name is not AdapterName.NONE:
        from tunefleet.model import lora  # peft starts here

        base = config.model.path if plan.sources.weights else None
        lora.attach(model, config.adapter, config.train.seed, base)
    elif config.model.freeze:
        freeze(model, config.model.freeze)
    elif config.model.train_only:
        train_only(model, config.model.train_only)
    if config.train.neftune:
        add_embedding_noise(model, config.train.neftune)
