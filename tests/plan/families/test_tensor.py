"""Does the plan divide the weights that it may, and say what to use instead where it may not?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.families import EVERY
from tests.plans import tiny_plan
from tests.shared import architecture
from tunefleet.base.errors import ConfigError
from tunefleet.plan.families import packing, tensor
from tunefleet.plan.families.architecture import Architecture

TENSOR = {"name": "tensor", "zero_stage": 0, "tensor": 2}


def planned(folder: Path, config: dict[str, Any], ranks: int = 2, **changes: Any) -> Any:
    groups = {key: changes.pop(key) for key in list(changes) if isinstance(changes[key], dict)}
    model = {"name": "mine", "init": "random", "architecture": config}
    return tiny_plan(folder, model=model, ranks=ranks, parallel={**TENSOR, **changes}, **groups)


@pytest.mark.parametrize(
    ("family", "weight", "expected"),
    [
        ("opt", "model.decoder.layers.0.self_attn.q_proj.weight", 0),
        ("opt", "model.decoder.layers.0.self_attn.q_proj.bias", 0),
        ("opt", "model.decoder.layers.0.self_attn.out_proj.weight", 1),
        ("opt", "model.decoder.layers.0.self_attn.out_proj.bias", None),
        ("opt", "model.decoder.layers.0.self_attn_layer_norm.weight", None),
        ("opt", "model.decoder.project_in.weight", None),
        ("llama", "model.embed_tokens.weight", None),
        ("llama", "lm_head.weight", None),
        ("qwen3", "model.layers.0.self_attn.q_norm.weight", None),
        ("gpt_neox", "gpt_neox.layers.0.attention.dense.weight", 1),
        ("gpt_neox", "gpt_neox.layers.0.mlp.dense_h_to_4h.weight", 0),
        ("gpt_neox", "embed_out.weight", None),
    ],
)
def test_where_a_weight_is_sharded(family: str, weight: str, expected: int | None) -> None:
    assert tensor.shard_dimension(Architecture({"model_type": family}), weight) == expected


def test_the_engine_gets_whole_rows_of_copies_and_divides_nothing_itself(tmp_path: Path) -> None:
    plan = planned(tmp_path, architecture("opt"), ranks=4)
    assert plan.batch.total == plan.engine["train_batch_size"] == 8  # two copies of two ranks
    assert "tensor_parallel" not in plan.engine


def test_a_divided_pipeline_hands_whole_tensors_on(tmp_path: Path) -> None:
    """DeepSpeed would cut hidden states into one part for each rank, which rows of other widths do not go with."""
    plan = planned(tmp_path, architecture("opt"), ranks=8, pipeline=2, zero_stage=1)
    assert (plan.layout.tensor, plan.layout.pipeline, plan.layout.data_parallel) == (2, 2, 2)
    assert plan.engine["pipeline"] == {"pipe_partitioned": False, "grad_partitioned": False}


@pytest.mark.parametrize("family", sorted({a["model_type"] for a in EVERY.values()} - set(tensor.sharded_families())))
def test_a_family_that_cannot_be_divided_is_refused_with_its_reason(family: str, tmp_path: Path) -> None:
    config = next(config for config in EVERY.values() if config["model_type"] == family)
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, config)
    (complaint,) = caught.value.complaints
    assert complaint.startswith(f"parallel.tensor: the layers of mine cannot be sharded: it is of the family {family},")
    assert str(tensor.refusal(Architecture(config))) in complaint
    assert complaint.endswith("Use parallel.tensor=1; zero3 shards any weights.")


def test_divided_families_are_families_that_the_tests_know() -> None:
    assert set(tensor.sharded_families()) <= {config["model_type"] for config in EVERY.values()}
    assert set(tensor.sharded_families()) <= set(packing.exact_families())


@pytest.mark.parametrize(("family", "key"), [("cohere", "use_qk_norm"), ("stablelm", "qk_layernorm")])
def test_norms_that_every_head_has_for_itself_are_refused(family: str, key: str) -> None:
    assert tensor.refusal(Architecture({"model_type": family, key: False})) is None
    assert "every head has weights of its own" in str(tensor.refusal(Architecture({"model_type": family, key: True})))


@pytest.mark.parametrize(
    ("changes", "degree", "complaint"),
    [
        ({}, 3, "3 does not divide the 4 attention heads and the 2 key heads and the 64 feed-forward columns"),
        ({}, 4, "4 does not divide the 2 key heads of mine. Use parallel.tensor=2."),
        ({"num_key_value_heads": 4}, 3, "Use parallel.tensor=2 or 4."),
        ({"intermediate_size": 66}, 4, "and the 66 feed-forward columns of mine. Use parallel.tensor=2."),
        ({"num_key_value_heads": 1}, 2, "the 1 key heads of mine. No degree does. Use parallel.tensor=1;"),
    ],
)
def test_a_degree_that_does_not_divide(changes: dict[str, Any], degree: int, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, architecture("llama", **changes), ranks=4 * degree, tensor=degree)
    assert complaint in str(caught.value)


def test_a_model_that_does_not_say_its_heads(tmp_path: Path) -> None:
    config = architecture("llama")
    del config["num_attention_heads"], config["num_key_value_heads"]
    with pytest.raises(ConfigError, match="does not say how many heads"):
        planned(tmp_path, config)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"zero_stage": 3}, "Use parallel.zero_stage=2, or parallel.tensor=1."),
        ({"pipeline": 2, "zero_stage": 2}, "Use parallel.zero_stage=1, or parallel.pipeline=1."),
        ({"sequence": 2}, "tensor(2) with sequence(2) is not offered: both shard the heads. Use parallel.sequence=1"),
        (
            {"optimizer": {"name": "adafactor"}},
            "adafactor needs whole matrices (it keeps one moment for each row and column), and tensor gives every "
            "process a part. Use parallel=ddp, or optimizer=adamw.",
        ),
        ({"optimizer": {"name": "muon"}}, "Use parallel=ddp, or optimizer=adamw."),
        ({"train": {"precision": "fp16", "sequence_length": 48}}, "Use train.precision=bf16."),
    ],
)
def test_what_cannot_be_combined(changes: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, architecture("opt"), ranks=4, **changes)
    (message,) = caught.value.complaints  # one mistake, one answer; plan/choose/test_typed_advice.py types the advice
    assert complaint in message


def test_tensor_ranks_on_two_machines_are_pointed_out(tmp_path: Path) -> None:
    assert not planned(tmp_path, architecture("opt")).notes
    three = {"launch": {"name": "slurm", "nodes": 2, "gpus_per_node": 3}}
    assert "different machines" in " ".join(planned(tmp_path, architecture("opt"), ranks=6, **three).notes)
