"""Does what is advised fit, come best first, and keep the rows of a step?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.plan.estimate.test_memory_items import OPT_CONFIG, published_config
from tests.plan.test_make import planned
from tunefleet.base.errors import ConfigError
from tunefleet.config.parallel import ParallelConfig
from tunefleet.doors.compose import from_overrides
from tunefleet.plan import Machine, Plan, make
from tunefleet.plan.choose import fit_check
from tunefleet.plan.choose.advice import Advice, advice
from tunefleet.plan.choose.strategies import STRATEGIES, offered
from tunefleet.plan.estimate.gpus import cluster

__all__ = ["planned"]  # the fixture
GPUS = Machine(gpus=8, cores=8)
LLAMA = ("model=llama-3.1-8b", "model.init=random", "model.tokenizer=demo", "train.sequence_length=2048")


def asked(*words: str, machine: str = "8xH100-80G") -> Plan:
    """What `tunefleet plan` makes of words."""
    return make(from_overrides([*LLAMA, f"plan.machine={machine}", *words]), cluster(machine).machine(), words)


def advised(*words: str, machine: str = "8xH100-80G") -> Sequence[Advice]:
    plan = asked(*words, machine=machine)
    seen = fit_check.expected_forecast(plan, GPUS)
    assert seen is not None
    return advice(plan, seen)


def strategies(others: Sequence[Advice]) -> set[str]:
    """The words for strategies."""
    return {word for one in others for word in one.overrides if word.startswith("parallel=")}


def test_what_is_advised_fits_and_the_fastest_comes_first() -> None:
    others = advised("parallel=ddp", "train.micro_batch=8")
    assert others
    assert all(one.forecast.fits for one in others)
    seconds = [one.forecast.speed.seconds for one in others]
    assert seconds == sorted(seconds, key=lambda value: value or 0)


@pytest.mark.parametrize(
    ("words", "machine"),
    [
        (("parallel=ddp", "train.micro_batch=8"), "8xH100-80G"),
        (("parallel=zero1", "train.micro_batch=8", "train.global_batch=512"), "4x8xA100-40G"),
        (("parallel=zero3", "train.micro_batch=2", "train.sequence_length=65536"), "8xA100-40G"),
        (("parallel=zero3", "train.micro_batch=64", "adapter=lora"), "8xA100-40G"),
        (("model=opt-1.3b", "parallel=ddp", "optimizer=adafactor", "train.micro_batch=64"), "8xA100-40G"),
        (("parallel=tensor_zero1", "train.micro_batch=64"), "8xA100-80G"),
        (("parallel=pipeline_zero1", "train.micro_batch=64"), "8xA100-80G"),
    ],
)
def test_what_is_advised_is_legal_and_the_run_that_was_foreseen(words: tuple[str, ...], machine: str) -> None:
    """Typed behind the same words it makes a plan, of the same forecast and as many rows a step."""
    whole = asked(*words, machine=machine).batch.total
    others = advised(*words, machine=machine)
    assert others
    for one in others:
        typed = asked(*words, *one.overrides, machine=machine)
        assert fit_check.expected_forecast(typed, GPUS) == one.forecast
        assert typed.batch.total == whole


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: one.name)
def test_an_advised_strategy_is_what_its_file_says(strategy: ParallelConfig) -> None:
    assert from_overrides([f"parallel={strategy.name}"]).parallel == strategy


def names(*words: str, gpus: int = 8) -> list[str]:
    plan = make(from_overrides([*LLAMA, *words]), Machine(gpus=gpus, cores=8), words)
    return [one.name for one in offered(plan.config, plan.layout, plan.sources.architecture)]


def test_offload_is_offered_for_gpus_and_where_the_optimizer_can() -> None:
    assert names("parallel=ddp") == [one.name for one in STRATEGIES]
    assert names("parallel=ddp", gpus=0) == ["ddp", "zero1", "zero2", "zero3"]
    assert names("parallel=ddp", "optimizer=adafactor") == ["ddp"]


def test_nothing_fits_a_machine_that_is_far_too_small() -> None:
    assert not advised("parallel=zero3", machine="1xT4-16G")


def test_long_rows_are_shared_out_and_layers_divided() -> None:
    long = ("parallel=zero3", "train.micro_batch=1", "train.sequence_length=65536", "data.packing=false")
    assert "parallel=sequence" in strategies(advised(*long, machine="8xA100-40G"))
    assert "parallel=tensor_zero1" in strategies(advised("parallel=ddp", machine="8xA100-80G"))


def test_a_slow_network_is_crossed_by_a_pipeline() -> None:
    words = ("parallel=ddp", "train.micro_batch=1", "train.global_batch=512")
    assert "parallel=pipeline_zero1" in strategies(advised(*words, machine="4x8xA100-40G"))


def test_a_loss_in_tiles_where_logits_do_not_fit() -> None:
    words = ("parallel=zero3", "train.micro_batch=8", "train.sequence_length=8192", "train.gradient_checkpointing=true")
    assert any("train.loss_tile=2048" in one.overrides for one in advised(*words, machine="8xA100-40G"))


def test_degrees_are_left_as_they_are() -> None:
    others = advised("parallel=tensor_zero1", "train.micro_batch=64")
    assert others
    assert all(one.forecast.spread.tensor == 2 for one in others)
    assert not strategies(others)


# Guards

Planned = Callable[..., Plan]
LARGE = {"model": {"architecture": published_config("opt-6.7b")}, "train": {"sequence_length": 2048}}
ON_A100 = {"plan": {"machine": "8xA100-40G"}}


def test_a_run_that_cannot_fit_is_refused_with_what_would(planned: Planned) -> None:
    plan = planned(GPUS, **LARGE, **ON_A100)
    with pytest.raises(ConfigError) as caught:
        fit_check.expect_fit(plan, GPUS)
    said = str(caught.value)
    assert said.startswith("memory: tiny does not fit 8xA100-40G: each GPU needs ")
    assert " GiB and has 39.4" in said
    assert "These fit, best first: parallel=" in said
    assert "plan.force=true" in said


def test_force_starts_it_anyway(planned: Planned) -> None:
    fit_check.expect_fit(planned(GPUS, **LARGE, plan={"machine": "8xA100-40G", "force": True}), GPUS)


def test_what_fits_is_let_through(planned: Planned) -> None:
    fit_check.expect_fit(planned(GPUS, **ON_A100), GPUS)
    fit_check.expect_fit(planned(), Machine(gpus=0, cores=8))


def test_what_nobody_knows_is_let_through(planned: Planned) -> None:
    """A job of SLURM on machines that nobody has named; a family that cannot be counted."""
    job = {"launch": {"name": "slurm", "gpus_per_node": 8, "time": "1h"}}
    fit_check.expect_fit(planned(**LARGE, **job), Machine())
    shape = {"model_type": "rwkv", "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2}
    fit_check.expect_fit(planned(model={"architecture": shape}, data={"packing": False}), Machine(gpus=0, cores=8))


def test_a_job_on_named_machines_is_refused(planned: Planned) -> None:
    plan = planned(**LARGE, **ON_A100, launch={"name": "slurm", "gpus_per_node": 8, "time": "1h"})
    with pytest.raises(ConfigError, match="does not fit 8xA100-40G"):
        fit_check.expect_fit(plan, Machine())


# auto


def auto(planned: Planned, shape: dict[str, Any] = OPT_CONFIG, machine: str = "8xA100-40G", **train: Any) -> Plan:
    model = {"architecture": shape}
    settings = {"sequence_length": 16, **train}
    return planned(GPUS, model=model, parallel={"name": "auto"}, plan={"machine": machine}, train=settings)


def test_auto_takes_the_simplest_strategy_that_fits(planned: Planned) -> None:
    """6.66B weights in GiB, with 39.4 of each of 8 GPUs: as fp32 with gradient and two states 99 under ddp; under zero1
    bf16 weights, fp32 gradients, an eighth of masters and states, 47; under zero2 an eighth of gradients too, 25."""
    small, large = auto(planned), auto(planned, published_config("opt-6.7b"), sequence_length=128)
    assert (small.config.parallel.name, small.config.parallel.zero_stage) == ("ddp", 0)
    weights = 6.66e9 / 2**30
    assert [weights * 16 > 39.4, weights * (2 + 4 + 12 / 8) > 39.4, weights * (2 + 4 / 8 + 12 / 8) > 39.4] == [
        True,
        True,
        False,
    ]
    assert large.config.parallel.name == "zero2"
    assert large.notes[0].startswith("parallel=auto chose parallel=zero2")


def test_auto_is_the_run_that_it_chooses(planned: Planned) -> None:
    assert (
        auto(planned).identity
        == planned(GPUS, model={"architecture": OPT_CONFIG}, train={"sequence_length": 16}).identity
    )


def test_the_largest_micro_batch_at_the_same_global_batch(planned: Planned) -> None:
    small = auto(planned, micro_batch="auto", global_batch=64)
    assert (small.batch.micro, small.batch.accumulation, small.batch.total) == (8, 1, 64)
    shape = published_config("opt-1.3b")
    large = auto(planned, shape, "8xT4-16G", micro_batch="auto", global_batch=512, sequence_length=1024)
    assert large.batch.total == 512
    assert f"train.micro_batch={large.batch.micro}" in large.notes[0]
    assert [fits(large, rows) for rows in (large.batch.micro, 2 * large.batch.micro)] == [True, False]
    assert 64 % (2 * large.batch.micro) == 0  # twice as many would divide the 64 rows of a process too


def fits(plan: Plan, rows: int) -> bool:
    """Whether the strategy that was chosen fits with that micro-batch, which is typed this time."""
    train = replace(plan.config.train, micro_batch=rows)
    forecast = fit_check.expected_forecast(replace(plan, config=replace(plan.config, train=train)), GPUS)
    assert forecast is not None
    return forecast.fits


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"train": {"micro_batch": "auto"}}, "train.micro_batch: auto keeps the global batch, so it needs one"),
        ({"train": {"micro_batch": "auto", "global_batch": 12}}, "12 is not a multiple of data-parallel.8.. Use 16"),
        (
            {"parallel": {"name": "auto", "tensor": 2, "pipeline": 2}},
            "auto does not choose with parallel.tensor=2 parallel.pipeline=2. Use parallel.tensor=1 ",
        ),
        (
            {"parallel": {"name": "auto", "hierarchical": None, "quantized_weights": True}},
            "does not choose with parallel.hierarchical=null parallel.quantized_weights=true. "
            "Use parallel.hierarchical=1 parallel.quantized_weights=false, or choose",
        ),
        ({"parallel": {"name": "auto", "offload_optimizer": "cpu"}}, "with parallel.offload_optimizer=cpu. Use "),
        ({"parallel": {"name": "auto", "zero_stage": 2}}, "with parallel.zero_stage=2. Use parallel.zero_stage=0, or"),
        ({"parallel": {"name": "auto"}, "plan": {}}, "GPU memory of this is unknown; set plan.machine="),
        (
            {"parallel": {"name": "auto"}, "model": {"architecture": published_config("opt-66b")}},
            "parallel=auto: nothing fits",
        ),
        ({"parallel": {"name": "auto"}, "plan": {"machine": "9000"}}, "plan.machine: '9000' is not a machine"),
    ],
)
def test_what_auto_cannot_decide(planned: Planned, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        planned(GPUS, **{**ON_A100, **changes})
