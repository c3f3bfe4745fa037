"""Which optimizer updates which weights: optimizers by name, groups with and without weight decay."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from tunefleet.config.optimizer import OptimizerConfig, OptimizerName


def build(config: OptimizerConfig, model: nn.Module) -> Optimizer:
    """The optimizer over the trainable weights of `model`."""
    groups = parameter_groups(model, config)
    if config.name is OptimizerName.SGD:
        return SGD(groups, lr=config.lr, momentum=config.momentum)
    fused = {"fused": True} if torch.cuda.is_available() else {}
    return AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, **fused)


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Trainable weights in two groups: decayed, and not (biases, norms, embeddings and a head tied to them)."""
    embeddings = {
        id(weight) for module in model.modules() if isinstance(module, nn.Embedding) for weight in module.parameters()
    }
    trainable = [weight for weight in model.parameters() if weight.requires_grad]

    def spared(weight: nn.Parameter) -> bool:
        return weight.ndim <= 1 or (id(weight) in embeddings and not config.decay_embeddings)

    decayed = [weight for weight in trainable if not spared(weight)]
    kept = [weight for weight in trainable if spared(weight)]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
