"""Does an adapter find its layers in every family, start alike everywhere, and leave no trace but its sum?"""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from transformers.pytorch_utils import Conv1D

from tests.families import EVERY
from tests.shared import tiny_model
from tunefleet.base.errors import ConfigError
from tunefleet.config.adapter import AdapterConfig, AdapterName
from tunefleet.model.build import build
from tunefleet.model.lora import attach, merge
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.lora_targets import targeted
from tunefleet.plan.paths.model_files import Sources

torch.set_num_threads(1)

LINEAR = (torch.nn.Linear, Conv1D)
LORA = AdapterConfig(name=AdapterName.LORA, rank=4)
TOKENS = torch.tensor([[5, 17, 3, 44, 60, 9, 31]])


@pytest.mark.parametrize("family", EVERY)
def test_every_family_takes_an_adapter_and_gives_it_back(family: str) -> None:
    model: Any = build(Sources(None, "", Architecture(EVERY[family])), 0)
    head = model.get_output_embeddings()
    layers = [name for name, m in model.named_modules() if isinstance(m, LINEAR) and m is not head]
    weight_names = set(model.state_dict())
    adapter = _adapter(model, family)
    layers = targeted(layers, adapter.targets)
    attach(model, adapter, 0, None)
    assert model.get_output_embeddings() is head
    lora_layers = [name for name, layer in model.named_modules() if isinstance(layer, LoraLayer)]
    assert lora_layers == layers
    trainable = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)
    _stir(model)
    trained = _logits(model)
    merged = merge(model, adapter, dict(model.state_dict()))
    assert set(merged.state_dict()) == weight_names
    logits = _logits(model)
    assert torch.equal(logits, trained)  # and the model is as it was
    model.disable_adapters()
    assert not torch.allclose(_logits(model), logits, atol=1e-3)  # control: the adapter changes what it says
    model.load_state_dict(_renamed(merged.state_dict(), model))
    assert torch.allclose(_logits(model), logits, atol=1e-4)


def _adapter(model: Any, family: str) -> AdapterConfig:
    """LoRA on every linear layer, or on those that the message names."""
    if not family.startswith("deepseek"):
        return LORA
    with pytest.raises(ConfigError, match=r"cannot put an adapter on down_proj, gate_proj, up_proj") as refusal:
        attach(copy.deepcopy(model), LORA, 0, None)
    (listed,) = re.findall(r"Use adapter\.targets=\[(.*)\]", str(refusal.value))
    return replace(LORA, targets=tuple(listed.split(",")))


def _renamed(plain: dict[str, Any], model: Any) -> dict[str, Any]:
    """The merged weights under the names that they have beside an adapter (which is switched off)."""
    state = model.state_dict()
    return {name: plain.get(name.replace(".base_layer", ""), value) for name, value in state.items()}


def _stir(model: Any) -> None:
    """B starts at zero, so that an adapter changes nothing at first."""
    torch.manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.2)


def _logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(input_ids=TOKENS).logits
    return logits


@pytest.mark.parametrize("settings", [{}, {"dora": True}, {"rslora": True}, {"targets": ("q_proj",)}], ids=str)
def test_an_adapter_starts_as_the_seed_says_and_changes_nothing(settings: dict[str, Any]) -> None:
    adapter = AdapterConfig(name=AdapterName.LORA, rank=4, **settings)
    plain, first, repeated, different = (tiny_model("llama") for _ in range(4))
    for model, seed in ((first, 3), (repeated, 3), (different, 4)):
        torch.rand(seed)  # the state of the generator before does not matter
        attach(model, adapter, seed, None)
    assert torch.allclose(_logits(first), _logits(plain), atol=1e-5)
    weight_name = "model.layers.0.self_attn.q_proj.lora_A.default.weight"
    assert torch.equal(first.state_dict()[weight_name], repeated.state_dict()[weight_name])
    assert not torch.equal(first.state_dict()[weight_name], different.state_dict()[weight_name])


def test_it_starts_alike_beside_weights_of_16_bits() -> None:
    """As ZeRO-3 reads them from a file; peft would round the adapter's first weights too."""
    fp32, fp16 = tiny_model("llama"), tiny_model("llama").half()
    for model in (fp32, fp16):
        attach(model, LORA, 3, None)
    fp16_weights = fp16.state_dict()
    for name, value in fp32.state_dict().items():
        if "lora_" in name:
            assert fp16_weights[name].dtype == torch.float32
            assert torch.equal(fp16_weights[name], value)


def test_a_target_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"adapter\.targets: q_prj is no linear layer.*'q_proj'"):
        attach(tiny_model("llama"), AdapterConfig(name=AdapterName.LORA, targets=("q_prj",)), 0, None)


def test_merging_rounds_once() -> None:
    """In bf16 the sum is made in fp32: the merged weights are the nearest ones to it."""
    model = tiny_model("llama")
    attach(model, LORA, 0, None)
    _stir(model)
    name = "model.layers.0.self_attn.q_proj"
    layer = model.get_submodule(name)
    layer.to(torch.bfloat16)
    weights = {key: value.to(torch.bfloat16) for key, value in model.state_dict().items()}
    exact = layer.base_layer.weight.float() + 8.0 * (
        layer.lora_B["default"].weight.float() @ layer.lora_A["default"].weight.float()
    )
    merged = merge(model, LORA, weights).state_dict()[f"{name}.weight"]
    assert merged.dtype == torch.bfloat16
    assert torch.equal(merged, exact.to(torch.bfloat16))


@pytest.mark.parametrize("defended", [True, False], ids=["merged", "control"])
def test_a_head_of_its_own_is_merged_with_the_rest(monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    """config.json says tied and the file brings a head: the merged model lost it."""
    model = tiny_model("llama", tie_word_embeddings=True)
    torch.manual_seed(2)
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    attach(model, LORA, 0, None)
    _stir(model)
    if not defended:
        monkeypatch.setattr("tunefleet.model.lora.is_tied", lambda model: True)
    merged = merge(model, LORA, dict(model.state_dict()))
    assert torch.equal(merged.get_output_embeddings().weight, model.lm_head.weight) is defended
    assert merged.config.tie_word_embeddings is not defended
