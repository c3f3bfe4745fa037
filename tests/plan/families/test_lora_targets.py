"""Is an adapter counted as peft counts it, and refused where it cannot work?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.families import EVERY
from tests.plans import ARCHITECTURES, tiny_plan
from tests.shared import TINY, architecture
from tunefleet.base.errors import ConfigError
from tunefleet.config.adapter import AdapterConfig, AdapterName
from tunefleet.config.load import load
from tunefleet.plan.families import registry
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.lora_targets import lora_parameters
from tunefleet.plan.processes.layout import Layout
from tunefleet.plan.rules import adapter_rules

FAMILIES = registry.countable()
LORA = {"name": "lora", "rank": 4}
SHAPES: dict[str, dict[str, Any]] = {
    **{name: shape for name, shape in EVERY.items() if shape["model_type"] in FAMILIES},
    **TINY,
    "opt, narrow embedding": architecture("opt", word_embed_proj_dim=16),
    "llama, wide heads": architecture("llama", head_dim=12),
    "gpt2, wide": architecture("gpt2", n_inner=48),
}
TARGETS = ["q_proj", "c_attn", "dense", "qkv_proj", "query_key_value"]
SETTINGS: tuple[dict[str, Any], ...] = ({}, {"dora": True}, {"rank": 3, "targets": TARGETS})


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("name", SHAPES)
def test_counts_what_peft_counts(name: str, settings: dict[str, Any]) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from tunefleet.model.lora import attach

    shape = SHAPES[name]
    layers = Architecture(shape).linears
    targets = [t for t in settings.get("targets", []) if any(f".{n}".endswith(f".{t}") for n in layers)]
    adapter = load(AdapterConfig, {**LORA, **settings, "targets": targets or ["all-linear"]})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape))
    sizes = {n: m.weight.numel() for n, m in model.named_modules() if n in layers}
    assert sizes == {n: a * b for n, (a, b) in layers.items()}
    attach(model, adapter, 0, None)
    learning = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert lora_parameters(Architecture(shape), adapter) == learning > 0


def test_every_family_that_is_counted_is_among_them() -> None:
    assert {shape["model_type"] for shape in SHAPES.values()} == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_that_is_counted_gets_a_plan_with_an_adapter(family: str, tmp_path: Path) -> None:
    shape = next(shape for shape in SHAPES.values() if shape["model_type"] == family)
    plan = tiny_plan(tmp_path, {"name": family, "init": "random", "architecture": shape}, adapter=LORA)
    assert "LoRA of rank 4 on all-linear: " in plan.summary()["adapter"]
    assert plan.expected is not None


def test_a_family_whose_layers_are_not_listed_is_the_model_s_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan has no forecast then, and no traceback."""
    monkeypatch.setitem(registry.FAMILIES, "qwen3", replace(registry.FAMILIES["qwen3"], linears=None))
    model = {"name": "mine", "init": "random", "architecture": EVERY["qwen3"]}
    plan = tiny_plan(tmp_path, model, adapter=LORA)
    assert plan.summary()["adapter"] == "LoRA of rank 4 on all-linear"
    assert plan.expected is None


def test_there_is_nothing_to_count_without_an_adapter() -> None:
    assert lora_parameters(Architecture(ARCHITECTURES["opt"]), AdapterConfig()) == 0


def test_the_summary_says_how_many_parameters_are_trainable(tmp_path: Path) -> None:
    summary = tiny_plan(tmp_path, adapter=LORA).summary()["adapter"]
    assert summary == "LoRA of rank 4 on all-linear: 3.58k of 26k parameters are trainable (13.81%)"
    assert "adapter" not in tiny_plan(tmp_path).summary()


def test_how_it_is_exported_is_no_part_of_a_run(tmp_path: Path) -> None:
    pretrained = {"name": "m", "path": str(_model(tmp_path))}
    plans = [tiny_plan(tmp_path, pretrained, adapter={**LORA, "merge": merge}) for merge in (True, False)]
    assert plans[0].identity == plans[1].identity
    assert tiny_plan(tmp_path, pretrained, adapter={**LORA, "rank": 5}).identity != plans[0].identity


def _model(folder: Path) -> Path:
    import json

    (folder / "config.json").write_text(json.dumps(ARCHITECTURES["opt"]))
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).touch()
    return folder


QLORA = {"name": "qlora", "merge": False}
EIGHT = {"name": "lora_8bit", "merge": False}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unused": ({"adapter": {"rank": 3, "dora": True}}, r"adapter\.rank: not used.*Use adapter=lora"),
    "unknown target": ({"adapter": {**LORA, "targets": ["q_prj"]}}, r"adapter\.targets: q_prj is no.*'q_proj'"),
    "the head": ({"adapter": {**LORA, "targets": ["lm_head"]}}, r"adapter\.targets: lm_head is no linear layer"),
    "no target": ({"adapter": {**LORA, "targets": []}}, r"adapter\.targets: \[\] is not allowed"),
    "mixed": ({"adapter": {**LORA, "targets": ["all-linear", "fc1"]}}, "Allowed: .all-linear., or names"),
    "tensor": ({"adapter": LORA, "parallel": {"tensor": 2}}, r"does not go with parallel\.tensor=2\. Use .*zero3"),
    "pipeline": ({"adapter": LORA, "parallel": {"pipeline": 2}}, r"does not go with parallel\.pipeline=2"),
    "alone": ({"adapter": {**LORA, "merge": False}}, r"adapter\.merge: .* Use adapter\.merge=true"),
    "qlora, cpu": ({"adapter": QLORA}, "needs a GPU. Use adapter=lora on a CPU"),
    "8 bits, cpu": ({"adapter": EIGHT}, "lora_8bit computes with 8-bit weights, which needs a GPU"),
    "8 bits, merged": ({"adapter": {"name": "lora_8bit"}}, r"adapter\.merge: 8-bit .* Use adapter\.merge=false"),
    "8 bits, zero3": ({"adapter": EIGHT, "stage": 3}, "8-bit weights cannot be sharded by zero3. Use parallel=zero2"),
    "qlora, merged": ({"adapter": {"name": "qlora"}}, r"adapter\.merge: 4-bit .* Use adapter\.merge=false"),
    "qlora, zero3": ({"adapter": QLORA, "stage": 3}, "cannot be sharded by zero3. Use parallel=zero2"),
    "qlora, random": ({"adapter": QLORA}, r"reads the weights of model\.path"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_with_what_can(case: str, tmp_path: Path) -> None:
    settings, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        tiny_plan(tmp_path, ranks=2, **settings)


FREEZE: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "everything": ({}, ["*"], "freezes every weight"),
    "with an adapter": ({"adapter": LORA}, ["*embed*"], r"model\.freeze: not used, because an adapter"),
    "tensor": ({"parallel": {"tensor": 2}}, ["*embed*"], r"change with parallel\.tensor=2"),
}


@pytest.mark.parametrize("case", FREEZE)
def test_freezing_is_refused_where_nothing_would_be_trainable(case: str, tmp_path: Path) -> None:
    settings, patterns, message = FREEZE[case]
    model = {"name": "opt", "init": "random", "architecture": ARCHITECTURES["opt"], "freeze": patterns}
    with pytest.raises(ConfigError, match=message):
        tiny_plan(tmp_path, model, ranks=2, **settings)


def test_qlora_is_legal_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not verified on a GPU here: what the plan can say."""
    config = tiny_plan(tmp_path, {"name": "m", "path": str(_model(tmp_path))}).config
    config = type(config)(**{**vars(config), "adapter": AdapterConfig(name=AdapterName.QLORA, merge=False)})
    monkeypatch.setattr(adapter_rules, "find_spec", lambda name: object())
    assert adapter_rules.quantised(config, Layout(1, 1, 1, "cuda")) == []
    monkeypatch.setattr(adapter_rules, "find_spec", lambda name: None)
    (complaint,) = adapter_rules.quantised(config, Layout(1, 1, 1, "cuda"))
    assert "pip install bitsandbytes" in complaint
