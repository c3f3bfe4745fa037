"""Optimizers by name, over groups of weights with and without weight decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import SGD, Adafactor, Adam, AdamW, Optimizer

from tunefleet.config.optimizer import OptimizerConfig, OptimizerName
from tunefleet.contracts import LR_RATIO
from tunefleet.optim.adagrad import Adagrad
from tunefleet.optim.cpu_adam import cpu_adam
from tunefleet.optim.lion import Lion
from tunefleet.optim.muon import Muon, hidden_matrices

Groups = list[dict[str, Any]]
_LORA_B = ".lora_B."  # in the names that peft gives


def build_optimizer(
    config: OptimizerConfig, model: nn.Module, on_cpu: bool = False, lr_ratio_b: float = 1.0
) -> Optimizer:
    """The optimizer over the trainable weights of `model`; `on_cpu` takes DeepSpeed's Adam for offloaded states.

    The matrices B of an adapter have `lr_ratio_b` times the rate of all others (LoRA+, Hayou et al., 2024). Which
    optimizers go with which strategy: `plan/rules/optimizer_rules.py`.
    """
    groups = parameter_groups(model, config, lr_ratio_b)
    return cpu_adam(groups, config) if on_cpu else _BUILD[config.name](groups, config)


def parameter_groups(model: nn.Module, config: OptimizerConfig, lr_ratio_b: float = 1.0) -> Groups:
    """Trainable weights in groups: decayed, and not (biases, norms, embeddings and a head tied to them).

    Where `lr_ratio_b` is not 1, the matrices B of an adapter are groups of their own, with their ratio. For muon they
    say besides whether they are hidden `matrices`.
    """
    embeddings = {
        id(weight) for module in model.modules() if isinstance(module, nn.Embedding) for weight in module.parameters()
    }
    matrices = hidden_matrices(model) if config.name is OptimizerName.MUON else set()

    def has_no_decay(weight: nn.Parameter) -> bool:
        return weight.ndim <= 1 or (id(weight) in embeddings and not config.decay_embeddings)

    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            has_ratio = lr_ratio_b != 1 and _LORA_B in name
            groups.setdefault((id(weight) in matrices, has_no_decay(weight), has_ratio), []).append(weight)
    return [
        {
            "params": groups[key],
            "weight_decay": 0.0 if key[1] else config.weight_decay,
            "matrices": key[0],
            **({LR_RATIO: lr_ratio_b} if key[2] else {}),
        }
        for key in sorted(groups)
    ]


def _adamw(groups: Groups, config: OptimizerConfig) -> Optimizer:
    return AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def _adam(groups: Groups, config: OptimizerConfig) -> Optimizer:
    return Adam(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def _adamw_8bit(groups: Groups, config: OptimizerConfig) -> Optimizer:
    """Dettmers et al., 8-bit Optimizers via Block-wise Quantization, 2022."""
    import bitsandbytes  # only where the plan has found it: it is no dependency, and has no use without a GPU

    optimizer: Optimizer = bitsandbytes.optim.AdamW8bit(groups, lr=config.lr, betas=config.betas, eps=config.eps)
    return optimizer


_BUILD: dict[OptimizerName, Callable[[Groups, OptimizerConfig], Optimizer]] = {
    OptimizerName.ADAMW: _adamw,
    OptimizerName.ADAM: _adam,
    OptimizerName.ADAMW_8BIT: _adamw_8bit,
    OptimizerName.ADAFACTOR: lambda groups, config: Adafactor(groups, lr=config.lr),
    OptimizerName.LION: lambda groups, config: Lion(groups, config.lr, config.betas),
    OptimizerName.MUON: lambda groups, config: Muon(groups, config.lr, config.momentum, config.betas, config.eps),
    OptimizerName.ADAGRAD: lambda groups, config: Adagrad(groups, config.lr, config.eps),
    OptimizerName.SGD: lambda groups, config: SGD(groups, lr=config.lr, momentum=config.momentum),
}
