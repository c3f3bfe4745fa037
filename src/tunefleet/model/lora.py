"""LoRA in a model, through peft: matrices beside linear layers, put in and merged again."""

from __future__ import annotations

import copy
import warnings
from typing import Any, cast

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tunefleet.base.errors import ConfigError
from tunefleet.config.adapter import AdapterConfig
from tunefleet.libraries import transformers_private
from tunefleet.plan.families.lora_targets import targeted, unknown_targets


def attach(model: PreTrainedModel, adapter: AdapterConfig, seed: int, base: str | None) -> None:
    """Freezes `model` and puts an adapter into it, whose first weights depend on `seed` alone.

    The layers are replaced inside of `model`, so that references to it still hold. `base` is what adapter_config.json
    calls the model. Raises `ConfigError` for targets that are not there.
    """
    layers = _linears(model)
    if unknown := unknown_targets(layers, adapter.targets):
        raise ConfigError(*unknown)
    target_layers = targeted(layers, adapter.targets)
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=target_layers,
        use_rslora=adapter.rslora,
        use_dora=adapter.dora,
        fan_in_fan_out=isinstance(layers[target_layers[0]], Conv1D),
        task_type="CAUSAL_LM",
    )
    model.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The following (rank|alpha)_pattern keys")  # peft's own, for experts
        model.add_adapter(config)
    _expect_lora(model, target_layers)
    config.base_model_name_or_path = base
    _initialise(model, seed)


def _expect_lora(model: PreTrainedModel, target_layers: list[str]) -> None:
    """peft takes some layers of DeepSeek for the experts of older files, which are named alike, and leaves them out."""
    lora_layers = {name for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}
    if missing := [name for name in target_layers if name not in lora_layers]:
        ends = {name.rsplit(".", 1)[-1] for name in missing}
        remaining = sorted({name.rsplit(".", 1)[-1] for name in target_layers} - ends)
        raise ConfigError(
            f"adapter.targets: peft cannot put an adapter on {', '.join(sorted(ends))} of the family "
            f"{model.config.model_type}. Use adapter.targets=[{','.join(remaining)}]."
        )


def _initialise(model: PreTrainedModel, seed: int) -> None:
    """The first weights of the adapter in fp32, whatever dtype and device peft took from the model's own."""
    torch.manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            for module in (layer.lora_A, layer.lora_B, layer.lora_magnitude_vector):
                module.float()
            layer.reset_lora_parameters("default", init_lora_weights=True)


def _linears(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Linear layers by name; not the output head, whose weights may be the embedding's."""
    head = model.get_output_embeddings()
    linear_types = (nn.Linear, Conv1D)
    return {name: m for name, m in model.named_modules() if isinstance(m, linear_types) and m is not head}


def merge(model: PreTrainedModel, adapter: AdapterConfig, weights: dict[str, Tensor]) -> PreTrainedModel:
    """The architecture of `model` with `weights` (also of the adapter), the adapter added in fp32 and rounded once.

    `model` may be empty, as it is under ZeRO-3, and is left alone. A layer at a time, so that fp32 costs one layer.
    """
    merged_model = _skeleton(model, adapter)
    merged_model.load_state_dict(weights, assign=True)
    merged_model.tie_weights()
    merged_model.generation_config = model.generation_config
    for name, layer in list(merged_model.named_modules()):
        if isinstance(layer, LoraLayer):
            merged_model.set_submodule(name, _merge_layer(layer))
    transformers_private.forget_adapter(merged_model)
    return merged_model


def _skeleton(model: PreTrainedModel, adapter: AdapterConfig) -> PreTrainedModel:
    config, attention = copy.deepcopy(model.config), transformers_private.attention_of(model.config)
    config.tie_word_embeddings = is_tied(model)  # whatever config.json says: some files bring a head of their own
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config, attn_implementation=attention, trust_remote_code=False)
        attach(empty, adapter, 0, None)
    return cast(PreTrainedModel, empty)


def is_tied(model: PreTrainedModel) -> bool:
    """Whether head and embedding are one weight."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    return head is not None and cast(nn.Module, head).weight is cast(nn.Module, embedding).weight


def _merge_layer(layer: Any) -> nn.Module:
    dtype = layer.get_base_layer().weight.dtype
    summed = copy.deepcopy(layer).float()  # the weights may be those of a model that still trains
    summed.merge()
    return cast(nn.Module, summed.get_base_layer().to(dtype))
