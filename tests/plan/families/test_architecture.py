"""Does the arithmetic on a config.json agree with the model that transformers builds from it?"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoConfig, AutoModelForCausalLM

from tests.families import EVERY
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.family import Dimensions, ParameterCount
from tunefleet.plan.families.registry import countable

FAMILIES = countable()
MODELS = Path(__file__).parents[3] / "conf" / "model"
CARDS: dict[str, Any] = {
    path.stem: OmegaConf.to_container(OmegaConf.load(path))
    for path in sorted(MODELS.glob("*.yaml"))
    if path.stem != "opt-tiny"  # the demo's own, with its recipe: it is not published
}
PUBLISHED = {name: card["published"] for name, card in CARDS.items() if "published" in card}
SMALLEST = {
    "opt": "opt-125m",
    "llama": "llama-3.2-1b",
    "mistral": "mistral-7b",
    "qwen2": "qwen2.5-0.5b",
    "gpt2": "gpt2",
    "gpt_neox": "pythia-160m",
}


def count(config: dict[str, Any]) -> ParameterCount:
    return Architecture(config).parameters


def dimensions(config: dict[str, Any]) -> Dimensions:
    return Architecture(config).dimensions


def with_layers(config: dict[str, Any], layers: int) -> dict[str, Any]:
    return Architecture(config).with_layers(layers).to_json()


def smallest(family: str) -> dict[str, Any]:
    """A published architecture of `family`, or a tiny one."""
    name = SMALLEST.get(family)
    return PUBLISHED[name] if name else next(shape for shape in EVERY.values() if shape["model_type"] == family)


def build_config(architecture: dict[str, Any]) -> Any:
    """The transformers configuration; of a copy, because it writes into nested mappings."""
    return AutoConfig.for_model(**copy.deepcopy(architecture))


def built(architecture: dict[str, Any]) -> int:
    """Unique parameters of the model that transformers builds, without memory for its weights."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(build_config(architecture))
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", CARDS)
def test_card_has_the_agreed_keys(name: str) -> None:
    card = CARDS[name]
    assert {"name", "path"} <= set(card)
    assert card["name"] == name
    assert (MODELS / f"{name}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values_reach_the_configuration(name: str) -> None:
    config = build_config(PUBLISHED[name])
    in_rope = {"rope_theta", "rope_scaling", "rotary_pct", "rotary_emb_base", "sliding_window"}
    for key, value in PUBLISHED[name].items():
        assert key in in_rope or getattr(config, key) == value, key


ROTARY = [name for name, keys in PUBLISHED.items() if {"rope_theta", "rotary_emb_base"} & set(keys)]


@pytest.mark.parametrize("name", ROTARY)
def test_rope_keys_of_old_configs_still_build(name: str) -> None:
    """The published spelling gives the `rope_parameters` that transformers 5 writes."""
    old = copy.deepcopy(PUBLISHED[name])
    theta = old.pop("rope_theta", old.pop("rotary_emb_base", None))
    new = {"rope_type": "default", "rope_theta": theta} | old.pop("rope_scaling", {})
    if "rotary_pct" in old:
        new["partial_rotary_factor"] = old.pop("rotary_pct")
    assert build_config(PUBLISHED[name]).rope_parameters == new
    assert build_config(old | {"rope_parameters": new}).rope_parameters == new


@pytest.mark.parametrize("name", PUBLISHED)
def test_count_equals_the_built_model(name: str) -> None:
    assert count(PUBLISHED[name]).total == built(PUBLISHED[name])


@pytest.mark.parametrize("name", PUBLISHED)
def test_another_number_of_layers_equals_the_built_model(name: str) -> None:
    original = copy.deepcopy(PUBLISHED[name])
    shallow = with_layers(PUBLISHED[name], 2)
    assert count(shallow).total == built(shallow)
    assert dimensions(shallow).layers == 2
    assert PUBLISHED[name] == original


TINY = {name: shape for name, shape in EVERY.items() if shape["model_type"] in FAMILIES}


@pytest.mark.parametrize("name", TINY)
def test_every_counted_family_equals_the_built_model(name: str) -> None:
    assert count(TINY[name]).total == built(TINY[name])


def test_every_family_that_is_counted_is_tested() -> None:
    assert {shape["model_type"] for shape in TINY.values()} == set(FAMILIES)


VARIANTS_OF_TINY = [
    ("qwen3", {"attention_bias": True, "head_dim": None}),
    ("gemma2", {"attention_bias": True}),
    ("gemma3_text", {"head_dim": None}),
    ("phi", {"qk_layernorm": True}),
    ("olmo2", {"attention_bias": True}),
    ("cohere", {"use_qk_norm": True}),
    ("stablelm", {"qk_layernorm": True, "use_qkv_bias": True}),
    ("stablelm", {"use_parallel_residual": True}),
    ("starcoder2", {"use_bias": False}),
    ("mixtral", {"num_local_experts": 6}),
    ("falcon", {"multi_query": False, "bias": True}),
    ("falcon", {"parallel_attn": False}),
    ("falcon, new decoder", {"num_ln_in_parallel_attn": 1}),
    ("gptj", {"n_inner": 48}),
    ("bloom", {"tie_word_embeddings": False}),
]


@pytest.mark.parametrize(("name", "change"), VARIANTS_OF_TINY)
def test_variants_of_families_equal_the_built_model(name: str, change: dict[str, Any]) -> None:
    shape = {key: value for key, value in (TINY[name] | change).items() if value is not None}
    assert count(shape).total == built(shape)


VARIANTS = [
    ("opt", {"enable_bias": False}),
    ("opt", {"layer_norm_elementwise_affine": False}),
    ("opt", {"_remove_final_layer_norm": True}),
    ("opt", {"word_embed_proj_dim": 256}),
    ("llama", {"attention_bias": True}),
    ("llama", {"mlp_bias": True}),
    ("llama", {"head_dim": 128}),
    ("llama", {"num_key_value_heads": None, "head_dim": None}),
    ("mistral", {"head_dim": 64}),
    ("qwen2", {"num_key_value_heads": 7}),
    ("gpt2", {"n_inner": 1000}),
    ("gpt_neox", {"attention_bias": False}),
]


@pytest.mark.parametrize(("family", "change"), VARIANTS)
def test_options_change_the_count_as_in_the_built_model(family: str, change: dict[str, Any]) -> None:
    published = with_layers(smallest(family), 2)
    changed = published | change
    assert count(changed).total == built(changed)
    assert count(changed) != count(published)


@pytest.mark.parametrize("family", FAMILIES)
def test_tied_weights_are_counted_once(family: str) -> None:
    published = with_layers(smallest(family), 2)
    tied = published | {"tie_word_embeddings": True}
    untied = published | {"tie_word_embeddings": False}
    size = dimensions(published)
    assert count(tied).head == 0
    assert count(untied).total - count(tied).total == size.vocab * size.hidden
    assert (count(tied).total, count(untied).total) == (built(tied), built(untied))


@pytest.mark.parametrize("family", FAMILIES)
def test_left_out_keys_mean_what_transformers_means(family: str) -> None:
    required = with_layers(smallest(family), 2)
    optional = ("tie_word_embeddings", "head_dim", "word_embed_proj_dim", "attention_bias", "mlp_bias")
    required = {key: value for key, value in required.items() if key not in optional}
    assert count(required).total == built(required)


def test_layer_kinds_of_the_old_depth_are_dropped() -> None:
    saved = PUBLISHED["qwen2.5-0.5b"] | {"layer_types": ["full_attention"] * 24}
    shallow = with_layers(saved, 3)
    assert len(build_config(shallow).layer_types) == 3
    assert len(saved["layer_types"]) == 24


def test_dimensions_share_words_across_families() -> None:
    assert dimensions(PUBLISHED["gpt2"]) == Dimensions(12, 768, 12, 12, 64, 3072, 50257, 1024)
    assert dimensions(PUBLISHED["opt-1.3b"]) == Dimensions(24, 2048, 32, 32, 64, 8192, 50272, 2048)
    assert dimensions(PUBLISHED["llama-3.1-8b"]) == Dimensions(32, 4096, 32, 8, 128, 14336, 128256, 131072)


HEADLINES = {
    "opt-125m": (0.125e9, 0.126e9),
    "opt-350m": (0.331e9, 0.332e9),
    "opt-1.3b": (1.30e9, 1.33e9),
    "opt-2.7b": (2.6e9, 2.7e9),
    "opt-6.7b": (6.6e9, 6.7e9),
    "opt-13b": (12.8e9, 13.1e9),
    "opt-30b": (29.9e9, 30.1e9),
    "opt-66b": (65.5e9, 66.5e9),
    "llama-3.2-1b": (1.235e9, 1.245e9),
    "llama-3.1-8b": (8.025e9, 8.035e9),
    "qwen2.5-0.5b": (0.49e9, 0.50e9),
    "qwen2.5-1.5b": (1.535e9, 1.545e9),
    "qwen2.5-7b": (7.615e9, 7.625e9),
    "mistral-7b": (7.245e9, 7.255e9),
    "gpt2": (0.124e9, 0.125e9),
    "pythia-160m": (0.162e9, 0.163e9),
    "pythia-1.4b": (1.41e9, 1.42e9),
}


@pytest.mark.parametrize("name", HEADLINES)
def test_headline_sizes_hold(name: str) -> None:
    low, high = HEADLINES[name]
    assert low <= count(PUBLISHED[name]).total <= high


def test_unknown_family_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"rwkv cannot be counted; known are bloom, cohere, falcon"):
        count({"model_type": "rwkv"})


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("opt-125m", "ffn_dim"),
        ("gpt2", "n_layer"),
        ("mistral-7b", "num_key_value_heads"),
        ("qwen2.5-7b", "vocab_size"),
    ],
)
def test_missing_key_is_named(name: str, key: str) -> None:
    architecture = {setting: value for setting, value in PUBLISHED[name].items() if setting != key}
    with pytest.raises(ValueError, match=f"lacks the key {key}"):
        count(architecture)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hidden_size": "768"}, "hidden_size must be a positive whole number"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a positive whole number"),
        ({"num_attention_heads": 7}, "does not divide"),
    ],
)
def test_senseless_values_are_named(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        count(PUBLISHED["opt-125m"] | change)


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 layer"):
        with_layers(PUBLISHED["gpt2"], 0)
