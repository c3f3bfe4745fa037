"""Does the plan refuse to split sequences where that would train another loss, and name the nearest legal degree?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plans import LLAMA, OPT, tiny_plan
from tunefleet.base.errors import ConfigError
from tunefleet.plan.families import sequence
from tunefleet.plan.families.architecture import Architecture


def planned(folder: Path, degree: int, architecture: dict[str, Any], ranks: int | None = None, **parallel: int) -> Any:
    settings = {"name": "sequence", "zero_stage": 3, "sequence": degree, **parallel}
    model = {"name": "mine", "init": "random", "architecture": architecture}
    return tiny_plan(folder, model=model, ranks=ranks or degree, parallel=settings)


def refused(folder: Path, degree: int, architecture: dict[str, Any], **parallel: int) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        planned(folder, degree, architecture, ranks=degree * 2, **parallel)
    return tuple(error.value.complaints)


@pytest.mark.parametrize(("degree", "nearest"), [(3, "2"), (6, "4"), (8, "4")])  # 6, 12, 16 processes
def test_a_degree_divides_the_heads(tmp_path: Path, degree: int, nearest: str) -> None:
    assert refused(tmp_path, degree, OPT) == (
        f"parallel.sequence: {degree} does not divide the 4 attention heads of mine. Use parallel.sequence={nearest}.",
    )


def test_key_heads_may_be_fewer_than_the_degree(tmp_path: Path) -> None:
    assert planned(tmp_path, 4, LLAMA).layout.sequence == 4  # 2 key heads; the attention repeats them


def test_other_degrees_are_not_combined(tmp_path: Path) -> None:
    message = "\n".join(refused(tmp_path, 2, LLAMA, pipeline=2))
    assert "parallel.sequence: 2 cannot be combined with parallel.pipeline=2. Use parallel.pipeline=1" in message
    assert refused(tmp_path, 2, LLAMA, tensor=2, zero_stage=1) == (
        "parallel: tensor(2) with sequence(2) is not offered: both shard the heads. "
        "Use parallel.sequence=1, or parallel.tensor=1.",
    )


@pytest.mark.parametrize("family", ["bloom", "gptj", "mpt", "falcon", "gemma2", "mamba", "never-heard-of"])
def test_families_that_cannot_are_refused_with_the_reason(tmp_path: Path, family: str) -> None:
    message = "\n".join(refused(tmp_path, 2, {**LLAMA, "model_type": family}))
    assert f"parallel.sequence: sequences of mine cannot be split: it is of the family {family}, and " in message
    assert "Use parallel.sequence=1." in message


def test_an_embedding_that_looks_at_the_longest_conversation_is_refused_beyond_its_length() -> None:
    """Each process would see another one: the longest of its own part."""
    architecture = Architecture({**LLAMA, "rope_scaling": {"type": "dynamic", "factor": 2.0}})
    assert sequence.refusal(architecture, length=64) is None
    assert "dynamic rotary embedding" in str(sequence.refusal(architecture, length=65))


def test_a_window_that_the_family_does_not_use_is_refused() -> None:
    assert "sliding_window" in str(sequence.refusal(Architecture({**LLAMA, "sliding_window": 4}), length=64))
    assert sequence.refusal(Architecture({**LLAMA, "model_type": "mistral", "sliding_window": 4}), length=64) is None


def test_a_model_that_does_not_say_its_heads(tmp_path: Path) -> None:
    silent = {key: value for key, value in LLAMA.items() if "heads" not in key}
    (complaint,) = refused(tmp_path, 2, silent)
    assert complaint == "parallel.sequence: the config.json of mine does not say how many heads it has."


def test_deepspeed_counts_sequence_ranks_as_data_parallel_ones(tmp_path: Path) -> None:
    plan = planned(tmp_path, 2, LLAMA, ranks=4)
    engine_config = plan.engine
    assert (plan.layout.data_parallel, plan.layout.replicas, plan.batch.total) == (2, 4, 8)
    micro, steps = engine_config["train_micro_batch_size_per_gpu"], engine_config["gradient_accumulation_steps"]
    assert engine_config["train_batch_size"] == 4 * micro * steps
    assert not [note for note in plan.notes if "shards nothing" in note]
