"""Does the memory of a run add up, by hand and as the papers have it?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tunefleet.base.units import GIB
from tunefleet.config.parallel import ParallelConfig, Place
from tunefleet.config.train import Precision
from tunefleet.plan.estimate.memory_item import Phase
from tunefleet.plan.estimate.memory_items import Memory, memory, total
from tunefleet.plan.estimate.spread import Spread, with_strategy
from tunefleet.plan.estimate.work import Work
from tunefleet.plan.families.architecture import Architecture

MODELS = Path(__file__).parents[3] / "conf" / "model"
OPT_CONFIG: dict[str, Any] = {
    "model_type": "opt",
    "vocab_size": 100,
    "hidden_size": 8,
    "ffn_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 30,
    "activation_function": "relu",
}
STATES = ("parameters", "gradients", "master weights (fp32)", "optimizer states")


OPT = Architecture(OPT_CONFIG)


def changed(architecture: Architecture, **changes: Any) -> Architecture:
    return Architecture({**architecture.config, **changes})


def published_config(name: str) -> dict[str, Any]:
    card: Any = OmegaConf.to_container(OmegaConf.load(MODELS / f"{name}.yaml"))
    return card["published"]


def published(name: str) -> Architecture:
    return Architecture(published_config(name))


def of_size(billions: float) -> Architecture:
    """An OPT without vocabulary to speak of, of about so many parameters."""
    hidden, layers = 4096, round(billions * 1e9 / (12 * 4096**2))
    return changed(OPT, hidden_size=hidden, ffn_dim=4 * hidden, num_hidden_layers=layers, vocab_size=2)


def sizes(said: Memory) -> dict[str, int]:
    return {item.name: item.bytes for item in said.device}


def said(shape: Architecture, spread: Spread, on_gpu: bool = True, here: int = 1, **work: Any) -> Memory:
    return memory(shape, spread, Work(**{"rows": 1, "length": 16, **work}), on_gpu, here)


# ZeRO, figure 1: 7.5B parameters, 64 ranks, mixed precision with Adam (K = 12); in GB


@pytest.mark.parametrize(("stage", "gigabytes"), [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_the_figure_of_the_zero_paper(stage: int, gigabytes: float) -> None:
    shape = of_size(7.5)
    found = sizes(said(shape, Spread(stage, 64), precision=Precision.FP16))
    states = sum(found.get(name, 0) for name in STATES) * 7.5e9 / shape.parameters.total
    assert states / 1e9 == pytest.approx(gigabytes, rel=0.02)


def test_by_hand_without_zero() -> None:
    n = OPT.parameters.total
    assert n == (100 + 32) * 8 + 2 * (4 * 72 + 8 * 32 + 32 + 32 * 8 + 8 + 2 * 16) + 16
    found = sizes(said(OPT, Spread(), on_gpu=False, precision=Precision.FP32))
    assert [found[name] for name in ("parameters", "gradients", "optimizer states")] == [4 * n, 4 * n, 8 * n]
    assert "master weights (fp32)" not in found
    assert "autocast's 16-bit copies" not in found
    assert sizes(said(OPT, Spread()))["autocast's 16-bit copies"] == 2 * n


@pytest.mark.parametrize(
    ("stage", "parameters", "masters", "gradients", "states"),
    [(0, 4, 0, 4, 8), (1, 2, 1, 4, 2), (2, 2, 1, 1, 2), (3, 0.5, 1, 1, 2)],
)
def test_by_hand_in_bf16_with_four_ranks(
    stage: int, parameters: float, masters: float, gradients: float, states: float
) -> None:
    """Bytes a parameter: DeepSpeed sums gradients in fp32, and stage 0 autocasts fp32 weights."""
    n, found = OPT.parameters.total, sizes(said(OPT, Spread(stage, 4), accumulation=2))
    assert found["parameters"] == int(n * parameters)
    assert found.get("master weights (fp32)", 0) == n * masters
    assert found["gradients"] == n * gradients
    assert found["optimizer states"] == n * states


@pytest.mark.parametrize(("stage", "gradients"), [(0, 4), (1, 4), (2, 0.5), (3, 0.5)])
def test_one_micro_batch_keeps_its_gradients_in_bf16(stage: int, gradients: float) -> None:
    """Nothing is added to them, so DeepSpeed's default of two bytes is enough at stages 2 and 3."""
    n = OPT.parameters.total
    assert sizes(said(OPT, Spread(stage, 4)))["gradients"] == n * gradients


@pytest.mark.parametrize(("stage", "clone"), [(1, 2), (2, 2), (3, 0)])
def test_without_master_weights_everything_is_in_bf16(stage: int, clone: int) -> None:
    """Weights 2, gradients 2, two moments 4; DeepSpeed clones its flat weights at stages 1 and 2."""
    n, found = OPT.parameters.total, sizes(said(OPT, Spread(stage, 1), master_weights=False, state_bytes=4))
    assert [found[name] for name in ("parameters", "gradients", "optimizer states")] == [2 * n, 2 * n, 4 * n]
    assert found.get("clone of the weights (bf16)", 0) == clone * n
    assert found["flat gradients of the update"] == 2 * n
    assert "master weights (fp32)" not in found
    assert "bucket in fp32 for the sum" not in found


def test_sequence_peers_share_out_too() -> None:
    assert sizes(said(OPT, Spread(3, 2, sequence=2)))["parameters"] == sizes(said(OPT, Spread(3, 4)))["parameters"]


def test_only_what_is_trained_has_gradients_and_states() -> None:
    n = OPT.parameters.total
    found = sizes(said(OPT, Spread(2, 2), trained=n // 10, accumulation=2))
    assert found["parameters"] == 2 * n
    assert found["gradients"] == pytest.approx(4 * n / 20, abs=8)
    assert found["optimizer states"] == pytest.approx(8 * n / 20, abs=8)


def test_frozen_weights_of_four_bits() -> None:
    shape = published("llama-3.1-8b")
    whole = sizes(said(shape, Spread(2, 1), trained=1000))["parameters"]
    ends = 2 * 128256 * 4096  # embedding and head stay in 16 bits
    four, eight = (sizes(said(shape, Spread(2, 1), trained=1000, frozen_bits=bits))["parameters"] for bits in (4, 8))
    assert four == pytest.approx(0.53 * (whole / 2 - ends) + 2 * ends, rel=1e-6)
    assert four / GIB == pytest.approx(5.4, abs=0.02)
    assert eight == pytest.approx(whole / 2 - ends + 2 * ends, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "weights"), [({}, 1.0), ({"checkpointing": True}, 0.07), ({"frozen_bits": 4}, 0.07)]
)
def test_copies_of_frozen_weights_last_as_long_as_their_product(settings: dict[str, Any], weights: float) -> None:
    """Of Llama 3.1 8B: all of them, or the head alone, which is 7 % of it."""
    shape = published("llama-3.1-8b")
    copies = sizes(said(shape, Spread(), trained=1000, **settings))["autocast's 16-bit copies"]
    assert copies / 2 / shape.parameters.total == pytest.approx(weights, abs=0.005)


def test_optimizers_differ_in_their_states() -> None:
    n = OPT.parameters.total
    assert sizes(said(OPT, Spread(1, 1), state_bytes=4))["optimizer states"] == 4 * n
    assert "optimizer states" not in sizes(said(OPT, Spread(1, 1), state_bytes=0))


def test_deepspeed_s_buckets_follow_the_hidden_size() -> None:
    """The square of it, 2^24 to 5e8 elements; two at stage 2 between ranks, one for each dtype at stage 3."""
    least, wide = 2**24, of_size(7.5)
    assert sizes(said(OPT, Spread(2, 2)))["buckets of gradients"] == 2 * 2 * least
    assert sizes(said(OPT, Spread(2, 1)))["buckets of gradients"] == 2 * least
    assert sizes(said(OPT, Spread(3, 2)))["buckets of gradients"] == 2 * 2 * least
    assert sizes(said(wide, Spread(3, 2)))["buckets of gradients"] == 2 * 2 * 4096**2
    assert sizes(said(changed(wide, hidden_size=32768), Spread(3, 2)))["buckets of gradients"] == 2 * 2 * 500_000_000
    assert sizes(said(OPT, Spread(2, 2), on_gpu=False))["buckets of gradients"] == 2 * OPT.parameters.total


def test_offload_moves_states_to_the_host_or_the_disk() -> None:
    n = OPT.parameters.total
    there = said(OPT, Spread(2, 2, optimizer_on=Place.CPU), here=2)
    on_host = {item.name: item.bytes for item in there.host}
    assert "optimizer states" not in sizes(there)
    assert on_host["optimizer states"] == 2 * (8 * n // 2)
    disk = said(OPT, Spread(3, 2, optimizer_on=Place.NVME, parameters_on=Place.NVME), here=2).disk
    assert [item.name for item in disk] == ["parameters", "master weights (fp32)", "optimizer states"]


@pytest.mark.parametrize("spread", [Spread(3, 32), Spread(1, 4, tensor=8), Spread(1, 2, pipeline=16), Spread(0, 32)])
def test_ranks_read_files_weight_by_weight(spread: Spread) -> None:
    """In fp32 beside 16-bit weights, until masters have it; from scratch, and with a second copy, the whole model."""
    shape = published("opt-66b")
    whole = 8 * 4 * shape.parameters.total

    def on_host(from_files: bool, one_by_one: bool = True) -> int:
        work = Work(1, 128, from_files=from_files)
        return memory(shape, replace(spread, one_by_one=one_by_one), work, True, 8).host_bytes

    assert on_host(from_files=True) < whole / 10
    assert on_host(from_files=False) > whole
    assert on_host(from_files=True, one_by_one=False) > whole


@pytest.mark.parametrize(
    ("settings", "one_by_one"),
    [
        ({}, True),
        ({"offload_parameters": Place.CPU}, True),
        ({"offload_parameters": Place.NVME}, False),
        ({"hierarchical": 8}, False),
        ({"hierarchical": None}, False),
        ({"quantized_weights": True}, False),
        ({"quantized_gradients": True}, False),
    ],
)
def test_with_zeropp_and_nvme_deepspeed_reads_the_whole_model(settings: dict[str, Any], one_by_one: bool) -> None:
    parallel = ParallelConfig("zero3", 3, **settings)
    assert with_strategy(Spread(3, 32), parallel, processes_here=8).one_by_one is one_by_one


def test_every_process_builds_the_whole_model_on_its_host_first() -> None:
    shape = published("opt-66b")
    here = said(shape, Spread(3, 8), here=8)
    assert here.host_bytes > 8 * 4 * shape.parameters.total
    assert total(here.host, Phase.UPDATE) < 30 * GIB


def test_a_tied_embedding_stands_at_both_ends_of_a_pipeline() -> None:
    shape = changed(OPT, vocab_size=10_000)
    half = said(shape, Spread(1, 1, pipeline=2), length=1)
    assert sizes(half)["parameters"] > 2 * 10_000 * 8
    assert sizes(half)["parameters"] < sizes(said(shape, Spread(1, 1), length=1))["parameters"]


def test_the_peak_is_a_phase_and_not_the_sum_of_all() -> None:
    long = said(OPT, Spread(), rows=64, length=16, precision=Precision.FP32)
    short = said(OPT, Spread(0, 2), rows=1, length=1, precision=Precision.FP32)
    assert long.phase is Phase.FORWARD
    assert short.phase is Phase.SUM
    assert long.device_bytes < sum(item.bytes for item in long.device)


def test_gradients_wait_through_the_forward_passes_of_an_accumulation() -> None:
    once = said(OPT, Spread(), accumulation=1)
    twice = said(OPT, Spread(), accumulation=2)
    assert total(twice.device, Phase.FORWARD) - total(once.device, Phase.FORWARD) >= 4 * OPT.parameters.total


def test_what_no_allocator_counts_is_no_part_of_what_is_measured() -> None:
    here = said(OPT, Spread(1, 2))
    apart = {item.name for item in here.device if not item.allocated}
    assert apart == {"CUDA context", "NCCL", "fragmentation"}
    assert here.measurable_bytes < here.device_bytes


def test_an_unknown_family_is_not_counted() -> None:
    with pytest.raises(ValueError, match="rwkv cannot be counted"):
        said(Architecture({"model_type": "rwkv"}), Spread())
