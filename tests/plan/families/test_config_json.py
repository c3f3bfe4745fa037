"""What a person changes in an architecture: is it there in the plan, or refused because the weights say otherwise?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.config.model import Init, ModelConfig
from tunefleet.plan.families.config_json import is_dropout
from tunefleet.plan.paths.model_files import sources

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "attention_dropout": 0.0,
    "rms_norm_eps": 1e-5,
}


def planned(tmp_path: Path, changes: dict[str, Any], filed: dict[str, Any] = LLAMA, **model: Any) -> dict[str, Any]:
    """The architecture of weights in a folder with `filed` as config.json, and `changes`."""
    contents = {"config.json": json.dumps(filed), "model.safetensors": "", "tokenizer.json": "{}"}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    architecture_sources = sources(ModelConfig(path=str(tmp_path), architecture=changes, **model), None)
    assert set(architecture_sources.changed) == set(changes)
    return architecture_sources.architecture.to_json()


@pytest.mark.parametrize(
    "changes",
    [{"rope_theta": 5e5}, {"attention_dropout": 0.1}, {"embd_pdrop": 0.1}, {"rope_scaling": {"rope_type": "linear"}}],
)
def test_what_changes_no_shape_is_obeyed(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert planned(tmp_path, changes) == {**LLAMA, **changes}


def test_what_the_files_say_too_is_no_change(tmp_path: Path) -> None:
    assert planned(tmp_path, {"hidden_size": 16, "rms_norm_eps": 0.00001, "head_dim": None}) == {
        **LLAMA,
        "head_dim": None,
    }


@pytest.mark.parametrize(
    ("key", "value", "filed"),
    [
        ("hidden_size", 32, "16"),
        ("model_type", "mistral", "'llama'"),
        ("vocab_size", 65, "64"),
        ("rms_norm_eps", 1e-6, "1e-05"),
        ("num_key_value_heads", 2, "no such key"),
        ("torch_dtype", "float16", "no such key"),
        ("nonsense", 1, "no such key"),
    ],
)
def test_what_contradicts_the_weights_is_refused_by_name(tmp_path: Path, key: str, value: Any, filed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, {key: value, "rope_theta": 5e5})
    (complaint,) = caught.value.complaints
    assert complaint.startswith(f"model.architecture.{key}: {value!r} does not go with the weights")
    assert f"config.json has {filed}. " in complaint
    assert "model.init=random" in complaint


NEW = {**LLAMA, "rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0}}


@pytest.mark.parametrize(
    ("changes", "rope"),
    [
        ({"rope_theta": 5e5}, {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}),
        (
            {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
            {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0},
        ),
        ({"rope_scaling": None}, {"rope_type": "default", "rope_theta": 1e4}),
        ({"rope_parameters": {"factor": 4.0}}, {"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0}),
    ],
)
def test_old_names_reach_files_of_transformers_5(tmp_path: Path, changes: dict[str, Any], rope: dict[str, Any]) -> None:
    """Beside `rope_parameters` transformers looks at no `rope_theta`."""
    config = planned(tmp_path, changes, NEW)
    assert config == {**LLAMA, "rope_parameters": rope}


def test_rotary_embeddings_of_each_kind_of_layer_are_named_one_by_one(tmp_path: Path) -> None:
    kinds = {"sliding_attention": {"rope_theta": 1e4}, "full_attention": {"rope_theta": 1e6}}
    with pytest.raises(ConfigError, match="whose kinds are sliding_attention, full_attention"):
        planned(tmp_path, {"rope_theta": 5e5}, {**LLAMA, "rope_parameters": kinds})


def test_every_dropout_that_is_written_down_is_changed(tmp_path: Path) -> None:
    filed = {**LLAMA, "resid_pdrop": 0.1, "hidden_dropout_prob": 0.1, "layerdrop": 0.1, "classifier_dropout": 0.1}
    changed = {"attention_dropout": 0.3, "resid_pdrop": 0.3, "hidden_dropout_prob": 0.3}
    assert planned(tmp_path, {}, filed, dropout=0.3) == {**filed, **changed}


def test_a_folder_without_a_description_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "tokenizer.json").touch()
    with pytest.raises(ConfigError, match=r"model\.architecture: nothing says what hf looks like"):
        sources(ModelConfig(path=str(tmp_path)), None)


def test_changes_of_a_published_architecture() -> None:
    model = ModelConfig(init=Init.RANDOM, published=LLAMA, architecture={"hidden_size": 32}, tokenizer="demo")
    assert sources(model, None).architecture.config == {**LLAMA, "hidden_size": 32}
    replaced = ModelConfig(init=Init.RANDOM, published=LLAMA, architecture={"model_type": "gpt2"}, tokenizer="demo")
    assert sources(replaced, None).architecture.config == {"model_type": "gpt2"}


@pytest.mark.parametrize(
    ("key", "dropout"),
    [
        ("dropout", True),
        ("attn_pdrop", True),
        ("attention_probs_dropout_prob", True),
        ("attn_dropout_rate", True),
        ("layerdrop", False),
        ("classifier_dropout", False),
        ("summary_first_dropout", False),
    ],
)
def test_names_of_dropouts(key: str, dropout: bool) -> None:
    assert is_dropout(key) == dropout
