"""Is every change of an architecture in the model that is built, in every family, or refused by its name?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.families import EVERY
from tests.plans import LLAMA, OPT
from tunefleet.base.errors import ConfigError
from tunefleet.model.build import build
from tunefleet.model.configuration import configuration
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import Sources


def scratch(architecture: dict[str, Any], *changed: str, dropout: float | None = None) -> Sources:
    return Sources(None, "", Architecture(architecture), changed, dropout)


def drops_out(model: Any, draws: int = 2) -> bool:
    """Whether the same tokens give other logits each time in training mode."""
    model.train()
    logits = []
    for seed in range(draws):
        torch.manual_seed(seed)
        with torch.no_grad():
            logits.append(model(input_ids=torch.arange(3, 40)[None], use_cache=False).logits)
    return not torch.equal(*logits)


REFUSED = {"mpt": "transformers takes no 0.4 for attn_pdrop", "ernie4_5": "has no dropout"}


@pytest.mark.parametrize("name", EVERY)
def test_dropout_is_obeyed_in_every_family_or_refused(name: str) -> None:
    """Also by families whose config.json names no dropout. transformers lets MPT's attention drop out 0 or 1."""
    bare = {key: value for key, value in EVERY[name].items() if "drop" not in key}
    if reason := REFUSED.get(bare["model_type"]):
        with pytest.raises(ConfigError, match=reason):
            build(scratch(bare, dropout=0.4), seed=0)
        return
    assert drops_out(build(scratch(bare, dropout=0.4), seed=0))
    assert not drops_out(build(scratch(bare, dropout=0.0), seed=0))  # control


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build(scratch(LLAMA), seed=0).save_pretrained(tmp_path)
    return tmp_path


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(3, 40)[None]).logits


def test_another_rotary_base_reaches_weights_of_files(folder: Path) -> None:
    filed = {**LLAMA, "rope_theta": 10.0}
    changed = build(Sources(str(folder), "", Architecture(filed), ("rope_theta",)), seed=0)
    plain = build(Sources(str(folder), "", Architecture({})), seed=0)
    assert torch.equal(changed.model.embed_tokens.weight, plain.model.embed_tokens.weight)
    assert not torch.equal(logits(changed), logits(plain))
    assert torch.equal(logits(changed), logits(build(scratch(filed), seed=0)))


def test_dropout_reaches_weights_of_files(folder: Path) -> None:
    assert drops_out(build(Sources(str(folder), "", Architecture(LLAMA), (), 0.4), seed=0))
    assert not drops_out(build(Sources(str(folder), "", Architecture(LLAMA)), seed=0))


@pytest.mark.parametrize(
    ("architecture", "key", "value", "hint"),
    [
        (OPT, "rope_theta", 1e4, " Leave it out."),
        (OPT, "rope_scaling", {"rope_type": "linear", "factor": 2.0}, " Leave it out."),
        (LLAMA, "dropout", 0.1, " Did you mean attention_dropout?"),
        (LLAMA, "resid_pdrop", 0.1, " Did you mean attention_dropout?"),
        (LLAMA, "rope_tetha", 1e4, " Leave it out."),
        (LLAMA, "temperature", 0.5, " Leave it out."),
        (OPT, "num_key_value_heads", 2, " Did you mean num_attention_heads?"),
    ],
)
def test_a_setting_that_the_family_does_not_know_is_refused(
    architecture: dict[str, Any], key: str, value: Any, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        configuration(scratch({**architecture, key: value}, key))
    family = architecture["model_type"]
    assert caught.value.complaints == (f"model.architecture.{key}: the family {family} has no such setting.{hint}",)


@pytest.mark.parametrize("key", ["rope_theta", "rope_scaling", "hidden_size", "transformers_version", "torch_dtype"])
def test_known_settings(key: str) -> None:
    values = {"rope_theta": 5.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}, "hidden_size": 32}
    configuration(scratch({**LLAMA, key: values.get(key)}, key))
