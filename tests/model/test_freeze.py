"""Do exactly the named weights stop learning, and is a name that is wrong told?"""

from __future__ import annotations

import pytest

from tests.shared import tiny_model
from tunefleet.base.errors import ConfigError
from tunefleet.model.freeze import freeze, train_only


def test_patterns_freeze_what_they_name() -> None:
    model = tiny_model("opt")
    freeze(model, ("*.layers.0.*", "model.decoder.embed_positions.weight"))
    for name, weight in model.named_parameters():
        assert weight.requires_grad == (".layers.0." not in name and "embed_positions" not in name), name


def test_a_tied_weight_has_both_names() -> None:
    model = tiny_model("opt")
    freeze(model, ("lm_head.weight",))
    assert not model.get_input_embeddings().weight.requires_grad


def test_a_pattern_that_names_nothing_is_told_with_near_names() -> None:
    with pytest.raises(
        ConfigError, match=r"model\.decoder\.embed_tokns\.weight matches no weight.*embed_tokens"
    ) as caught:
        freeze(tiny_model("opt"), ("model.decoder.embed_tokns.weight", "*.layers.0.*", "layers.1.fc9.weight"))
    assert len(caught.value.complaints) == 2


def test_a_weight_must_be_trainable() -> None:
    with pytest.raises(ConfigError, match="freezes every weight"):
        freeze(tiny_model("opt"), ("model.*", "lm_head*"))


def test_only_what_is_named_is_trainable() -> None:
    model = tiny_model("opt")
    train_only(model, ("*.layers.1.fc?.weight", "model.decoder.final_layer_norm.*"))
    for name, weight in model.named_parameters():
        named = (".layers.1.fc" in name and name.endswith("weight")) or "decoder.final_layer_norm" in name
        assert weight.requires_grad == named, name


def test_a_tied_weight_is_trainable_by_either_name() -> None:
    model = tiny_model("opt")
    train_only(model, ("lm_head.weight",))
    assert [name for name, weight in model.named_parameters() if weight.requires_grad] == [
        "model.decoder.embed_tokens.weight"
    ]


def test_a_pattern_of_trainable_weights_that_names_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.train_only: model\.lm_haed matches no weight"):
        train_only(tiny_model("opt"), ("model.lm_haed",))
