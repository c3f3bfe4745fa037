"""Are blocks shared out evenly over the stages of a pipeline, and what cannot be cut refused with what can?"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.plans import DEEP, LLAMA, tiny_plan
from tunefleet.base.errors import ConfigError
from tunefleet.config.parallel import ParallelConfig, Partition
from tunefleet.plan.estimate.pipeline_stages import boundaries, idle
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.registry import with_stages
from tunefleet.plan.plan import Plan

LARGE: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "tie_word_embeddings": False,
    "max_position_embeddings": 2048,
}


def planned(
    folder: Path, model: str | dict[str, Any] = "deep", ranks: int = 2, train: Any = None, **parallel: Any
) -> Plan:
    named = model if isinstance(model, str) else {"name": "tiny", "init": "random", "architecture": model}
    degrees = {"name": "pipeline", "pipeline": 2, **parallel}
    return tiny_plan(folder, named, ranks=ranks, parallel=degrees, **(train or {}))


def complaint(folder: Path, *args: Any, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        planned(folder, *args, **settings)
    (only,) = caught.value.complaints
    return only


# Which blocks


@pytest.mark.parametrize(
    ("stages", "partition", "expected"),
    [
        (1, "parameters", ()),
        (2, "parameters", (0, 6, 12)),
        (3, "parameters", (0, 3, 9, 12)),  # 32.8M of embedding are 2.6 blocks, and so is the head
        (4, "parameters", (0, 2, 6, 10, 12)),
        (4, "uniform", (0, 3, 6, 9, 12)),
        (5, "uniform", (0, 2, 4, 6, 9, 12)),  # the rest goes to the last ones
        (12, "parameters", tuple(range(13))),
    ],
)
def test_boundaries(stages: int, partition: str, expected: tuple[int, ...]) -> None:
    parallel = ParallelConfig(pipeline=stages, partition=Partition(partition))
    assert boundaries(Architecture(LARGE), stages, parallel.partition) == expected


@pytest.mark.parametrize("stages", [2, 3, 5, 7])
def test_no_other_cut_has_a_lighter_heaviest_stage(stages: int) -> None:
    weight = Architecture(LARGE).parameters
    besides = [weight.embedding, *[0] * (stages - 2), weight.outside + weight.head]

    def heaviest(cut: tuple[int, ...]) -> int:
        return max(
            b + (end - first) * weight.layers // 12 for b, (first, end) in zip(besides, pairwise(cut), strict=True)
        )

    def every(first: int, left: int) -> list[tuple[int, ...]]:
        if left == 1:
            return [(first, 12)]
        return [(first, *rest) for end in range(first + 1, 14 - left) for rest in every(end, left - 1)]

    found = boundaries(Architecture(LARGE), stages, Partition.PARAMETERS)
    assert heaviest(found) == min(map(heaviest, every(0, stages)))


def test_a_tied_head_weighs_as_the_copy_that_it_is() -> None:
    tied = Architecture({**LARGE, "tie_word_embeddings": True})
    assert boundaries(tied, 3, Partition.PARAMETERS) == (0, 3, 9, 12)


def test_the_plan_and_its_summary_tell_the_stages(tmp_path: Path) -> None:
    plan = planned(tmp_path, train={"micro_batch": 1, "global_batch": 8})
    assert plan.stages == (0, 2, 4)
    assert plan.summary()["stages"] == "blocks 0-1, 2-3; each stage waits for 11% of a step"
    assert plan.notes == ()
    assert "stages" not in tiny_plan(tmp_path).summary()


@pytest.mark.parametrize(("stages", "accumulation", "share"), [(2, 1, 1 / 2), (2, 8, 1 / 9), (4, 4, 3 / 7), (1, 5, 0)])
def test_idle_share(stages: int, accumulation: int, share: float) -> None:
    assert idle(stages, accumulation) == pytest.approx(share)


# What it cannot be combined with


@pytest.mark.parametrize(
    ("parallel", "ranks", "said"),
    [
        ({"zero_stage": 2}, 2, ("parallel.zero_stage: 2", "Use parallel.zero_stage=1, or parallel.pipeline=1")),
        ({"zero_stage": 3}, 2, ("parallel.zero_stage: 3", "Use parallel.zero_stage=1, or parallel.pipeline=1")),
        (
            {"tensor": 3},
            24,
            ("parallel.tensor: 3 does not divide the 4 attention heads", "Use parallel.tensor=2 or 4."),
        ),
        (
            {"zero_stage": 1, "offload_optimizer": "cpu"},
            2,
            ("parallel.offload_optimizer", "parallel=zero2_offload."),
        ),
        ({"sequence": 2}, 4, ("parallel.sequence: 2 cannot be combined with", "Use parallel.pipeline=1")),
        ({"pipeline": 5}, 5, ("parallel.pipeline: 5 stages need a block each, and deep has 4.", "pipeline=4 or less")),
    ],
)
def test_refusals_name_the_nearest_that_works(
    tmp_path: Path, parallel: dict[str, int], ranks: int, said: tuple[str, str]
) -> None:
    found = complaint(tmp_path, ranks=ranks, **parallel)
    assert found.startswith(said[0])
    assert said[1] in found


def test_fp16_needs_zero_1_and_a_gpu(tmp_path: Path) -> None:
    assert "Use train.precision=bf16." in complaint(tmp_path, train={"precision": "fp16"})


def test_families_without_stages_are_named_with_those_that_have_them(tmp_path: Path) -> None:
    found = complaint(tmp_path, {**LLAMA, "model_type": "olmo"})
    assert found == (
        f"parallel.pipeline: tiny is of the family olmo, which has no stages; these have: {', '.join(with_stages())}. "
        "Use parallel.pipeline=1; zero3 shards any weights."
    )


def test_blocks_left_out_at_random_are_refused(tmp_path: Path) -> None:
    assert "layerdrop=0.1" in complaint(tmp_path, {**DEEP, "layerdrop": 0.1})


def test_an_architecture_that_lacks_its_blocks_is_refused(tmp_path: Path) -> None:
    broken = {key: value for key, value in DEEP.items() if key != "num_hidden_layers"}
    assert "lacks the key num_hidden_layers" in complaint(tmp_path, broken)


# What is worth knowing


def test_few_micro_batches_are_noted(tmp_path: Path) -> None:
    (note,) = planned(tmp_path, ranks=4, train={"micro_batch": 2}).notes
    assert note == (
        "the stages of the pipeline wait for 50% of a step: accumulation 1 is less than 2 stages. "
        "train.global_batch=32 would make it 11%."
    )


def test_a_partition_without_a_pipeline_is_noted(tmp_path: Path) -> None:
    plan = planned(tmp_path, ranks=1, pipeline=1, partition="uniform")
    assert plan.notes == ("parallel.partition=uniform is not used: there is no pipeline.",)
