"""Which models does the plan pack, and what does it say of the others?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tunefleet.plan.families import packing
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.registry import FAMILIES

MODELS = sorted((Path(__file__).parents[3] / "conf" / "model").glob("*.yaml"))
LONG_ROPE = {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_every_model_of_the_configuration_may_pack(file: Path) -> None:
    model_types = re.findall(r"model_type: (\S+)", file.read_text())
    assert set(model_types) <= set(packing.exact_families())
    assert model_types or file.stem == "hf"  # whose family is that of the folder


def refusal(length: int = 8, **config: Any) -> str | None:
    return packing.refusal(Architecture(config), length)


@pytest.mark.parametrize("family", sorted({*FAMILIES} - {*packing.exact_families()}))
def test_a_refusal_names_its_reason(family: str) -> None:
    assert refusal(model_type=family) == FAMILIES[family].packing


def test_what_is_not_measured_is_refused() -> None:
    assert refusal(model_type="new") == "it is not measured whether its packed loss is the unpacked one"
    assert refusal()


def test_falcon_packs_with_rotary_positions_only() -> None:
    assert refusal(model_type="falcon", alibi=False) is None
    assert "ALiBi" in str(refusal(model_type="falcon", alibi=True))


@pytest.mark.parametrize(
    ("family", "window", "packs"), [("llama", None, True), ("llama", 4, False), ("mistral", 4, True)]
)
def test_a_window_is_for_families_that_use_it(family: str, window: int | None, packs: bool) -> None:
    assert (refusal(model_type=family, sliding_window=window) is None) is packs


@pytest.mark.parametrize(
    ("changes", "longest"),
    [
        ({"rope_scaling": LONG_ROPE, "original_max_position_embeddings": 16, "max_position_embeddings": 64}, 16),
        ({"rope_scaling": LONG_ROPE | {"original_max_position_embeddings": 16}, "max_position_embeddings": 64}, 16),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}, "max_position_embeddings": 32}, 32),
        ({"rope_scaling": LONG_ROPE}, 0),
        ({"rope_scaling": {"rope_type": "llama3"}, "max_position_embeddings": 32}, None),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}, "max_position_embeddings": 32}, None),
        ({"rope_scaling": None}, None),
    ],
)
def test_rows_are_no_longer_than_a_rotary_embedding_stays_the_same(
    changes: dict[str, Any], longest: int | None
) -> None:
    architecture = Architecture({"model_type": "phi3", **changes})
    if longest is None:
        assert packing.refusal(architecture, 10**6) is None
    else:
        assert not longest or packing.refusal(architecture, longest) is None
        assert str(packing.refusal(architecture, longest + 1)).endswith(f"when one has over {longest} tokens")
