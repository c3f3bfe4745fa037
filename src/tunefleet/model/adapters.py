"""How an adapter joins a model and leaves it again: LoRA matrices beside linear layers, through peft."""

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
from tunefleet.plan.families.lora import targeted, unknown_targets


def attach(model: PreTrainedModel, adapter: AdapterConfig, seed: int, base: str | None) -> None:
    """Freezes `model` and puts an adapter into it, whose first weights depend on `seed` alone.

    The layers are replaced inside of `model`, which stays what it is: everything that finds its way in it still
    does. `base` is what adapter_config.json calls the model. Raises `ConfigError` for targets that are not there.
    """
    layers = _linears(model)
    if unknown := unknown_targets(layers, adapter.targets):
        raise ConfigError(*unknown)
    chosen = targeted(layers, adapter.targets)
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=chosen,
        use_rslora=adapter.rslora,
        use_dora=adapter.dora,
        fan_in_fan_out=isinstance(layers[chosen[0]], Conv1D),
        task_type="CAUSAL_LM",
    )
    model.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The following (rank|alpha)_pattern keys")  # peft's own, for experts
        model.add_adapter(config)
    _expect(model, chosen)
    config.base_model_name_or_path = base
    _start(model, seed)


def _expect(model: PreTrainedModel, chosen: list[str]) -> None:
    """peft takes some layers of DeepSeek for the experts of older files, which are named alike, and leaves them out."""
    found = {name for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}
    if lost := [name for name in chosen if name not in found]:
        ends = {name.rsplit(".", 1)[-1] for name in lost}
        rest = sorted({name.rsplit(".", 1)[-1] for name in chosen} - ends)
        raise ConfigError(
            f"adapter.targets: peft cannot put an adapter on {', '.join(sorted(ends))} of the family "
            f"{model.config.model_type}. Use adapter.targets=[{','.join(rest)}]."
        )


def _start(model: PreTrainedModel, seed: int) -> None:
    """The first weights of the adapter in fp32, whatever number format and device peft took from the model's own."""
    torch.manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            for part in (layer.lora_A, layer.lora_B, layer.lora_magnitude_vector):
                part.float()
            layer.reset_lora_parameters("default", init_lora_weights=True)


def _linears(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Linear layers by name; not the output head, whose weights may be the embedding's."""
    head = model.get_output_embeddings()
    kinds = (nn.Linear, Conv1D)
    return {name: m for name, m in model.named_modules() if isinstance(m, kinds) and m is not head}


def merged(model: PreTrainedModel, adapter: AdapterConfig, weights: dict[str, Tensor]) -> PreTrainedModel:
    """The architecture of `model` with `weights` (also of the adapter), the adapter added in fp32 and rounded once.

    `model` may be empty, as it is under ZeRO-3, and is left alone. A layer at a time, so that fp32 costs one layer.
    """
    whole = _skeleton(model, adapter)
    whole.load_state_dict(weights, assign=True)
    whole.tie_weights()
    whole.generation_config = model.generation_config
    for name, layer in list(whole.named_modules()):
        if isinstance(layer, LoraLayer):
            whole.set_submodule(name, _merged_layer(layer))
    transformers_private.forget_adapter(whole)
    return whole


def _skeleton(model: PreTrainedModel, adapter: AdapterConfig) -> PreTrainedModel:
    config, attention = copy.deepcopy(model.config), transformers_private.attention_of(model.config)
    config.tie_word_embeddings = _is_tied(model)  # whatever config.json says: some files bring a head of their own
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config, attn_implementation=attention, trust_remote_code=False)
        attach(empty, adapter, 0, None)
    return cast(PreTrainedModel, empty)


def _is_tied(model: PreTrainedModel) -> bool:
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    return head is not None and cast(nn.Module, head).weight is cast(nn.Module, embedding).weight


def _merged_layer(layer: Any) -> nn.Module:
    dtype = layer.get_base_layer().weight.dtype
    summed = copy.deepcopy(layer).float()  # the weights may be those of a model that is in use
    summed.merge()
    return cast(nn.Module, summed.get_base_layer().to(dtype))
